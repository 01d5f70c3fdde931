"""Fusion of several tasks of one person: early, late, or stacked."""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils.validation import check_is_fitted

from persona_affect._arrays import object_array, read_labels
from persona_affect._sklearn import HasMethods, StrOptions, fit_context

#: By regressor: descriptors, and which samples have them.
_Described = list[tuple[NDArray[np.float64], NDArray[np.bool_]]]

#: Folds of the predictions from which stacked fusion learns its weights.
_N_FOLDS = 5


class TaskFusion(RegressorMixin, MetaEstimatorMixin, BaseEstimator):
    """Predict traits of persons recorded in several tasks, by any encoder and regressor.

    Different tasks show different sides of a person. Early fusion concatenates the descriptors of
    all tasks before one regression. Late fusion averages the predictions of one regression for each
    task, so that a person may lack the recording of a task. Stacked fusion weights them in place
    of averaging: a task that does not show a trait counts less for it, and weak predictions,
    which are all near the mean, are scaled up again. A person may lack tasks there, too.

    On rendered persons in three tasks, the CCC of late fusion was 0.019 below that of the best
    task, and that of stacked fusion 0.091 above it (benchmarks/results/dynamics.md).

    Parameters
    ----------
    encoder : transformer or None
        Fitted on the clips of all tasks together, then applied to each task. Wrap an encoder that
        is fitted already in :class:`sklearn.frozen.FrozenEstimator`. None if `X` holds descriptors.
    regressor : regressor
        Copies of it predict the traits. For several targets it must support them.
    fusion : {"early", "late", "stacked"}, default="early"

    Attributes
    ----------
    encoder_ : transformer or None
    regressors_ : list of regressors
        One, or one for each task with late and stacked fusion.
    task_weights_ : ndarray of shape (n_tasks, n_targets)
        With stacked fusion: 0 or more, by least squares on predictions for persons that the
        regression of the task was not fitted to, in five folds.
    n_tasks_ : int

    References
    ----------
    Song et al., "Self-supervised Learning of Person-specific Facial Dynamics for Automatic
    Personality Recognition", IEEE TAC 2021: fusing tasks gives the highest accuracy. The way
    of fusing is ours.

    See Also
    --------
    PersonDynamicsEncoder : Also takes the clips of all tasks as one sample, and adapts to them
        together.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from persona_affect import TaskFusion
    >>> descriptors = np.random.RandomState(0).randn(20, 3, 8)  # persons, tasks, features
    >>> y = descriptors[:, 0, 0] + descriptors[:, 2, 1]
    >>> TaskFusion(None, Ridge(), fusion="early").fit(descriptors, y).score(descriptors, y) > 0.9
    True
    """

    n_tasks_: int
    encoder_: Any
    regressors_: list[Any]
    task_weights_: NDArray[np.float64]

    _why_not_saved: ClassVar[str] = (
        "its encoder and regressors may be of any class. Save a fitted encoder alone, or the whole "
        "with joblib.dump"
    )
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "encoder": [HasMethods(["fit", "transform"]), None],
        "regressor": [HasMethods(["fit", "predict"])],
        "fusion": [StrOptions({"early", "late", "stacked"})],
    }

    def __init__(self, encoder: Any, regressor: Any, *, fusion: str = "early") -> None:
        self.encoder = encoder
        self.regressor = regressor
        self.fusion = fusion

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any) -> Self:
        """Fit the encoder to all clips, and the regressors to the descriptors of the tasks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_tasks)
            Each cell holds what the encoder takes for one sample: a face clip, or a list of clips.
            The order of the tasks is the same for all persons. A clip of zero frames means that the
            person has no recording of the task. With ``encoder=None``, an array
            (n_samples, n_tasks, d).
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The target, or targets; one row of `X` each.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If samples differ in their number of tasks, a task has no descriptor at all, or, with
            stacked fusion, of fewer than two persons.
        """
        tasks = _columns(X)
        check_consistent_length(tasks[0], y)
        self.n_tasks_ = len(tasks)
        y = read_labels(y)
        self._target_shape = y.shape[1:]
        self.encoder_ = None
        if self.encoder is not None:
            # A FrozenEstimator asks for y by position.
            cells = object_array([cell for task in tasks for cell in task])
            self.encoder_ = clone(self.encoder).fit(cells, None)
        self.regressors_ = []
        described = self._describe(tasks)
        for i, (descriptors, seen) in enumerate(described):
            if not seen.any():
                raise ValueError(f"Task {i} has no descriptor: nobody was recorded in it.")
            self.regressors_.append(clone(self.regressor).fit(descriptors[seen], y[seen]))
        if self.fusion == "stacked":
            self._fit_weights(described, y)
        return self

    def _fit_weights(self, described: _Described, y: NDArray[np.float64]) -> None:
        targets = y.reshape(len(y), -1)
        predicted = np.full((len(described), *targets.shape), np.nan)
        for i, (descriptors, seen) in enumerate(described):
            if seen.sum() < 2:
                raise ValueError(f"Task {i} has 1 descriptor; stacked fusion needs 2 or more.")
            folds = KFold(min(_N_FOLDS, int(seen.sum())), shuffle=True, random_state=0)
            others = cross_val_predict(self.regressor, descriptors[seen], y[seen], cv=folds)
            predicted[i, seen] = others.reshape(-1, targets.shape[1])
        means = np.nanmean(predicted, axis=1)
        departures = np.nan_to_num(predicted - means[:, None])
        known = np.isfinite(predicted).any(axis=(0, 2))
        fits = [
            LinearRegression(positive=True).fit(departures[:, known, j].T, target[known])
            for j, target in enumerate(targets.T)
        ]
        self.task_weights_ = np.array([fit.coef_ for fit in fits]).T
        self._offset = np.array([fit.intercept_ for fit in fits])
        self._task_means = means

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict the targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_tasks)
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            NaN for a sample without a descriptor: with early fusion in any task, with late and
            stacked fusion in every task.

        Raises
        ------
        ValueError
            If a sample has another number of tasks than in `fit`.
        """
        check_is_fitted(self)
        if len(X) == 0:
            return np.empty((0, *self._target_shape))
        tasks = _columns(X)
        if len(tasks) != self.n_tasks_:
            raise ValueError(f"X has {len(tasks)} tasks, but was fitted with {self.n_tasks_}.")
        predictions = []
        counts = np.zeros(len(tasks[0]))
        described = self._describe(tasks)
        is_stacked = self.fusion == "stacked"
        for i, (descriptors, seen) in enumerate(described):
            if not seen.any():
                continue
            predicted = np.asarray(self.regressors_[i].predict(descriptors[seen]), dtype=np.float64)
            if is_stacked:
                predicted = self._weigh(predicted, i)
            filled = np.zeros((len(seen), *predicted.shape[1:]))
            filled[seen] = predicted
            predictions.append(filled)
            counts += seen
        if not counts.any():
            raise ValueError("No sample has a descriptor: there is nothing to predict from.")
        counts[counts == 0] = np.nan
        if is_stacked:
            offset = self._offset.reshape(self._target_shape)
            # NaN where there is no task, else 1.
            counts, predictions = counts / counts, [*predictions, np.full_like(filled, offset)]
        return np.asarray((np.sum(predictions, axis=0).T / counts).T)

    def _weigh(self, predicted: NDArray[np.float64], task: int) -> NDArray[np.float64]:
        """Weight a task's predictions, as differences from their mean over the training."""
        flat = predicted.reshape(len(predicted), -1)
        weighted = (flat - self._task_means[task]) * self.task_weights_[task]
        return np.asarray(weighted.reshape(predicted.shape))

    def _describe(self, tasks: list[Any]) -> _Described:
        """Return the descriptors of each regressor, and which samples have them."""
        by_task = [
            np.stack([np.asarray(cell, np.float64) for cell in task])
            if self.encoder_ is None
            else np.asarray(self.encoder_.transform(task), np.float64)
            for task in tasks
        ]
        parts = [np.hstack(by_task)] if self.fusion == "early" else by_task
        return [(part, np.asarray(np.isfinite(part).all(axis=1))) for part in parts]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = True
        tags.target_tags.multi_output = True
        return tags


def _columns(X: Any) -> list[NDArray[np.object_]]:
    """Split (n_samples, n_tasks) into tasks, each an array of cells."""
    rows = [list(row) for row in X]
    widths = {len(row) for row in rows}
    if len(widths) != 1 or 0 in widths:
        raise ValueError(
            "X must have the same number of tasks for each sample, at least 1; found "
            f"{sorted(widths)}."
        )
    return [object_array([row[j] for row in rows]) for j in range(widths.pop())]
