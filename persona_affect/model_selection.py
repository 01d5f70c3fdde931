"""Splitters that keep a person in one fold, and both kinds of label in every fold.

Frames or clips of one person (or of one film) are similar. If a person is on both sides of a
split, any model looks better than it is. A joint data set has samples rated on personality, on
emotion, or on both, and a model cannot be scored on a fold in which one kind is missing. These
splitters keep each group on one side, and put both kinds of label into every fold, in proportion.

They have the interface of scikit-learn's splitters, for the `cv` of any search:
``GridSearchCV(..., cv=AffectGroupKFold(5)).fit(X, y, groups=person)``.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_random_state, indexable

from persona_affect._arrays import read_labels
from persona_affect._sklearn import safe_indexing
from persona_affect.metrics import EMOTION_NAMES, PERSONALITY_NAMES

__all__ = [
    "AffectGroupKFold",
    "AffectGroupShuffleSplit",
    "affect_train_test_split",
    "label_kinds",
]

_Split: TypeAlias = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]


def label_kinds(
    y: npt.ArrayLike,
    *,
    personality: Sequence[str] = PERSONALITY_NAMES,
    emotion: Sequence[str] = EMOTION_NAMES,
) -> npt.NDArray[np.str_]:
    """Return what each sample was rated on, from the missing values of its labels.

    Parameters
    ----------
    y : DataFrame or array-like of shape (n_samples, n_targets)
        Labels, NaN where a sample was not rated. A DataFrame may lack some of the targets; an
        array has one column for each, personality first.
    personality, emotion : sequence of str
        Names of the targets of either kind.

    Returns
    -------
    ndarray of shape (n_samples,)
        ``"personality"``, ``"emotion"``, ``"both"`` or ``"none"``.

    Raises
    ------
    ValueError
        If a column is neither a personality nor an emotion target.

    Examples
    --------
    >>> from persona_affect.model_selection import label_kinds
    >>> nan = float("nan")
    >>> label_kinds([[0.6, nan], [nan, -0.2]], personality=["openness"], emotion=["valence"])
    array(['personality', 'emotion'], dtype='<U11')
    """
    names = [*personality, *emotion]
    if isinstance(y, pd.DataFrame):
        unknown = [name for name in y.columns if name not in names]
        if unknown:
            raise ValueError(
                f"The columns {unknown} of y are neither personality {list(personality)} nor "
                f"emotion {list(emotion)}; pass personality= and emotion= with your own names."
            )
        columns = list(y.columns)
    else:
        columns = names
    labels = read_labels(y)
    if labels.ndim != 2 or labels.shape[1] != len(columns):
        raise ValueError(
            f"y of shape {labels.shape} does not have one column for each of {columns}; pass a "
            "DataFrame, or personality= and emotion= with the names of its columns in order."
        )
    rated = ~np.isnan(labels)
    on_personality = rated[:, [name in personality for name in columns]].any(axis=1)
    on_emotion = rated[:, [name in emotion for name in columns]].any(axis=1)
    kinds = np.array(["none", "personality", "emotion", "both"])
    return kinds[on_personality + 2 * on_emotion]


class AffectGroupKFold(GroupKFold):
    """K-fold cross-validation by person, with both kinds of label in every fold.

    A group is in one fold only, and each fold holds about its share of the samples of either kind.
    If at least `n_splits` groups have a kind of label, every fold has that kind.

    Parameters
    ----------
    n_splits : int
        Number of folds, at least 2.
    shuffle : bool
        Whether groups of the same size and kind go to random folds. By default their order
        decides.
    random_state : int, RandomState instance or None
        Seed of the shuffling.
    personality, emotion : sequence of str
        Names of the targets of either kind, as in :func:`label_kinds`.

    See Also
    --------
    AffectGroupShuffleSplit : random splits of a chosen size.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.model_selection import AffectGroupKFold
    >>> nan = np.nan
    >>> y = np.array([[0.5, nan], [0.6, nan], [0.4, nan], [nan, 0.1], [nan, 0.2], [nan, 0.3]])
    >>> person = ["ann", "ann", "bob", "cem", "dee", "dee"]
    >>> cv = AffectGroupKFold(2, personality=["openness"], emotion=["valence"])
    >>> for train, test in cv.split(y, y, groups=person):
    ...     print(train, test)
    [2 4 5] [0 1 3]
    [0 1 3] [2 4 5]
    """

    # scikit-learn's StratifiedGroupKFold minimises a deviation instead, so that a fold may lack a
    # kind of label; before version 1.8 it shuffled groups apart from their labels (#32478).

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = False,
        random_state: int | np.random.RandomState | None = None,
        personality: Sequence[str] = PERSONALITY_NAMES,
        emotion: Sequence[str] = EMOTION_NAMES,
    ) -> None:
        super().__init__(n_splits=n_splits, shuffle=shuffle, random_state=random_state)
        self.personality = personality
        self.emotion = emotion

    def split(
        self, X: Any, y: npt.ArrayLike | None = None, groups: npt.ArrayLike | None = None
    ) -> Iterator[_Split]:
        """Yield the indices of each split.

        Parameters
        ----------
        X : sequence of n_samples samples
            Only its length is used.
        y : DataFrame or array-like of shape (n_samples, n_targets)
            Labels, NaN where missing.
        groups : array-like of shape (n_samples,)
            The person, clip or film that a sample shows.

        Yields
        ------
        train, test : ndarray of int, shape (n_train,) or (n_test,)
            Indices of the samples.

        Raises
        ------
        ValueError
            If there are fewer groups with one kind of label than folds.
        """
        X, y, groups = indexable(X, *_require(y, groups))
        kinds = label_kinds(y, personality=self.personality, emotion=self.emotion)
        _check_groups(kinds, groups, self.n_splits, f"n_splits={self.n_splits}")
        _, of_group = np.unique(np.asarray(groups), return_inverse=True)
        if self.shuffle:
            random = check_random_state(self.random_state)
            of_group = random.permutation(of_group.max() + 1)[of_group]
        folds = _assign_folds(kinds, of_group, self.n_splits)[of_group]
        for fold in range(self.n_splits):
            yield np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)


class AffectGroupShuffleSplit(GroupShuffleSplit):
    """Random train/test splits by person, with both kinds of label on either side.

    scikit-learn's :class:`~sklearn.model_selection.GroupShuffleSplit`, with the groups stratified
    by what their samples were rated on.

    Parameters
    ----------
    n_splits : int
        Number of splits.
    test_size, train_size : float, int or None
        Share of the *groups* (float in (0, 1)), or their number (int); a test size of 0.2 if
        neither is given.
    random_state : int, RandomState instance or None
        Seed of the draws.
    personality, emotion : sequence of str
        Names of the targets of either kind, as in :func:`label_kinds`.

    See Also
    --------
    affect_train_test_split : one such split of given arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.model_selection import AffectGroupShuffleSplit
    >>> y = np.repeat([[1.0, np.nan], [np.nan, 1.0]], 4, axis=0)  # 4 persons rated on each
    >>> splitter = AffectGroupShuffleSplit(2, test_size=2, personality=["warm"], emotion=["happy"])
    >>> [len(test) for train, test in splitter.split(y, y, groups=np.arange(8))]
    [2, 2]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        test_size: float | int | None = None,
        train_size: float | int | None = None,
        random_state: int | np.random.RandomState | None = None,
        personality: Sequence[str] = PERSONALITY_NAMES,
        emotion: Sequence[str] = EMOTION_NAMES,
    ) -> None:
        super().__init__(
            n_splits, test_size=test_size, train_size=train_size, random_state=random_state
        )
        self.personality = personality
        self.emotion = emotion

    def split(
        self, X: Any, y: npt.ArrayLike | None = None, groups: npt.ArrayLike | None = None
    ) -> Iterator[_Split]:
        """Yield the indices of each split.

        Parameters
        ----------
        X, y, groups
            As in :meth:`AffectGroupKFold.split`.

        Yields
        ------
        train, test : ndarray of int, shape (n_train,) or (n_test,)
            Indices of the samples, ascending.

        Raises
        ------
        ValueError
            If either kind of label is found in fewer than two groups, or one side is too small
            to hold both kinds.
        """
        X, y, groups = indexable(X, *_require(y, groups))
        kinds = label_kinds(y, personality=self.personality, emotion=self.emotion)
        _check_groups(kinds, groups, 2, "A split into two sides")
        _, of_group = np.unique(np.asarray(groups), return_inverse=True)
        strata = _group_strata(kinds, of_group)
        splitter = StratifiedShuffleSplit(
            self.n_splits,
            test_size=0.2 if self.test_size is self.train_size is None else self.test_size,
            train_size=self.train_size,
            random_state=self.random_state,
        )
        for train_groups, test_groups in splitter.split(strata, strata):
            train = np.flatnonzero(np.isin(of_group, train_groups))
            test = np.flatnonzero(np.isin(of_group, test_groups))
            _check_kinds(kinds, train, "The training side")
            _check_kinds(kinds, test, "The test side")
            yield train, test


