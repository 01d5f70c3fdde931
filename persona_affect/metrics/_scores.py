"""CCC, Pearson's r, R2, accuracy and RMSE, target by target."""

from collections.abc import Callable
from typing import Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import UndefinedMetricWarning

from persona_affect._warnings import warn_user

from ._labels import FloatArray, NanPredictions, prepare

PERSONALITY_NAMES = (
    "extraversion",
    "agreeableness",
    "conscientiousness",
    "neuroticism",
    "openness",
)
EMOTION_NAMES = ("arousal", "valence")
#: Names of the default targets by kind.
DEFAULT_NAMES = {"personality": PERSONALITY_NAMES, "emotion": EMOTION_NAMES}

MultiOutput: TypeAlias = Literal["raw_values", "uniform_average"]
# One target's observed labels, their predictions, and weights that sum to one.
_Measure: TypeAlias = Callable[[FloatArray, FloatArray, FloatArray], float]


@overload
def ccc_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: Literal["uniform_average"] = "uniform_average",
    nan_predictions: NanPredictions = "raise",
) -> float: ...
@overload
def ccc_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: Literal["raw_values"],
    nan_predictions: NanPredictions = "raise",
) -> FloatArray: ...
def ccc_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: MultiOutput = "uniform_average",
    nan_predictions: NanPredictions = "raise",
) -> float | FloatArray:
    """Lin's concordance correlation coefficient.

    ``2 cov / (var_y + var_p + (mean_y - mean_p)^2)``, with population variances: Pearson's r,
    lowered by any shift and any difference in spread.

    Parameters
    ----------
    y_true : array-like or DataFrame of shape (n_samples,) or (n_samples, n_targets)
        Labels; NaN where a sample was not rated on a target.
    y_pred : array-like or DataFrame of the shape of `y_true`
        Predictions.
    sample_weight : array-like of shape (n_samples,), optional
        Weights, non-negative.
    multioutput : {"uniform_average", "raw_values"}
        The mean over the targets, or one value a target.
    nan_predictions : {"raise", "mean", "omit"}
        How missing predictions are treated; see :mod:`persona_affect.metrics`.

    Returns
    -------
    float or ndarray of shape (n_targets,)
        In [-1, 1], 1 at best; 0, never NaN, where labels or predictions are constant.

    Raises
    ------
    ValueError
        If the shapes disagree, a value is infinite, or a prediction is missing under
        ``nan_predictions="raise"``.

    References
    ----------
    Lin. A concordance correlation coefficient to evaluate reproducibility. Biometrics 45(1), 1989.

    Examples
    --------
    >>> from persona_affect.metrics import ccc_score
    >>> ccc_score([1, 2, 3], [2, 3, 4])
    0.571...
    >>> y_true = [[0.2, float("nan")], [0.4, -0.5], [0.6, 0.5]]
    >>> ccc_score(y_true, [[0.2, 0.0], [0.4, -0.5], [0.6, 0.5]], multioutput="raw_values")
    array([1., 1.])
    """
    y, p, w = prepare(y_true, y_pred, sample_weight, nan_predictions)
    return score_targets("ccc", y, p, w, multioutput)


@overload
def pearson_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: Literal["uniform_average"] = "uniform_average",
    nan_predictions: NanPredictions = "raise",
) -> float: ...
@overload
def pearson_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: Literal["raw_values"],
    nan_predictions: NanPredictions = "raise",
) -> FloatArray: ...
def pearson_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: MultiOutput = "uniform_average",
    nan_predictions: NanPredictions = "raise",
) -> float | FloatArray:
    """Pearson's correlation coefficient r.

    Where labels or predictions are constant, r is undefined; 0 is returned (no linear relation
    was shown), so that a search does not drop a candidate because of NaN.

    Parameters
    ----------
    y_true, y_pred, sample_weight, multioutput, nan_predictions
        As in :func:`ccc_score`.

    Returns
    -------
    float or ndarray of shape (n_targets,)
        In [-1, 1], 1 at best.

    Raises
    ------
    ValueError
        As for :func:`ccc_score`.

    Examples
    --------
    >>> from persona_affect.metrics import pearson_score
    >>> pearson_score([1, 2, 3], [2, 3, 4])
    1.0
    """
    y, p, w = prepare(y_true, y_pred, sample_weight, nan_predictions)
    return score_targets("pearson", y, p, w, multioutput)


@overload
def accuracy_score_mae(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: Literal["uniform_average"] = "uniform_average",
    nan_predictions: NanPredictions = "raise",
) -> float: ...
@overload
def accuracy_score_mae(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: Literal["raw_values"],
    nan_predictions: NanPredictions = "raise",
) -> FloatArray: ...
def accuracy_score_mae(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: MultiOutput = "uniform_average",
    nan_predictions: NanPredictions = "raise",
) -> float | FloatArray:
    """Accuracy as the First Impressions challenge defines it: one minus the mean absolute error.

    Parameters
    ----------
    y_true, y_pred, sample_weight, multioutput, nan_predictions
        As in :func:`ccc_score`.

    Returns
    -------
    float or ndarray of shape (n_targets,)
        At most 1. At least 0 for labels and predictions in [0, 1], and -1 for those in [-1, 1].

    Raises
    ------
    ValueError
        As for :func:`ccc_score`.

    Examples
    --------
    >>> from persona_affect.metrics import accuracy_score_mae
    >>> accuracy_score_mae([0.5, 0.7], [0.6, 0.4])
    0.8
    """
    y, p, w = prepare(y_true, y_pred, sample_weight, nan_predictions)
    return score_targets("accuracy_mae", y, p, w, multioutput)


