from . import datasets, exceptions, metrics, model_selection, networks
from .estimators import (
    FaceEmbedder,
    JointAffectEstimator,
    PersonDynamicsEncoder,
    RAMRegressor,
    persemon_params,
)
from .faces import FaceAligner

__version__: str

__all__ = [
    "FaceAligner",
    "FaceEmbedder",
    "JointAffectEstimator",
    "PersonDynamicsEncoder",
    "RAMRegressor",
    "datasets",
    "exceptions",
    "metrics",
    "model_selection",
    "networks",
    "persemon_params",
]