def affect_train_test_split(
    X: Any,
    y: npt.ArrayLike,
    *arrays: Any,
    groups: npt.ArrayLike,
    test_size: float | int | None = None,
    train_size: float | int | None = None,
    random_state: int | np.random.RandomState | None = None,
    personality: Sequence[str] = PERSONALITY_NAMES,
    emotion: Sequence[str] = EMOTION_NAMES,
) -> list[Any]:
    """Split samples into a training and a test side by person, with both kinds of label on each.

    Parameters
    ----------
    X : list, array or DataFrame of n_samples samples
        Photos, face clips or features.
    y : DataFrame or array-like of shape (n_samples, n_targets)
        Labels, NaN where missing.
    *arrays : lists, arrays or DataFrames of n_samples
        Others to split in the same way: sample weights, or the groups.
    groups : array-like of shape (n_samples,)
        The person, clip or film that a sample shows; ``range(len(X))`` if all are different.
    test_size, train_size, random_state, personality, emotion
        As in :class:`AffectGroupShuffleSplit`.

    Returns
    -------
    list
        ``[X_train, X_test, y_train, y_test, ...]``, as scikit-learn's ``train_test_split``.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.model_selection import affect_train_test_split
    >>> y = np.array([[0.5, np.nan]] * 4 + [[np.nan, 0.1]] * 4)
    >>> X = np.arange(8)
    >>> X_train, X_test, y_train, y_test = affect_train_test_split(
    ...     X, y, groups=X // 2, test_size=0.5, random_state=0,
    ...     personality=["openness"], emotion=["valence"],
    ... )
    >>> X_train, X_test
    (array([2, 3, 4, 5]), array([0, 1, 6, 7]))
    """
    arrays = indexable(X, y, *arrays)
    splitter = AffectGroupShuffleSplit(
        1,
        test_size=test_size,
        train_size=train_size,
        random_state=random_state,
        personality=personality,
        emotion=emotion,
    )
    sides = next(splitter.split(X, y, groups))
    return [safe_indexing(array, side) for array in arrays for side in sides]


