"""Losses, as torch functions and modules; no scikit-learn."""

from ._coherence import coherence_loss
from ._joint import REGRESSION_LOSSES, PersEmoNLoss
from ._rank import rank_accuracy, rank_loss, window_scores
from ._regression import masked_half_squared_error, masked_smooth_l1
from ._terms import (
    PAPER_TERMS,
    TERMS,
    LossTerm,
    TermInputs,
    get_term,
    pool_clips,
    register_term,
    regress,
)

__all__ = [
    "PAPER_TERMS",
    "REGRESSION_LOSSES",
    "TERMS",
    "LossTerm",
    "PersEmoNLoss",
    "TermInputs",
    "coherence_loss",
    "get_term",
    "masked_half_squared_error",
    "masked_smooth_l1",
    "pool_clips",
    "rank_accuracy",
    "rank_loss",
    "register_term",
    "regress",
    "window_scores",
]
