from . import datasets, exceptions, metrics
from .estimators import JointAffectEstimator, RAMRegressor, persemon_params
from .faces import FaceAligner

__version__: str

__all__ = [
    "FaceAligner",
    "JointAffectEstimator",
    "RAMRegressor",
    "datasets",
    "exceptions",
    "metrics",
    "persemon_params",
]