def _require(
    y: npt.ArrayLike | None, groups: npt.ArrayLike | None
) -> tuple[npt.ArrayLike, npt.ArrayLike]:
    # Optional in the signature, as in scikit-learn's, but neither has a sensible default.
    if y is None:
        raise ValueError("y is missing: the splits depend on which labels each sample has.")
    if groups is None:
        raise ValueError(
            "groups is missing: pass the person that each sample shows, one value for each "
            "sample, or range(n_samples) if no two samples show the same person."
        )
    return y, groups


def _has_kind(kinds: npt.NDArray[np.str_], kind: str) -> npt.NDArray[np.bool_]:
    return (kinds == kind) | (kinds == "both")


def _check_groups(
    kinds: npt.NDArray[np.str_], groups: npt.ArrayLike, n_needed: int, what: str
) -> None:
    n_groups = len(np.unique(np.asarray(groups)))
    if n_groups < n_needed:
        raise ValueError(f"{what} needs at least {n_needed} groups; there are {n_groups}.")
    for kind in ("personality", "emotion"):
        n_groups = len(np.unique(np.asarray(groups)[_has_kind(kinds, kind)]))
        # None at all is fine: the data set then has the other kind only.
        if 0 < n_groups < n_needed:
            raise ValueError(
                f"{what} needs at least {n_needed} groups with {kind} labels; there are "
                f"{n_groups}. Use fewer splits, or more people rated on {kind}."
            )


def _check_kinds(kinds: npt.NDArray[np.str_], side: npt.NDArray[np.intp], what: str) -> None:
    for kind in ("personality", "emotion"):
        if _has_kind(kinds, kind).any() and not _has_kind(kinds[side], kind).any():
            raise ValueError(
                f"{what} has no {kind} labels: the groups differ too much in size or kind. Use "
                "fewer splits, a larger side, or another random_state."
            )


def _assign_folds(
    kinds: npt.NDArray[np.str_], of_group: npt.NDArray[np.intp], n_splits: int
) -> npt.NDArray[np.intp]:
    """Put each group into the fold that has the fewest of the labels that the group has."""
    counted = [_has_kind(kinds, "personality"), _has_kind(kinds, "emotion"), np.ones(len(kinds))]
    sizes = np.stack([np.bincount(of_group, weights=column) for column in counted], axis=1)
    rated = sizes[:, :2] > 0
    # Groups with both kinds come first, so that the others can go to folds that still lack a kind.
    # Among these, larger groups come first: that gives the most equal folds.
    order = np.lexsort((-sizes[:, 2], -rated.sum(axis=1)))
    totals = np.maximum(sizes.sum(axis=0), 1)
    folds = np.empty(len(sizes), dtype=np.intp)
    loads = np.zeros((n_splits, 3))
    for group in order:
        load = (loads / totals)[:, :2] @ rated[group]
        folds[group] = np.lexsort((loads[:, 2], load))[0]
        loads[folds[group]] += sizes[group]
    return folds


def _group_strata(
    kinds: npt.NDArray[np.str_], of_group: npt.NDArray[np.intp]
) -> npt.NDArray[np.int_]:
    """Return one stratum for each group: what its samples together were rated on."""
    has = np.zeros((of_group.max() + 1, 2), dtype=bool)
    for column, kind in enumerate(("personality", "emotion")):
        has[of_group[_has_kind(kinds, kind)], column] = True
    strata = has @ np.array([1, 2])
    # A stratum of one group cannot be on both sides: it joins the largest stratum.
    counts = np.bincount(strata, minlength=4)
    strata[counts[strata] < 2] = counts.argmax()
    return strata
