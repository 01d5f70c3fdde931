"""Losses, as torch functions and modules; no scikit-learn."""

from ._coherence import coherence_loss
from ._joint import REGRESSION_LOSSES, PersEmoNLoss, pool_clips
from ._rank import rank_accuracy, rank_loss, window_scores
from ._regression import masked_half_squared_error, masked_smooth_l1

__all__ = [
    "REGRESSION_LOSSES",
    "PersEmoNLoss",
    "coherence_loss",
    "masked_half_squared_error",
    "masked_smooth_l1",
    "pool_clips",
    "rank_accuracy",
    "rank_loss",
    "window_scores",
]
