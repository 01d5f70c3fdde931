"""How `ConformalAffect` calibrates, and computes its intervals."""

from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from persona_affect._sklearn import final_step
from persona_affect._warnings import warn_user
from persona_affect.exceptions import FewLabelsWarning
from persona_affect.model_selection import AffectGroupKFold

from ._conformal_scores import (
    compare_with_mean,
    count_needed,
    cross_bounds,
    one_per_person,
    split_bounds,
)
from ._conformal_steps import look
from ._familiarity import Familiarity

#: Gives the difficulty of each sample, positive numbers (n_samples,), from an estimator and X.
Difficulty = Callable[[Any, Any], NDArray[np.floating]]


class Calibration:
    """The computation of :class:`ConformalAffect`, apart from its interface."""

    alpha: float
    cv: Any
    difficulty: str | Difficulty | None
    random_state: Any
    estimator_: Any
    members_: list[Any]
    scores_: NDArray[np.float64]
    folds_: NDArray[np.intp]
    n_persons_: NDArray[np.intp]
    target_names_: list[str]
    familiarity_: Familiarity | None
    advantages_: NDArray[np.float64]
    _n_shared: int

    def predict_parts(
        self, X: Any, alpha: float | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
        """Predict values and intervals and measure distances, with one pass through the model.

        Parameters
        ----------
        X : samples
            What `estimator` takes.
        alpha : float, optional
            Share of ratings that may lie outside; by default that of the constructor.

        Returns
        -------
        values : ndarray of shape (n_samples, n_targets)
        intervals : ndarray of shape (n_samples, n_targets, 2)
            As of :meth:`ConformalAffect.predict_interval`.
        ratios : ndarray of shape (n_samples,) or None
            As of :meth:`ConformalAffect.describe_faces`.

        Raises
        ------
        ValueError
            If `alpha` is not in (0, 1).
        """
        known = getattr(self, "familiarity_", None)
        values, bounds, features = self._intervals(X, alpha, needs_features=known is not None)
        return values, bounds, None if known is None else known.ratio(features)

    def widen(self, intervals: Any, reliability: Any) -> NDArray[np.float64]:
        """Widen the intervals of samples whose reliability is below 1.

        Reliability is the share of the model's advantage that is expected to be left: 1 stands for
        the mean squared error of the calibration, 0 for the variance of the ratings, which is the
        error of their mean. Half widths grow with the root of the error that is expected between
        the two. They never shrink, so that no coverage is lost; how much is won depends on how good
        the reliability is, and has no guarantee.

        Parameters
        ----------
        intervals : array-like of shape (n_samples, n_targets, 2)
            From :meth:`ConformalAffect.predict_interval`.
        reliability : array-like of shape (n_samples,)
            Between 0 and 1, as :func:`persona_affect.annotation.rate_reliability` returns it.

        Returns
        -------
        ndarray of shape (n_samples, n_targets, 2)

        Raises
        ------
        NotFittedError
            Before `fit` or `conformalize`.
        ValueError
            If shapes do not match, or a reliability is not between 0 and 1.
        """
        check_is_fitted(self, "scores_")
        bounds, share = np.asarray(intervals, np.float64), np.asarray(reliability, np.float64)
        if bounds.shape != (*share.shape, len(self.target_names_), 2) or share.ndim != 1:
            raise ValueError(
                f"intervals of shape {bounds.shape} and reliability of shape {share.shape} do not "
                f"match; there are {len(self.target_names_)} targets."
            )
        if not ((share >= 0) & (share <= 1)).all():
            raise ValueError("reliability must be between 0 and 1.")
        middle = bounds.mean(axis=-1, keepdims=True)
        lost = np.outer(1 - share, np.maximum(self.advantages_, 1) - 1)
        return np.where(
            lost[..., None] > 0, middle + (bounds - middle) * np.sqrt(1 + lost)[..., None], bounds
        )

    def _intervals(
        self, X: Any, alpha: float | None, *, needs_features: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], Any]:
        check_is_fitted(self, "scores_")
        alpha = self.alpha if alpha is None else alpha
        if not 0 < alpha < 1:
            raise ValueError(f"alpha={alpha!r} must be between 0 and 1.")
        needs_features |= self.difficulty == "distance"
        shared, features, values = self._look(X, needs_features=needs_features)
        n_targets = len(self.target_names_)
        values = np.reshape(np.asarray(values, np.float64), (-1, n_targets))
        few = np.flatnonzero(self.n_persons_ < count_needed(alpha)).tolist()
        if few:
            which = ", ".join(f"{self.target_names_[j]} ({self.n_persons_[j]})" for j in few)
            warn_user(
                f"No interval, since alpha={alpha:g} needs {count_needed(alpha)} calibration "
                f"persons or more: {which}.",
                FewLabelsWarning,
            )
        difficulty = self._find_difficulty(X, features, len(values))
        if not len(values):
            return values, np.empty((0, n_targets, 2)), features
        if self.members_:
            members = [np.reshape(m.predict(shared), values.shape) for m in self.members_]
            bounds = cross_bounds(np.stack(members), self.scores_, self.folds_, difficulty, alpha)
        else:
            bounds = split_bounds(values, self.scores_, difficulty, alpha)
        bounds[np.isnan(values)] = np.nan
        return values, bounds, features

    def _calibrate(
        self,
        X: Any,
        features: Any,
        labels: NDArray[np.float64],
        predicted: NDArray[np.float64],
        persons: NDArray[np.intp],
        folds: NDArray[np.intp],
    ) -> None:
        rng = check_random_state(self.random_state)
        self.familiarity_ = None
        if features is not None:
            features = np.asarray(features, np.float32)
            n_seen = len(np.unique(persons[np.isfinite(features).all(axis=1)]))
            if n_seen > 1 or self.difficulty == "distance":
                self.familiarity_ = Familiarity(features, persons, rng)
        difficulty = self._find_difficulty(X, features, len(labels), persons)
        errors = np.abs(labels - predicted)
        self.advantages_ = compare_with_mean(labels, errors)
        self.scores_ = one_per_person(errors / difficulty[:, None], persons, rng)
        self.folds_ = folds
        self.n_persons_ = np.isfinite(self.scores_).sum(axis=0)

    def _find_difficulty(
        self, X: Any, features: Any, n_samples: int, persons: NDArray[np.intp] | None = None
    ) -> NDArray[np.float64]:
        if self.difficulty is None or not n_samples:
            return np.ones(n_samples)
        if callable(self.difficulty):
            found = np.asarray(self.difficulty(self.estimator_, X), np.float64)
        else:
            assert self.familiarity_ is not None
            found = self.familiarity_.ratio(features, persons)
        if found.shape != (n_samples,) or (found <= 0).any():
            raise ValueError(
                f"difficulty must be {n_samples} positive numbers, one for each sample; it has the "
                f"shape {found.shape} and the minimum {np.nanmin(found, initial=np.inf):.3g}."
            )
        return found

    def _look(self, X: Any, *, needs_features: bool) -> tuple[Any, Any, Any]:
        return look(
            self.estimator_,
            X,
            self._n_shared,
            needs_shared=bool(self.members_) or needs_features,
            needs_features=needs_features,
            takes_matrix=self.difficulty == "distance",
        )

    def _split(
        self, labels: NDArray[np.float64], persons: NDArray[np.intp], groups: Any
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        if not isinstance(self.cv, Integral):
            # scikit-learn's KFold warns of groups, which it does not use.
            yield from self.cv.split(labels, labels, None if groups is None else persons)
            return
        # Each fold has both kinds of label, where the model knows kinds.
        names = [str(j) for j in range(labels.shape[1])]
        own = set(getattr(final_step(self.estimator_), "emotion_names_", ()))
        emotion = [n for n, name in zip(names, self.target_names_, strict=True) if name in own]
        first = [name for name in names if name not in emotion]
        splitter = AffectGroupKFold(int(self.cv), personality=first, emotion=emotion)
        table = pd.DataFrame(labels, columns=names)
        yield from splitter.split(table, table, persons)

    def _read_groups(self, groups: Any, n_samples: int) -> NDArray[np.intp]:
        if groups is None:
            return np.arange(n_samples)
        check_consistent_length(groups, np.empty(n_samples))
        return np.asarray(pd.factorize(np.asarray(groups), use_na_sentinel=False)[0], np.intp)

    def _note_inputs(self, labels: NDArray[np.float64], names: Sequence[str] | None) -> None:
        """Keep the names of the targets and of the inputs."""
        known = getattr(final_step(self.estimator_), "target_names_", None)
        if known is not None and names is not None and list(known) != list(names):
            raise ValueError(f"y has the columns {list(names)}, but the model {list(known)}.")
        names = names if known is None else known
        default = ["y"] if labels.shape[1] == 1 else [f"y{j}" for j in range(labels.shape[1])]
        self.target_names_ = [str(name) for name in (default if names is None else names)]
        if len(self.target_names_) != labels.shape[1]:
            raise ValueError(
                f"y has {labels.shape[1]} columns, but the model {self.target_names_}."
            )
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))


def as_table(predicted: Any, labels: NDArray[np.float64]) -> NDArray[np.float64]:
    table = np.asarray(predicted, dtype=np.float64)
    if table.size == len(table) == len(labels):
        table = table.reshape(len(table), 1)
    if table.ndim != 2 or table.shape[1] != labels.shape[1]:
        raise ValueError(f"Predictions have the shape {table.shape}, labels {labels.shape}.")
    return table
