"""All metrics of all targets as one table."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ._labels import NanPredictions, prepare
from ._scores import DEFAULT_NAMES, MEASURES, score_targets


def affect_report(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    target_names: Sequence[str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    baseline: npt.ArrayLike | pd.Series | None = None,
    sample_weight: npt.ArrayLike | None = None,
    nan_predictions: NanPredictions = "raise",
) -> pd.DataFrame:
    """All metrics of all targets as a table, with the means of the groups below.

    Parameters
    ----------
    y_true, y_pred, sample_weight, nan_predictions
        As in :func:`ccc_score`.
    target_names : sequence of str, optional
        Names of the targets. By default the columns of `y_true` if that is a DataFrame, or the
        default seven names if it has seven columns. Required otherwise.
    groups : mapping of str to sequence of str, optional
        Targets to average together, by the group's name. By default ``personality`` and
        ``emotion`` over the default names that are present.
    baseline : array-like of shape (n_targets,) or Series, optional
        A constant prediction to compare with, such as ``y_train.mean()``; a Series is matched
        by name. Its CCC and r are 0 by definition; its accuracy and RMSE are shown.

    Returns
    -------
    DataFrame
        A row per target, then ``<group> mean`` per group, then ``mean``; the columns ``n_labels``
        (observed labels; in a mean, their sum), ``ccc``, ``pearson``, ``r2``, ``accuracy_mae``,
        ``rmse`` and, with a baseline, ``baseline_accuracy_mae`` and ``baseline_rmse``. A metric
        that is undefined for a target is NaN, and left out of the means.

    Raises
    ------
    ValueError
        If the names are missing or do not fit, or as :func:`ccc_score` raises it.

    Examples
    --------
    >>> from persona_affect.metrics import affect_report
    >>> affect_report(
    ...     [[1, 0], [2, 1], [3, 0]], [[2, 0], [3, 1], [4, 0]],
    ...     target_names=["arousal", "valence"], baseline=[2, 0.5],
    ... ).loc["emotion mean", ["ccc", "rmse", "baseline_rmse"]].round(3).to_dict()
    {'ccc': 0.786, 'rmse': 0.5, 'baseline_rmse': 0.658}
    """
    names = _report_names(y_true, target_names)
    y, p, w = prepare(y_true, y_pred, sample_weight, nan_predictions)
    if len(names) != y.shape[1]:
        raise ValueError(f"{len(names)} target names for {y.shape[1]} targets: {names}.")
    table = pd.DataFrame({"n_labels": (~np.isnan(y)).sum(axis=0)}, index=names)
    for name in MEASURES:
        table[name] = score_targets(name, y, p, w, "raw_values")
    if baseline is not None:
        if isinstance(baseline, pd.Series):
            baseline = baseline[names]
        constant = np.broadcast_to(np.asarray(baseline, dtype=np.float64), y.shape)
        for name in ("accuracy_mae", "rmse"):
            table[f"baseline_{name}"] = score_targets(name, y, constant, w, "raw_values")
    if groups is None:
        groups = {key: [n for n in value if n in names] for key, value in DEFAULT_NAMES.items()}
    rows = {f"{key} mean": table.loc[list(value)] for key, value in groups.items() if value}
    rows["mean"] = table
    means = pd.DataFrame({label: row.mean() for label, row in rows.items()}).T
    means["n_labels"] = [row["n_labels"].sum() for row in rows.values()]
    return pd.concat([table, means])


def _report_names(y_true: npt.ArrayLike, target_names: Sequence[str] | None) -> list[str]:
    if target_names is not None:
        return list(target_names)
    if isinstance(y_true, pd.DataFrame):
        return list(y_true.columns)
    default = [name for group in DEFAULT_NAMES.values() for name in group]
    if np.ndim(y_true) == 2 and np.shape(y_true)[1] == len(default):
        return default
    raise ValueError("y_true has no column names: pass target_names.")
