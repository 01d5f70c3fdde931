"""Scores with confidence intervals, compared with a constant prediction."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from persona_affect.metrics import (
    accuracy_score_mae,
    affect_report,
    ccc_score,
    pearson_score,
    root_mean_squared_error,
)

_MEASURES: Final[dict[str, Callable[..., Any]]] = {
    "accuracy_mae": accuracy_score_mae,
    "ccc": ccc_score,
    "pearson": pearson_score,
    "rmse": root_mean_squared_error,
}


def evaluate_predictions(
    y_true: pd.DataFrame,
    y_pred: pd.DataFrame,
    *,
    groups: ArrayLike,
    baseline: pd.Series,
    personality: Sequence[str],
    emotion: Sequence[str],
    n_resamples: int = 1000,
    confidence: float = 0.95,
    random_state: int = 0,
) -> pd.DataFrame:
    """Score predictions for each target, with bootstrap intervals, and those of a constant.

    Parameters
    ----------
    y_true : DataFrame of shape (n_samples, n_targets)
        Labels, NaN where not rated.
    y_pred : DataFrame of shape (n_samples, n_targets)
        Predictions, in the same columns. Where one is missing (no face), the baseline is used.
    groups : array-like of shape (n_samples,)
        The person or clip that each sample shows: the bootstrap draws whole groups.
    baseline : Series
        A constant for each target, such as the training means.
    personality, emotion : sequence of str
        Targets of either kind, to be averaged.
    n_resamples : int, default=1000
        Draws of the bootstrap; 0 for no intervals.
    confidence : float, default=0.95
        Confidence level of the percentile intervals.
    random_state : int, default=0
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        A row per target, then ``personality mean`` and ``emotion mean``; columns ``n_labels``,
        ``n_not_predicted``, and for each of ``accuracy_mae`` (1 - MAE), ``ccc``, ``pearson`` and
        ``rmse`` its value, ``<name>_low`` and ``<name>_high``; ``baseline_accuracy_mae`` and
        ``baseline_rmse`` (the CCC and r of a constant are 0).

    Examples
    --------
    >>> import pandas as pd
    >>> from persona_affect.protocols import evaluate_predictions
    >>> y = pd.DataFrame({"warm": [1.0, 2.0, 3.0, 4.0]})
    >>> table = evaluate_predictions(
    ...     y, y + 0.5, groups=[0, 1, 2, 3], baseline=y.mean(), personality=["warm"], emotion=[],
    ...     n_resamples=0,
    ... )
    >>> float(table.loc["warm", "rmse"])
    0.5
    """
    names = [*personality, *emotion]
    y, missing = y_true[names], y_pred[names].isna() & y_true[names].notna()
    p = y_pred[names].fillna(baseline[names])
    kinds = {"personality": list(personality), "emotion": list(emotion)}
    report = affect_report(y, p, groups=kinds, baseline=baseline[names]).drop(index="mean")
    table = report[["n_labels"]].astype(int)
    table["n_not_predicted"] = [
        int(missing[_targets(row, kinds)].to_numpy().sum()) for row in report.index
    ]
    draws = _resample(y, p, groups, kinds, n_resamples, random_state)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    for measure in _MEASURES:
        table[measure] = report[measure]
        if n_resamples:
            low, high = np.nanquantile(draws[measure], tails, axis=0)
            table[f"{measure}_low"], table[f"{measure}_high"] = low, high
    for measure in ("baseline_accuracy_mae", "baseline_rmse"):
        table[measure] = report[measure]
    return table


def _targets(row: str, kinds: dict[str, list[str]]) -> list[str]:
    return kinds.get(row.removesuffix(" mean"), [row]) if row.endswith(" mean") else [row]


def _resample(
    y: pd.DataFrame,
    p: pd.DataFrame,
    groups: ArrayLike,
    kinds: dict[str, list[str]],
    n_resamples: int,
    random_state: int,
) -> dict[str, NDArray[np.float64]]:
    """Score bootstrap samples of whole groups: (n_resamples, n_rows) by measure."""
    rng = np.random.default_rng(random_state)
    _, of_group = np.unique(np.asarray(groups), return_inverse=True)
    n_groups = of_group.max() + 1
    draws: dict[str, list[NDArray[np.float64]]] = {name: [] for name in _MEASURES}
    places = [[y.columns.get_loc(n) for n in names] for names in kinds.values() if names]
    for _ in range(n_resamples):
        # The samples of a group that is drawn twice get twice the weight.
        weight = np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups)[of_group]
        for name, measure in _MEASURES.items():
            scores = measure(y, p, sample_weight=weight, multioutput="raw_values")
            means = [np.mean(scores[place]) for place in places]
            draws[name].append(np.array([*scores, *means]))
    return {name: np.array(values) for name, values in draws.items()}
