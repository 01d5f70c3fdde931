from . import datasets, exceptions, inspection, metrics, model_selection, networks
from .annotation import FrameAnnotator
from .estimators import (
    ConformalAffect,
    FaceEmbedder,
    JointAffectEstimator,
    KernelFeatures,
    NuisanceShrinkage,
    PersonDynamicsEncoder,
    RAMRegressor,
    TaskFusion,
    persemon_params,
    song2021_params,
)
from .faces import FaceAligner
from .persistence import load_model, save_model

__version__: str

__all__ = [
    "ConformalAffect",
    "FaceAligner",
    "FaceEmbedder",
    "FrameAnnotator",
    "JointAffectEstimator",
    "KernelFeatures",
    "NuisanceShrinkage",
    "PersonDynamicsEncoder",
    "RAMRegressor",
    "TaskFusion",
    "datasets",
    "exceptions",
    "inspection",
    "load_model",
    "metrics",
    "model_selection",
    "networks",
    "persemon_params",
    "save_model",
    "song2021_params",
]
