"""Scorers for scikit-learn's searches and cross-validation."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final, Self

import numpy.typing as npt
import pandas as pd
from sklearn import get_config
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import check_consistent_length

from persona_affect._sklearn import final_step

from ._labels import FloatArray, NanPredictions, as_columns, check_nan_predictions, prepare
from ._scores import DEFAULT_NAMES, MEASURES, score_targets


class AffectScorer:
    """A scorer ``scorer(estimator, X, y, sample_weight=None)``; see :func:`make_affect_scorer`.

    Parameters
    ----------
    metric : str or sequence of str
        As for :func:`make_affect_scorer`.
    targets : str or sequence of str, optional
        Targets to average; all by default.
    nan_predictions : {"raise", "mean", "omit"}, default="mean"
        As for :func:`ccc_score`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from persona_affect.metrics import AffectScorer
    >>> X = np.arange(12.0).reshape(6, 2)
    >>> model = Ridge(alpha=1e-6).fit(X, X[:, :1])
    >>> round(AffectScorer("pearson")(model, X, X[:, :1]), 3)
    1.0
    """

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
        self._request = MetadataRequest(owner=self)
        self._request.score.add_request(param="sample_weight", alias=None)

    def set_score_request(self, *, sample_weight: bool | str | None = None) -> Self:
        """Say whether searches and cross-validation pass `sample_weight` to this scorer.

        For scikit-learn's metadata routing, as for its own scorers.

        Parameters
        ----------
        sample_weight : bool, str or None
            True: passed if it is given; False: never; None: giving it is an error; str: passed
            under this other name.

        Returns
        -------
        AffectScorer
            Itself.

        Raises
        ------
        RuntimeError
            If metadata routing is not enabled.

        Examples
        --------
        >>> import sklearn
        >>> from persona_affect.metrics import SCORERS
        >>> with sklearn.config_context(enable_metadata_routing=True):
        ...     scorer = SCORERS["ccc"].set_score_request(sample_weight=True)
        """
        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "Metadata routing is not enabled: call "
                "sklearn.set_config(enable_metadata_routing=True) first."
            )
        self._request.score.add_request(param="sample_weight", alias=sample_weight)
        return self

    def get_metadata_routing(self) -> MetadataRequest:
        """Return what this scorer requests, for scikit-learn's metadata routing.

        Returns
        -------
        MetadataRequest
            What `set_score_request` asked for.
        """
        return self._request

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
        labels, predictions = self._select(_find_model(estimator), y, estimator.predict(X))
        y_, p, w = prepare(labels, predictions, sample_weight, self.nan_predictions)
        if isinstance(self.metric, str):
            return _greater_is_better(self.metric, y_, p, w)
        return {_scorer_name(name): _greater_is_better(name, y_, p, w) for name in self.metric}

    def _select(self, model: Any, y: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[Any, Any]:
        """Select the columns of labels and predictions that this scorer compares."""
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
        names = list(getattr(model, f"{self.targets}_names_", DEFAULT_NAMES[self.targets]))
        # A table may lack some targets of the group; if it lacks all, `_select` names them.
        return [name for name in names if name in rated] or names


def _find_model(estimator: Any) -> Any:
    """Find the fitted model inside pipelines, searches and target transformers."""
    while not hasattr(estimator := final_step(estimator), "target_names_"):
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "regressor_"):
            estimator = estimator.regressor_
        else:
            break
    return estimator


def _greater_is_better(name: str, y: FloatArray, p: FloatArray, w: FloatArray) -> float:
    score = score_targets(name, y, p, w, "uniform_average")
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
        What to average over the targets; ``"rmse"`` is negated, so that greater is better. With
        a sequence, the scorer returns a dict with one key for each metric (``"neg_rmse"`` for
        ``"rmse"``). A search with several metrics then predicts only once.
    targets : {"personality", "emotion"}, sequence of str, or None
        Which targets to average; None for all. The two groups are the estimator's
        ``personality_names_`` and ``emotion_names_`` (of the last step, in a pipeline), or the
        default names if it has none. A `y` that is a DataFrame is matched by column names, and
        may lack some targets; an array has the columns of the estimator's ``target_names_``.
    nan_predictions : {"mean", "omit", "raise"}
        How missing predictions are treated; see :mod:`persona_affect.metrics`. The default
        compares candidates fairly that find different numbers of faces.

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
    SCORERS : scorers that are made already.

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


class _Scorers(Mapping[str, AffectScorer]):
    """Scorers by name. Each access returns a new one, as scikit-learn's `get_scorer` does."""

    # A shared one would carry the `set_score_request` of one caller to all others.

    def __init__(self, scorers: dict[str, AffectScorer]) -> None:
        self._scorers = scorers

    def __getitem__(self, name: str) -> AffectScorer:
        return deepcopy(self._scorers[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._scorers)

    def __len__(self) -> int:
        return len(self._scorers)

    def __repr__(self) -> str:
        return f"SCORERS with the names {list(self._scorers)}"


#: Scorers by name: ``"ccc"``, ``"pearson"``, ``"r2"``, ``"accuracy_mae"`` and ``"neg_rmse"`` over
#: all targets; with ``"_personality"`` or ``"_emotion"`` appended, over the targets of that group.
SCORERS: Final[Mapping[str, AffectScorer]] = _Scorers(
    {
        _scorer_name(metric) + suffix: make_affect_scorer(metric, suffix[1:] or None)
        for suffix in ("", "_personality", "_emotion")
        for metric in MEASURES
    }
)
