"""The scikit-learn estimators."""

from ._joint import JointAffectEstimator
from ._presets import persemon_params
from ._ram import RAMRegressor

__all__ = ["JointAffectEstimator", "RAMRegressor", "persemon_params"]
