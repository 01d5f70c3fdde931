"""For whom a model fails, and how little it takes to change its mind."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from persona_affect._optional import import_optional
from persona_affect.metrics import ccc_score, pearson_score

from ._aligned import AlignedModel, unwrap
from ._audit_report import Audit
from ._disturbances import DISTURBANCES, Disturbance, disturb_faces, find_disturbance
from ._reference import final_model

#: The changes of aligned faces that an audit makes by default. Alignment undoes the rotation of a
#: photo by 20 degrees; of an aligned face it would be an error that does not occur.
AUDIT_DISTURBANCES: Final = tuple(
    name for name in DISTURBANCES if name not in ("roll_left", "roll_right")
)
#: Columns of numbers with more values than this are cut into thirds.
_MAX_VALUES: Final = 8
_THIRDS: Final = ("lowest third", "middle third", "highest third")
_Floats = NDArray[np.float64]


# Measures of columns: a group is one column, draws of the bootstrap are several.
def _error(y: _Floats, p: _Floats) -> _Floats:
    return np.asarray(np.abs(p - y).mean(axis=0))


def _bias(y: _Floats, p: _Floats) -> _Floats:
    return np.asarray((p - y).mean(axis=0))


def _coverage(y: _Floats, p: _Floats, low: _Floats, high: _Floats) -> _Floats:
    inside = np.where(np.isnan(low), np.nan, (low <= y) & (y <= high))
    # A target without intervals has no coverage.
    return np.full(y.shape[1], np.nan) if np.isnan(low).all() else np.nanmean(inside, axis=0)


def _scored(score: Callable[..., Any]) -> Callable[[_Floats, _Floats], _Floats]:
    def measure(y: _Floats, p: _Floats) -> _Floats:
        values: _Floats = score(y, p, multioutput="raw_values")
        return values

    return measure


_MEASURES: Final[dict[str, Callable[..., _Floats]]] = {
    "error": _error,
    "ccc": _scored(ccc_score),
    "pearson": _scored(pearson_score),
    "bias": _bias,
}


def _of_group(measure: Callable[..., _Floats]) -> Callable[..., float]:
    """Turn a measure of columns into one of a group, for fairlearn."""

    def of_group(*values: Any, **more: Any) -> float:
        columns = [np.asarray(v, float)[:, None] for v in values]
        named = {key: np.asarray(v, float)[:, None] for key, v in more.items()}
        return float(measure(*columns, **named)[0])

    return of_group


def audit(
    model: BaseEstimator,
    X: Any,
    y: Any,
    *,
    sensitive: Any = None,
    y_pred: ArrayLike | None = None,
    intervals: ArrayLike | None = None,
    alpha: float = 0.1,
    min_group_size: int = 20,
    disturbances: Sequence[str | Disturbance] | None = None,
    max_disturbed: int = 100,
    n_resamples: int = 200,
    confidence: float = 0.95,
    random_state: int = 0,
) -> Audit:
    """Compare a model's errors between groups, and see how it reacts to small changes of a photo.

    Equal errors are not fairness: where the ratings contain the prejudices of raters, a model that
    predicts them without error has the same.

    Parameters
    ----------
    model : fitted estimator
        A pipeline that begins with a `FaceAligner`, or a model of aligned faces. With a method
        `predict_interval`, its intervals are audited too.
    X : samples
        That the model was **not** trained on, one for each person.
    y : DataFrame or array-like of shape (n_samples, n_targets)
        Ratings, NaN where not rated. A DataFrame may have some of the model's targets.
    sensitive : DataFrame, Series, dict or array-like of shape (n_samples,), optional
        Features by which persons are grouped. A feature of numbers with more than eight values is
        cut into thirds.
    y_pred : array-like of shape (n_samples, n_targets), optional
        Predictions, such as those of a cross-validation; those of `model` by default.
    intervals : array-like of shape (n_samples, n_targets, 2), optional
        Lower and upper ends; those of `model` by default, if it has any and `y_pred` is not given.
    alpha : float, default=0.1
        Share of ratings that may lie outside of the intervals of `model`.
    min_group_size : int, default=20
        Smaller groups are counted, and not judged.
    disturbances : sequence of str or Disturbance, optional
        Changes of the aligned faces, see :data:`DISTURBANCES`; by default all but the large
        rotations, which the aligner undoes. An empty list for none.
    max_disturbed : int, default=100
        Disturb at most this many samples, evenly chosen.
    n_resamples : int, default=200
        Draws of the bootstrap over samples.
    confidence : float, default=0.95
        Confidence level of the bootstrap's percentile intervals.
    random_state : int, default=0
        Seed of the bootstrap.

    Returns
    -------
    Audit
        Tables of the measures: overall, by group, and of the disturbances.

    Raises
    ------
    ValueError
        If lengths or names do not match.
    MissingDependencyError
        If fairlearn is not installed (extra ``inspect``).

    References
    ----------
    Weerts, Dudík, Edgar, Jalali, Lutz, Madaio. Fairlearn: Assessing and Improving Fairness of AI
    Systems. JMLR 24, 2023.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from sklearn.linear_model import Ridge
    >>> from persona_affect.inspection import audit
    >>> rng = np.random.default_rng(0)
    >>> X, old = rng.normal(size=(90, 3)), np.arange(90) % 2
    >>> y = pd.DataFrame({"happy": X[:, 0] + old + 0.1})
    >>> found = audit(Ridge().fit(X, X[:, 0]), X, y, sensitive={"old": old}, disturbances=[])
    >>> found.groups.query("target == 'happy'").set_index("group")["bias"].round(1).to_dict()
    {'0': -0.1, '1': -1.1}
    """
    target = _name_targets(model, y)
    predicted = _as_table(model.predict(X) if y_pred is None else y_pred, model, target)
    if intervals is None and y_pred is None and hasattr(model, "predict_interval"):
        intervals = model.predict_interval(X, alpha)
    bounds = None if intervals is None else _pick_intervals(intervals, model, target)
    features = _read_features(sensitive, len(target))
    if len(predicted) != len(target):
        raise ValueError(f"{len(predicted)} predictions for {len(target)} rows of ratings.")
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    bootstrap = partial(_bootstrap, n_resamples=n_resamples, tails=tails, seed=random_state)
    everything = pd.DataFrame({"all": np.full(len(target), "all")})
    (overall,) = _judge(target, predicted, bounds, {"all": everything}, min_group_size, bootstrap)
    chosen = {str(name): features[[name]] for name in features}
    if len(chosen) > 1:
        chosen[" and ".join(chosen)] = features
    frames = _judge(target, predicted, bounds, chosen, min_group_size, bootstrap)
    changes = AUDIT_DISTURBANCES if disturbances is None else disturbances
    stability, n_disturbed = measure_stability(
        model, X, target, list(changes), max_disturbed, n_resamples, confidence, random_state
    )
    settings = {
        "n_samples": len(target),
        "n_without_prediction": int(predicted.isna().all(axis=1).sum()),
        "n_disturbed": n_disturbed,
        "min_group_size": min_group_size,
        "alpha": None if bounds is None else alpha,
        "confidence": confidence,
        "n_resamples": n_resamples,
        "targets": list(target),
        "features": list(map(str, features)),
    }
    groups = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if frames:
        # Where all groups are too small, none was judged.
        groups = groups.reindex(columns=overall.columns)
    return Audit(
        overall.drop(columns=["feature", "group"]).set_index("target"), groups, stability, settings
    )


def measure_stability(
    model: BaseEstimator,
    X: Any,
    target: pd.DataFrame,
    disturbances: list[str | Disturbance],
    max_disturbed: int,
    n_resamples: int,
    confidence: float,
    random_state: int,
) -> tuple[pd.DataFrame, int]:
    """Measure how much predictions change with the pictures; also count these."""
    columns = [
        "disturbance",
        "text",
        "target",
        "movement",
        "movement_low",
        "movement_high",
        "shift",
    ]
    changes = [find_disturbance(change) for change in disturbances]
    if not changes:
        return pd.DataFrame(columns=columns), 0
    picked = np.linspace(0, len(target) - 1, min(max_disturbed, len(target))).round().astype(int)
    samples = X[picked] if isinstance(X, np.ndarray) else [X[i] for i in picked]
    aligned = AlignedModel.split(model, samples)
    if aligned.template is None:
        raise ValueError(
            "Without a FaceAligner at the beginning of the model it is not known where faces lie: "
            "give the whole pipeline, or disturbances=[]."
        )
    before = _as_table(aligned.model.predict(aligned.faces), model, target)
    rng = np.random.default_rng(random_state)
    draws = rng.integers(len(picked), size=(n_resamples, len(picked)))
    rows = []
    for change in changes:
        faces = disturb_faces(aligned.faces, change, aligned.template, aligned.margin)
        after = _as_table(aligned.model.predict(faces), model, target)
        moved = (after - before) / target.std(ddof=0)
        for name in target:
            values = moved[name].to_numpy()
            means = np.nanmean(np.abs(values)[draws], axis=1)
            low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
            movement, shift = float(np.nanmean(np.abs(values))), float(np.nanmean(values))
            rows.append((change.name, change.text, name, movement, low, high, shift))
    return pd.DataFrame(rows, columns=columns), len(picked)


def _judge(
    target: pd.DataFrame,
    predicted: pd.DataFrame,
    bounds: _Floats | None,
    features: Mapping[str, pd.DataFrame],
    min_group_size: int,
    bootstrap: Callable[..., pd.DataFrame],
) -> list[pd.DataFrame]:
    """Judge every target by every feature, with intervals over draws of samples."""
    frame_of = import_optional("fairlearn.metrics", extra="inspect", purpose="An audit").MetricFrame
    tables = []
    for feature, groups in features.items():
        for j, name in enumerate(target):
            rows = (target[name].notna() & predicted[name].notna()).to_numpy()
            of_group = groups[rows].agg(", ".join, axis=1)
            counts = of_group.value_counts()
            counts = counts.reindex(sorted(counts.index, key=_order))
            table = pd.DataFrame({"feature": feature, "group": counts.index, "target": name})
            table["n"] = counts.to_numpy()
            kept = of_group.isin(counts.index[counts >= max(min_group_size, 2)]).to_numpy()
            places = np.flatnonzero(rows)[kept]
            if len(places):
                measures, params = dict(_MEASURES), {}
                if bounds is not None:
                    measures["coverage"] = _coverage
                    low, high = bounds[places, j].T
                    params = {"low": low, "high": high}
                y, p = target[name].to_numpy()[places], predicted[name].to_numpy()[places]
                names = of_group.to_numpy()[kept]
                judged = frame_of(
                    metrics={key: _of_group(measure) for key, measure in measures.items()},
                    y_true=y,
                    y_pred=p,
                    sensitive_features=names,
                    sample_params={"coverage": params} if params else None,
                ).by_group
                spread = bootstrap(measures, y, p, params, names)
                order = [f"{key}{end}" for key in measures for end in ("", "_low", "_high")]
                table = table.join(judged.join(spread)[order], on="group")
            tables.append(table)
    return [pd.concat(tables, ignore_index=True)] if tables else []


def _order(group: str) -> list[str]:
    """Sort groups by name, but thirds from the lowest on."""
    return [str(_THIRDS.index(p)) if p in _THIRDS else p for p in group.split(", ")]


def _bootstrap(
    measures: Mapping[str, Callable[..., _Floats]],
    y: _Floats,
    p: _Floats,
    params: Mapping[str, _Floats],
    names: NDArray[Any],
    *,
    n_resamples: int,
    tails: list[float],
    seed: int,
) -> pd.DataFrame:
    """Draw the samples of each group again: the two ends of an interval of each measure.

    fairlearn's own bootstrap takes minutes for what this does in a second.
    """
    rows: list[dict[str, float]] = []
    groups = np.unique(names)
    for group in groups:
        row: dict[str, float] = {}
        places = np.flatnonzero(names == group)
        drawn = np.random.default_rng(seed).choice(places, (len(places), n_resamples))
        more = {key: value[drawn] for key, value in params.items()}
        for name, measure in measures.items():
            values = measure(y[drawn], p[drawn], **(more if name == "coverage" else {}))
            # A measure may not be defined for some draws.
            known = values[~np.isnan(values)]
            ends = np.quantile(known, tails) if len(known) else (np.nan, np.nan)
            row[f"{name}_low"], row[f"{name}_high"] = ends
        rows.append(row)
    return pd.DataFrame(rows, index=groups)


def _name_targets(model: BaseEstimator, y: Any) -> pd.DataFrame:
    """Return ratings as a table whose columns are targets of the model."""
    names = _target_names(model)
    if not isinstance(y, pd.DataFrame):
        values = np.asarray(y, float).reshape(len(y), -1)
        names = names or [f"y{i}" for i in range(values.shape[1])]
        if values.shape[1] != len(names):
            raise ValueError(f"y has {values.shape[1]} columns; the model predicts {names}.")
        return pd.DataFrame(values, columns=names)
    unknown = [name for name in y if names is not None and name not in names]
    if unknown:
        raise ValueError(f"y has the columns {unknown}; the model predicts {names}.")
    return y.astype(float).reset_index(drop=True)


def _target_names(model: BaseEstimator) -> list[str] | None:
    try:
        return list(final_model(unwrap(model)).target_names_)
    except ValueError:
        return None


def _as_table(values: Any, model: BaseEstimator, target: pd.DataFrame) -> pd.DataFrame:
    """Return predictions of the targets in `target`, in its order."""
    if isinstance(values, pd.DataFrame):
        return values[list(target)].astype(float).reset_index(drop=True)
    names = _target_names(model) or [str(name) for name in target]
    table = pd.DataFrame(np.asarray(values, float).reshape(len(values), -1), columns=names)
    return table[list(target)]


def _pick_intervals(intervals: ArrayLike, model: BaseEstimator, target: pd.DataFrame) -> _Floats:
    names = _target_names(model) or [str(name) for name in target]
    found = np.asarray(intervals, float)
    if found.shape != (len(target), len(names), 2):
        raise ValueError(
            f"intervals has the shape {found.shape}, not {(len(target), len(names), 2)}."
        )
    picked = np.array([names.index(str(name)) for name in target], dtype=np.intp)
    return found[:, picked]


def _read_features(sensitive: Any, n_samples: int) -> pd.DataFrame:
    """Return features as a table of groups' names."""
    if sensitive is None:
        return pd.DataFrame(index=range(n_samples))
    if isinstance(sensitive, pd.Series):
        sensitive = sensitive.to_frame(sensitive.name or "group")
    if not isinstance(sensitive, pd.DataFrame | Mapping):
        sensitive = {"group": np.asarray(sensitive)}
    table = pd.DataFrame(sensitive).reset_index(drop=True)
    if len(table) != n_samples:
        raise ValueError(f"sensitive has {len(table)} rows, y has {n_samples}.")
    return table.apply(_as_groups)


def _as_groups(feature: "pd.Series[Any]") -> "pd.Series[str]":
    missing = feature.isna()
    if pd.api.types.is_numeric_dtype(feature) and feature.nunique() > _MAX_VALUES:
        cut = pd.qcut(feature.rank(method="first"), 3, labels=list(_THIRDS))
        groups = cut.astype(str)
    else:
        groups = feature.astype(str)
    return groups.mask(missing, "missing")
