"""Scorers for scikit-learn's searches and cross-validation."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import pandas as pd
from sklearn.utils.validation import check_consistent_length

from ._scores import (
    EMOTION_NAMES,
    MEASURES,
    PERSONALITY_NAMES,
    FloatArray,
    NanPredictions,
    as_columns,
    check_nan_predictions,
    over_targets,
    prepare,
)


class AffectScorer:
    """A scorer ``scorer(estimator, X, y, sample_weight=None)``; see :func:`make_affect_scorer`."""

    def __init__(
        self,
        metric: str | Sequence[str],
        targets: str | Sequence[str] | None = None,
        *,
        nan_predictions: NanPredictions = "mean",
    ) -> None:
        self.metric = metric
        self.targets = targets
        self.nan_predictions = nan_predictions

    def __repr__(self) -> str:
        return f"make_affect_scorer({self.metric!r}, targets={self.targets!r})"

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
    ) -> float | dict[str, float]:
        """Score; a dict, one key a metric, if `metric` is a sequence."""
        labels, predictions = self._select(_final(estimator), y, estimator.predict(X))
        y_, p, w = prepare(labels, predictions, sample_weight, self.nan_predictions)
        if isinstance(self.metric, str):
            return _greater_is_better(self.metric, y_, p, w)
        return {_scorer_name(name): _greater_is_better(name, y_, p, w) for name in self.metric}

    def _select(self, model: Any, y: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[Any, Any]:
        """Pick the columns of labels and predictions that this scorer is about."""
        labels, predictions = as_columns(y, "y"), as_columns(y_pred, "The prediction")
        check_consistent_length(labels, predictions)
        predicted = list(getattr(model, "target_names_", []))
        rated = list(y.columns) if isinstance(y, pd.DataFrame) else predicted
        predicted = predicted or rated
        wanted = self._wanted(model, rated)
        if wanted is None and rated == predicted:
            return labels, predictions
        wanted = rated if wanted is None else wanted
        for name in wanted:
            if name not in rated or name not in predicted:
                raise ValueError(
                    f"{self!r} needs the target {name!r}; y has {rated or 'no names'} "
                    f"and the estimator predicts {predicted or 'no names'}."
                )
        if labels.shape[1] != len(rated) or predictions.shape[1] != len(predicted):
            raise ValueError(
                f"y has {labels.shape[1]} columns for {len(rated)} target names, the prediction "
                f"{predictions.shape[1]} for {len(predicted)}; pass y as a DataFrame."
            )
        return (
            labels[:, [rated.index(name) for name in wanted]],
            predictions[:, [predicted.index(name) for name in wanted]],
        )

    def _wanted(self, model: Any, rated: list[str]) -> list[str] | None:
        if self.targets is None:
            return None
        if not isinstance(self.targets, str):
            return list(self.targets)
        default = {"personality": PERSONALITY_NAMES, "emotion": EMOTION_NAMES}[self.targets]
        names = list(getattr(model, f"{self.targets}_names_", default))
        # A table may hold some of the group only; not one of them is an error that names it.
        return [name for name in names if name in rated] or names


def _final(estimator: Any) -> Any:
    """Find the fitted model inside pipelines, searches and target transformers."""
    while not hasattr(estimator, "target_names_"):
        if hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "regressor_"):
            estimator = estimator.regressor_
        else:
            break
    return estimator


def _greater_is_better(name: str, y: FloatArray, p: FloatArray, w: FloatArray) -> float:
    score = over_targets(name, y, p, w, "uniform_average")
    return MEASURES[name][2] * float(score)


def _scorer_name(name: str) -> str:
    return name if MEASURES[name][2] > 0 else f"neg_{name}"


def make_affect_scorer(
    metric: str | Sequence[str],
    targets: str | Sequence[str] | None = None,
    *,
    nan_predictions: NanPredictions = "mean",
) -> AffectScorer:
    """Make a scorer for ``GridSearchCV(scoring=...)``, ``cross_validate`` and the like.

    Parameters
    ----------
    metric : {"ccc", "pearson", "r2", "accuracy_mae", "rmse"} or a sequence of these
        What to average over the targets; of ``"rmse"`` the negative. With a sequence, the scorer
        gives a dict (``"rmse"`` as ``"neg_rmse"``), which makes a multimetric search that
        predicts once rather than once a metric.
    targets : {"personality", "emotion"}, sequence of str, or None
        Which targets count; None is all. The groups are the estimator's ``personality_names_``
        and ``emotion_names_`` (of the last step, in a pipeline), or the default names if it has
        none. A `y` that is a DataFrame is matched by column names, and may lack some targets;
        an array has the columns of the estimator's ``target_names_``.
    nan_predictions : {"mean", "omit", "raise"}
        What a missing prediction means; see :mod:`persona_affect.metrics`. The default is fair to
        candidates that find different numbers of faces.

    Returns
    -------
    AffectScorer
        A callable ``scorer(estimator, X, y, sample_weight=None)``; greater is better.

    Raises
    ------
    ValueError
        If `metric`, `targets` or `nan_predictions` is none of the above.

    See Also
    --------
    SCORERS : ready-made ones.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import cross_val_score
    >>> from persona_affect.metrics import make_affect_scorer
    >>> X = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]
    >>> y = [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    >>> cross_val_score(Ridge(1e-6), X, y, scoring=make_affect_scorer("ccc"), cv=3).round(3)
    array([1., 1., 1.])
    """
    for name in [metric] if isinstance(metric, str) else metric:
        if name not in MEASURES:
            raise ValueError(f"metric must be one or more of {list(MEASURES)}, not {name!r}.")
    if isinstance(targets, str) and targets not in ("personality", "emotion"):
        raise ValueError(
            f'targets must be "personality", "emotion", names in a list, or None, not {targets!r}.'
        )
    check_nan_predictions(nan_predictions)
    return AffectScorer(metric, targets, nan_predictions=nan_predictions)


#: Ready scorers: ``ccc``, ``pearson``, ``r2``, ``accuracy_mae`` and ``neg_rmse``, over all targets
#: or, with ``_personality`` or ``_emotion`` appended, over one group.
SCORERS: dict[str, AffectScorer] = {
    _scorer_name(metric) + (f"_{targets}" if targets else ""): make_affect_scorer(metric, targets)
    for targets in (None, "personality", "emotion")
    for metric in MEASURES
}
