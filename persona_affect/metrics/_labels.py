"""Labels and predictions, checked and ready to be scored."""

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from persona_affect._arrays import read_labels
from persona_affect._warnings import warn_user
from persona_affect.exceptions import NoFaceWarning

FloatArray: TypeAlias = npt.NDArray[np.float64]
NanPredictions: TypeAlias = Literal["raise", "mean", "omit"]


def prepare(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None,
    nan_predictions: NanPredictions,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return labels and predictions, (n, n_targets), none missing, and sample weights, (n,)."""
    if (
        isinstance(y_true, pd.DataFrame)
        and isinstance(y_pred, pd.DataFrame)
        and list(y_true.columns) != list(y_pred.columns)
    ):
        raise ValueError(
            f"y_true has the columns {list(y_true.columns)}, y_pred {list(y_pred.columns)}: "
            "select the same columns in the same order, e.g. y_pred[y_true.columns]."
        )
    check_nan_predictions(nan_predictions)
    y, p = as_columns(y_true, "y_true"), as_columns(y_pred, "y_pred")
    if y.shape != p.shape:
        raise ValueError(f"y_true has the shape {y.shape} and y_pred {p.shape}; they must agree.")
    if sample_weight is None:
        w = np.ones(len(y))
    else:
        w = np.asarray(sample_weight, dtype=np.float64)
        if w.shape != (len(y),) or not np.isfinite(w).all() or (w < 0).any():
            raise ValueError(
                f"sample_weight must be {len(y)} finite, non-negative numbers, one for each sample."
            )
    missing = np.isnan(p) & ~np.isnan(y)
    if missing.any():
        y, p = _resolve_missing(y, p, w, missing, nan_predictions)
    return y, p, w


def check_nan_predictions(nan_predictions: NanPredictions) -> None:
    """Raise ValueError for any other value than the three that are documented."""
    if nan_predictions not in ("raise", "mean", "omit"):
        raise ValueError(
            f'nan_predictions must be "raise", "mean" or "omit", not {nan_predictions!r}.'
        )


def _resolve_missing(
    y: FloatArray,
    p: FloatArray,
    w: FloatArray,
    missing: npt.NDArray[np.bool_],
    nan_predictions: NanPredictions,
) -> tuple[FloatArray, FloatArray]:
    count = f"{missing.any(axis=1).sum()} of {len(y)} samples have a label but no prediction"
    if nan_predictions == "omit":
        warn_user(f"{count}; they are left out of the score.", NoFaceWarning)
        return np.where(missing, np.nan, y), p
    if nan_predictions == "mean":
        warn_user(
            f"{count}; the mean label is used instead, as if the model knew nothing about them.",
            NoFaceWarning,
        )
        seen = ~np.isnan(y) * w[:, None]
        total = seen.sum(axis=0)
        # A column of zero weight has no score anyway; dividing by 1 avoids 0 / 0.
        means = (seen * np.nan_to_num(y)).sum(axis=0) / np.where(total > 0, total, 1)
        return y, np.where(missing, means, p)
    raise ValueError(
        f"{count} (first: sample {missing.any(axis=1).argmax()}): usually no face was found. "
        'Leave them out beforehand, or pass nan_predictions="omit" or "mean".'
    )


def as_columns(values: npt.ArrayLike, name: str) -> FloatArray:
    """Return values, finite or missing, of shape (n_samples, n_targets)."""
    array = read_labels(values, name) if np.ndim(values) else np.asarray(values)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"{name} must have one or two dimensions, not {array.ndim}.")
    if np.isinf(array).any():
        raise ValueError(f"{name} contains infinite values; write missing values as NaN.")
    return array
