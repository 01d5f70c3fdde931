"""The scikit-learn estimators."""

from ._conformal import ConformalAffect
from ._dynamics import PersonDynamicsEncoder
from ._dynamics_session import DynamicsSession
from ._embedder import FaceEmbedder
from ._face_network import make_face_network
from ._fusion import TaskFusion
from ._joint import JointAffectEstimator
from ._kernel_features import KernelFeatures
from ._nuisance import NuisanceShrinkage
from ._presets import persemon_params, song2021_params
from ._ram import RAMRegressor

__all__ = [
    "ConformalAffect",
    "DynamicsSession",
    "FaceEmbedder",
    "JointAffectEstimator",
    "KernelFeatures",
    "NuisanceShrinkage",
    "PersonDynamicsEncoder",
    "RAMRegressor",
    "TaskFusion",
    "make_face_network",
    "persemon_params",
    "song2021_params",
]
