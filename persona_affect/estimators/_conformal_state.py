"""The calibration of a `ConformalAffect` as facts and tensors; see ``_state.py``."""

from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from persona_affect._arrays import check_names
from persona_affect._sklearn import final_step

from ._familiarity import Familiarity
from ._state import Facts, Tensors, add_prefix, copy_array, take


def get_calibration(model: Any) -> tuple[Facts, Tensors]:
    """Return the calibration of a fitted model, without its estimators."""
    facts: Facts = {
        "target_names": model.target_names_,
        "n_shared": model._n_shared,
        "familiarity": None,
    }
    tensors: Tensors = {
        "scores": torch.from_numpy(model.scores_),
        "folds": torch.from_numpy(model.folds_.astype(np.int64)),
        "advantages": torch.from_numpy(model.advantages_),
    }
    if model.familiarity_ is not None:
        facts["familiarity"], own = model.familiarity_.get_state()
        tensors |= add_prefix("familiarity", own)
    return facts, tensors


def set_calibration(model: Any, facts: Facts, tensors: Tensors) -> None:
    """Set the calibration of a model whose `estimator` and `members_` are set; it is not trusted.

    Raises
    ------
    KeyError, TypeError, ValueError, NotFittedError
        If the parts do not fit each other.
    """
    check_is_fitted(model.estimator)
    names = check_names(facts["target_names"])
    scores, folds = tensors.pop("scores"), tensors.pop("folds")
    if scores.dtype != torch.float64 or scores.shape != (len(folds), len(names)):
        raise ValueError(f"scores are {scores.dtype} {tuple(scores.shape)}")
    if torch.isinf(scores).any() or (scores < 0).any():
        raise ValueError("scores are negative or infinite")
    if folds.dtype != torch.int64 or folds.ndim != 1:
        raise ValueError(f"folds are {folds.dtype} {tuple(folds.shape)}")
    n_folds = max(1, len(model.members_))
    if len(folds) and not 0 <= int(folds.min()) <= int(folds.max()) < n_folds:
        raise ValueError(f"folds are not numbers from 0 to {n_folds - 1}")
    advantages = _read_advantages(model, scores, tensors.pop("advantages", None))
    n_shared = facts["n_shared"]
    n_steps = len(getattr(model.estimator, "steps", [None]))
    if not isinstance(n_shared, int) or not 0 <= n_shared < n_steps:
        raise ValueError(f"n_shared is {n_shared!r}")
    known = None
    if facts["familiarity"] is not None:
        known = Familiarity.from_state(facts["familiarity"], take("familiarity", tensors))
    if model.difficulty == "distance" and known is None:
        raise ValueError("distances need the features of known faces")
    model.estimator_ = model.estimator
    model.target_names_, model._n_shared, model.familiarity_ = names, n_shared, known
    model.scores_, model.folds_ = copy_array(scores), copy_array(folds).astype(np.intp)
    model.advantages_ = advantages
    model.n_persons_ = np.isfinite(model.scores_).sum(axis=0)
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(model.estimator_, name):
            setattr(model, name, getattr(model.estimator_, name))


def _read_advantages(model: Any, scores: torch.Tensor, stored: torch.Tensor | None) -> Any:
    if stored is None:
        # Earlier files do not have them; the model's own ratings are those of the calibration.
        stds = getattr(
            final_step(model.estimator), "target_stds_", np.full(scores.shape[1], np.nan)
        )
        found = np.asarray(stds, float) ** 2 / np.nanmean(scores.numpy() ** 2, axis=0)
        return np.where(np.isfinite(found), found, 1.0)
    if stored.dtype != torch.float64 or tuple(stored.shape) != (scores.shape[1],):
        raise ValueError(f"advantages are {stored.dtype} {tuple(stored.shape)}")
    if not bool((torch.isfinite(stored) & (stored >= 0)).all()):
        raise ValueError("advantages are negative or not finite")
    return copy_array(stored)