@overload
def root_mean_squared_error(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: Literal["uniform_average"] = "uniform_average",
    nan_predictions: NanPredictions = "raise",
) -> float: ...
@overload
def root_mean_squared_error(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: Literal["raw_values"],
    nan_predictions: NanPredictions = "raise",
) -> FloatArray: ...
def root_mean_squared_error(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: MultiOutput = "uniform_average",
    nan_predictions: NanPredictions = "raise",
) -> float | FloatArray:
    """Root of the mean squared error, in the units of the labels; missing labels are ignored.

    Parameters
    ----------
    y_true, y_pred, sample_weight, multioutput, nan_predictions
        As in :func:`ccc_score`.

    Returns
    -------
    float or ndarray of shape (n_targets,)
        At least 0, which is best.

    Raises
    ------
    ValueError
        As for :func:`ccc_score`.

    Examples
    --------
    >>> from persona_affect.metrics import root_mean_squared_error
    >>> root_mean_squared_error([0.0, 0.0, float("nan")], [3.0, 4.0, 9.0])
    3.535...
    """
    y, p, w = prepare(y_true, y_pred, sample_weight, nan_predictions)
    return score_targets("rmse", y, p, w, multioutput)


@overload
def r2_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: Literal["uniform_average"] = "uniform_average",
    nan_predictions: NanPredictions = "raise",
) -> float: ...
@overload
def r2_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: Literal["raw_values"],
    nan_predictions: NanPredictions = "raise",
) -> FloatArray: ...
def r2_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: npt.ArrayLike | None = None,
    multioutput: MultiOutput = "uniform_average",
    nan_predictions: NanPredictions = "raise",
) -> float | FloatArray:
    """Coefficient of determination over the observed labels; the estimators' own ``score``.

    Parameters
    ----------
    y_true, y_pred, sample_weight, multioutput, nan_predictions
        As in :func:`ccc_score`.

    Returns
    -------
    float or ndarray of shape (n_targets,)
        At most 1; 0 for the mean label, and for any but a perfect prediction of constant labels.

    Raises
    ------
    ValueError
        As for :func:`ccc_score`.

    Examples
    --------
    >>> from persona_affect.metrics import r2_score
    >>> r2_score([1, 2, 3, float("nan")], [1, 2, 2, 9])
    0.5
    """
    y, p, w = prepare(y_true, y_pred, sample_weight, nan_predictions)
    return score_targets("r2", y, p, w, multioutput)


def _ccc(y: FloatArray, p: FloatArray, w: FloatArray) -> float:
    mean_y, mean_p = w @ y, w @ p
    spread = w @ (y - mean_y) ** 2 + w @ (p - mean_p) ** 2 + (mean_y - mean_p) ** 2
    # Rounding gives a constant a tiny variance, so that a variance of 0 would not find it.
    if _is_constant(y) or _is_constant(p) or spread == 0:
        return 0.0
    return float(np.clip(2 * (w @ ((y - mean_y) * (p - mean_p))) / spread, -1, 1))


def _pearson(y: FloatArray, p: FloatArray, w: FloatArray) -> float:
    if _is_constant(y) or _is_constant(p):
        return 0.0
    y, p = y - w @ y, p - w @ p
    # Scaled first: squares of very small or large deviations would under- or overflow.
    y, p = y / np.abs(y).max(), p / np.abs(p).max()
    return float(np.clip(w @ (y * p) / np.sqrt((w @ y**2) * (w @ p**2)), -1, 1))


def _accuracy(y: FloatArray, p: FloatArray, w: FloatArray) -> float:
    return float(1 - w @ np.abs(y - p))


def _rmse(y: FloatArray, p: FloatArray, w: FloatArray) -> float:
    return float(np.sqrt(w @ (y - p) ** 2))


def _r2(y: FloatArray, p: FloatArray, w: FloatArray) -> float:
    residual, spread = w @ (y - p) ** 2, w @ (y - w @ y) ** 2
    if _is_constant(y) or spread == 0:
        return float(residual == 0)
    return float(1 - residual / spread)


def _is_constant(values: FloatArray) -> bool:
    return bool((values == values[0]).all())


# name: (measure of one target, labels it needs, sign that makes greater better)
MEASURES: dict[str, tuple[_Measure, int, Literal[1, -1]]] = {
    "ccc": (_ccc, 2, 1),
    "pearson": (_pearson, 2, 1),
    "r2": (_r2, 2, 1),
    "accuracy_mae": (_accuracy, 1, 1),
    "rmse": (_rmse, 1, -1),
}


def score_targets(
    name: str, y: FloatArray, p: FloatArray, w: FloatArray, multioutput: MultiOutput
) -> float | FloatArray:
    """Compute the metric of each target on its observed labels, and average if asked."""
    measure, n_needed, _ = MEASURES[name]
    scores = np.full(y.shape[1], np.nan)
    for target in range(y.shape[1]):
        seen = ~np.isnan(y[:, target]) & (w > 0)
        if seen.sum() >= n_needed:
            weights = w[seen] / w[seen].sum()
            scores[target] = measure(y[seen, target], p[seen, target], weights)
    if multioutput == "raw_values":
        return scores
    if multioutput != "uniform_average":
        raise ValueError(
            f'multioutput must be "raw_values" or "uniform_average", not {multioutput!r}.'
        )
    undefined = np.flatnonzero(np.isnan(scores))
    if len(undefined):
        warn_user(
            f"{name} needs {n_needed} observed labels; the targets at {undefined.tolist()} have "
            f"fewer and are left out of the average of {len(scores)} targets.",
            UndefinedMetricWarning,
        )
    return float(np.nan) if len(undefined) == len(scores) else float(np.nanmean(scores))
