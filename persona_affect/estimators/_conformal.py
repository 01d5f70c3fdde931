"""Prediction intervals that hold for new persons, by conformal prediction."""

from copy import copy
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.utils import Tags, check_consistent_length, get_tags, indexable
from sklearn.utils.validation import check_is_fitted

from persona_affect._sklearn import HasMethods, Interval, StrOptions, fit_context, safe_indexing

from ._conformal_calibration import Calibration, Difficulty, as_table
from ._conformal_scores import read_label_table
from ._conformal_state import get_calibration, set_calibration
from ._conformal_steps import count_shared
from ._state import Facts, Tensors


class ConformalAffect(Calibration, RegressorMixin, MetaEstimatorMixin, BaseEstimator):
    """Prediction intervals around the predictions of any estimator or pipeline.

    An interval contains the rating of a new person with a probability of at least ``1 - alpha``,
    whatever the model, if the new person comes from the same population as the persons of the
    calibration. This holds on average over persons, not for each person or kind of photo.

    There are two ways to calibrate:

    - `fit` trains the model on all samples, and copies of it on all but one fold of persons. Each
      person's error is that of the copy that has not seen the person (CV+ [1]_; jackknife+ with as
      many folds as persons).
    - `conformalize` takes a fitted model, and samples of persons that it was **not** trained on
      (split conformal prediction).

    Of several samples of one person, one is drawn at random for each target, so that persons count
    equally and the guarantee holds for persons [2]_. Targets are calibrated one by one, each on the
    persons that were rated on it.

    Parameters
    ----------
    estimator : regressor or pipeline
        Predicts one or several targets. For `conformalize` without `fit` it must be fitted.
    alpha : float, default=0.1
        Share of ratings, in (0, 1), that may lie outside of the intervals. A target needs
        ``ceil(1 / alpha) - 1`` calibration persons: 4 for 0.2, 9 for 0.1, 19 for 0.05.
    method : {"plus", "base"}, default="plus"
        After `fit`: ``"plus"`` keeps the copies, and predicts from each, with a guaranteed coverage
        of ``1 - 2 alpha`` and, in practice, of ``1 - alpha``. ``"base"`` keeps the errors only and
        puts them around the prediction of the model: smaller and faster, without a guarantee for
        unstable models. `conformalize` does not use it.
    cv : int or splitter, default=5
        Folds of persons, by :class:`persona_affect.model_selection.AffectGroupKFold`. The number of
        persons gives the jackknife+. A splitter of your own must test each sample once, and keep
        persons together.
    difficulty : {None, "distance"} or callable, default=None
        Makes intervals wider for difficult samples. ``"distance"`` divides errors by the distance
        to the faces of the calibration, in the space of the features that the last step takes; a
        function ``difficulty(estimator, X)`` returns positive numbers (n_samples,), such as the
        spread of predictions over crops, mirrors or frames.
    random_state : int, RandomState instance or None, default=None
        Seed for the choice among samples of one person.

    Attributes
    ----------
    estimator_ : estimator
        The model that `predict` uses.
    members_ : list of estimators
        With ``method="plus"`` after `fit`, the copies, one for each fold; otherwise empty.
    scores_ : ndarray of shape (n_persons, n_targets)
        Absolute errors of the calibration, divided by the difficulty; NaN where there is none.
    folds_ : ndarray of int of shape (n_persons,)
        The copy that has not seen each person; 0 if there are no copies.
    n_persons_ : ndarray of int of shape (n_targets,)
        Calibration persons of each target.
    target_names_ : list of str
    familiarity_ : object or None
        Compact features of the calibration's faces, to measure the distance of others.
    n_features_in_ : int
        If `estimator` has it.

    Raises
    ------
    TypeError
        From every method that looks at faces, with ``difficulty="distance"``, if `X` is sparse.

    References
    ----------
    .. [1] Barber, Candès, Ramdas, Tibshirani. "Predictive inference with the jackknife+", Annals of
       Statistics 49(1), 2021, sections 2 and 3.
    .. [2] Dunn, Wasserman, Ramdas. "Distribution-free prediction sets for two-layer hierarchical
       models", JASA 118, 2023: section 3.3, subsampling once.

    Notes
    -----
    For one target without missing labels and one sample a person, the numbers equal those of
    MAPIE's ``SplitConformalRegressor`` and ``CrossConformalRegressor``, which need just that.

    A sample is what `predict` takes as one: if the samples of the calibration are clips, intervals
    are those of a clip's mean.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from persona_affect import ConformalAffect
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(120, 4))
    >>> y = X[:, 0] + rng.normal(size=120)
    >>> model = ConformalAffect(Ridge(), alpha=0.2).fit(X[:100], y[:100])
    >>> low, high = model.predict_interval(X[100:])[:, 0].T
    >>> float(np.mean((low <= y[100:]) & (y[100:] <= high)))
    0.9
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "method": [StrOptions({"plus", "base"})],
        "cv": [Interval(Integral, 2, None, closed="left"), HasMethods(["split"])],
        "difficulty": [StrOptions({"distance"}), callable, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        alpha: float = 0.1,
        method: str = "plus",
        cv: Any = 5,
        difficulty: str | Difficulty | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.alpha = alpha
        self.method = method
        self.cv = cv
        self.difficulty = difficulty
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Train the model on all samples, and calibrate it out-of-fold.

        Leading steps of a pipeline that learn nothing (:class:`FaceAligner`,
        :class:`FaceEmbedder`) run once.

        Parameters
        ----------
        X : samples
            What `estimator` takes.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), or DataFrame
            NaN where not rated, if `estimator` takes that.
        groups : array-like of shape (n_samples,), optional
            The person of each sample. By default, each sample is a person.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are fewer persons than folds, or a splitter tests a sample not exactly once.
        """
        labels, names = read_label_table(y)
        X, y, labels = indexable(X, y, labels)
        persons = self._read_groups(groups, len(labels))
        if persons.max(initial=0) < 1:
            raise ValueError(
                "Calibration out-of-fold needs 2 persons or more; there is only one, with "
                f"n_samples={len(labels)}."
            )
        self.estimator_ = clone(self.estimator).fit(X, y)
        self._note_inputs(labels, names)
        self._n_shared, self.members_ = count_shared(self.estimator_), []
        shared, features, _ = self._look(X, needs_features=True)
        rest = self.estimator[self._n_shared :] if self._n_shared else self.estimator
        members = []
        fold = np.full(len(labels), -1)
        predicted = np.full(labels.shape, np.nan)
        for k, (train, test) in enumerate(self._split(labels, persons, groups)):
            if (fold[test] >= 0).any():
                raise ValueError("cv tests a sample twice: each must be in one fold.")
            fold[test] = k
            member = clone(rest).fit(safe_indexing(shared, train), safe_indexing(y, train))
            predicted[test] = as_table(member.predict(safe_indexing(shared, test)), labels[test])
            members.append(member)
        if (fold < 0).any():
            raise ValueError(f"cv leaves out {(fold < 0).sum()} samples: test each once.")
        person_fold = np.zeros(persons.max() + 1, dtype=np.intp)
        person_fold[persons] = fold
        if (person_fold[persons] != fold).any():
            raise ValueError("cv puts samples of one person into two folds.")
        if self.method == "plus":
            self.members_ = members
        else:
            person_fold[:] = 0
        self._calibrate(X, features, labels, predicted, persons, person_fold)
        return self

    def conformalize(self, X: Any, y: Any, groups: Any = None, *, predicted: Any = None) -> Self:
        """Calibrate a fitted model on persons that it was not trained on.

        Parameters
        ----------
        X : samples
            What `estimator` takes.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), or DataFrame
            NaN where not rated.
        groups : array-like of shape (n_samples,), optional
            The person of each sample. By default, each sample is a person.
        predicted : array-like of shape (n_samples, n_targets), optional
            Predictions for `X` from models that did not see these persons, such as those of a
            cross-validation of your own. By default, those of the model itself.

        Returns
        -------
        self

        Raises
        ------
        NotFittedError
            If neither this object nor `estimator` is fitted.
        ValueError
            If labels and predictions do not match.
        """
        self._validate_params()
        labels, names = read_label_table(y)
        check_consistent_length(X, labels)
        persons = self._read_groups(groups, len(labels))
        if not hasattr(self, "estimator_"):
            check_is_fitted(self.estimator)
            self.estimator_ = self.estimator
        self._note_inputs(labels, names)
        self._n_shared, self.members_ = count_shared(self.estimator_), []
        _, features, values = self._look(X, needs_features=True)
        predicted = as_table(values if predicted is None else predicted, labels)
        fold = np.zeros(persons.max(initial=-1) + 1, dtype=np.intp)
        self._calibrate(X, features, labels, predicted, persons, fold)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict with the model that was trained on all samples.

        Parameters
        ----------
        X : samples
            What `estimator` takes.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        check_is_fitted(self, "estimator_")
        predicted: NDArray[np.float64] = self.estimator_.predict(X)
        return predicted

    def predict_interval(self, X: Any, alpha: float | None = None) -> NDArray[np.float64]:
        """Predict the interval of each target.

        Parameters
        ----------
        X : samples
            What `estimator` takes.
        alpha : float, optional
            Share of ratings that may lie outside; by default that of the constructor. The
            calibration serves every alpha.

        Returns
        -------
        ndarray of shape (n_samples, n_targets, 2)
            Lower and upper ends, in the units of `y`. NaN for a sample without a face, and for a
            target with too few calibration persons for `alpha`.

        Raises
        ------
        NotFittedError
            Before `fit` or `conformalize`.
        ValueError
            If `alpha` is not in (0, 1).

        Warns
        -----
        FewLabelsWarning
            Naming the targets with too few calibration persons.
        """
        return self._intervals(X, alpha)[1]

    def predict_table(self, X: Any, alpha: float | None = None) -> pd.DataFrame:
        """Predict values and intervals as a table.

        Parameters
        ----------
        X, alpha
            As for :meth:`predict_interval`.

        Returns
        -------
        DataFrame
            For each target ``name``, ``name_low`` and ``name_high``. The index is that of `X`, if
            it has one.

        Raises
        ------
        ValueError
            If `alpha` is not in (0, 1).
        """
        values, intervals, _ = self._intervals(X, alpha)
        columns = {}
        for j, name in enumerate(self.target_names_):
            columns[name] = values[:, j]
            columns[f"{name}_low"], columns[f"{name}_high"] = intervals[:, j].T
        return pd.DataFrame(columns, X.index if isinstance(X, pd.DataFrame | pd.Series) else None)

    def skip_steps(self, n_steps: int) -> Self:
        """Return the same calibration for the outputs of the first steps of the pipeline.

        Parameters
        ----------
        n_steps : int
            With 1, intervals of aligned faces instead of photos, after a :class:`FaceAligner`.

        Returns
        -------
        ConformalAffect

        Raises
        ------
        ValueError
            If the model has no such steps before its last, or the copies of it include them.
        """
        check_is_fitted(self, "scores_")
        steps = getattr(self.estimator_, "steps", [None])
        if not 0 <= n_steps <= (self._n_shared if self.members_ else len(steps) - 1):
            raise ValueError(f"There are no {n_steps} steps that can be left out.")
        result = copy(self)
        result.estimator_ = self.estimator_[n_steps:]
        result._n_shared = max(0, self._n_shared - n_steps)
        return result

    def around(self, model: Any) -> Self:
        """Return the same calibration around another form of the model.

        Parameters
        ----------
        model : estimator
            Predicts as `estimator_` does, up to small differences: compiled, for example.

        Returns
        -------
        ConformalAffect
        """
        result = copy(self)
        result.estimator_ = model
        return result

    def describe_faces(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Predict, and measure how far samples are from the faces of the calibration.

        Parameters
        ----------
        X : samples
            What `estimator` takes.

        Returns
        -------
        values : ndarray of shape (n_samples, n_targets)
        ratios : ndarray of shape (n_samples,) or None
            Distance in features to the nearest faces of the calibration; 1 is that of its median
            face from other persons'. None if the model has no features to measure it by.
        """
        check_is_fitted(self, "scores_")
        _, features, values = self._look(X, needs_features=self.familiarity_ is not None)
        values = np.reshape(values, (-1, len(self.target_names_)))
        return values, None if self.familiarity_ is None else self.familiarity_.ratio(features)

    def _get_state(self) -> tuple[Facts, Tensors]:
        check_is_fitted(self, "scores_")
        return get_calibration(self)

    def _set_state(self, facts: Facts, tensors: Tensors) -> None:
        """Restore the calibration; `estimator` and `members_` are set before."""
        set_calibration(self, facts, tensors)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        own = get_tags(self.estimator)
        tags.input_tags, tags.target_tags = own.input_tags, own.target_tags
        if self.difficulty == "distance":
            tags.input_tags.sparse = False
        tags.non_deterministic = own.non_deterministic
        return tags
