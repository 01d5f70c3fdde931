import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from persona_affect.metrics import EMOTION_NAMES, PERSONALITY_NAMES
from persona_affect.model_selection import (
    AffectGroupKFold,
    AffectGroupShuffleSplit,
    affect_train_test_split,
    label_kinds,
)

NAMES = [*PERSONALITY_NAMES, *EMOTION_NAMES]
SPLITTERS = [AffectGroupKFold(3), AffectGroupShuffleSplit(3, test_size=0.34, random_state=0)]


def labels(kinds):
    """Labels of seven targets, rated on what `kinds` says."""
    y = np.tile(np.linspace(0, 1, len(kinds))[:, None], 7)
    kinds = np.asarray(kinds)
    y[(kinds == "emotion") | (kinds == "none"), :5] = np.nan
    y[(kinds == "personality") | (kinds == "none"), 5:] = np.nan
    return y


def both_kinds(kinds):
    return set(kinds) & {"personality", "both"} and set(kinds) & {"emotion", "both"}


@st.composite
def people(draw, n_per_kind=3):
    """Groups of one to six samples, at least `n_per_kind` rated on either kind, in any order."""
    kinds, groups = [], []
    mandatory = ["personality", "emotion"] * n_per_kind
    extra = draw(st.lists(st.sampled_from(["personality", "emotion", "both", "none"]), max_size=8))
    for person, kind in enumerate(mandatory + extra):
        size = draw(st.integers(1, 6))
        kinds += [kind] * size
        groups += [f"person {person}"] * size
    order = draw(st.permutations(range(len(kinds))))
    return np.array(kinds)[order], np.array(groups)[order]


def test_label_kinds_of_every_pattern():
    kinds = ["personality", "emotion", "both", "none"]
    y = labels(kinds)
    y[0, 1:5] = np.nan  # one trait alone is a personality label
    assert label_kinds(y).tolist() == kinds
    # A table is read by its names, whatever their order, and may lack some.
    table = pd.DataFrame(y, columns=NAMES)[["valence", "extraversion"]]
    assert label_kinds(table).tolist() == kinds
    assert label_kinds(table[["valence"]]).tolist() == ["none", "emotion", "emotion", "none"]


def test_label_kinds_of_own_names():
    y = pd.DataFrame({"smart": [1, np.nan], "happy": [np.nan, 1]})
    with pytest.raises(ValueError, match=r"\['smart', 'happy'\].*pass personality="):
        label_kinds(y)
    kinds = label_kinds(y, personality=["smart"], emotion=["happy"])
    assert kinds.tolist() == ["personality", "emotion"]


@pytest.mark.parametrize("y", [np.zeros(3), np.zeros((3, 2))])
def test_label_kinds_of_arrays_of_other_widths(y):
    with pytest.raises(ValueError, match="one column for each"):
        label_kinds(y)


@settings(max_examples=40, deadline=None)
@given(people(), st.booleans(), st.integers(0, 5))
def test_folds_keep_people_together_and_kinds_everywhere(data, shuffle, seed):
    kinds, groups = data
    cv = AffectGroupKFold(3, shuffle=shuffle, random_state=seed if shuffle else None)
    tested = []
    for train, test in cv.split(kinds, labels(kinds), groups):
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(len(kinds)))
        assert both_kinds(kinds[train])
        assert both_kinds(kinds[test])
        tested += test.tolist()
    assert sorted(tested) == list(range(len(kinds)))


@settings(max_examples=40, deadline=None)
@given(people(n_per_kind=4), st.integers(0, 5))
def test_shuffle_splits_keep_people_together_and_kinds_on_both_sides(data, seed):
    kinds, groups = data
    cv = AffectGroupShuffleSplit(2, test_size=0.5, random_state=seed)
    for train, test in cv.split(kinds, labels(kinds), groups):
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(len(kinds)))
        assert both_kinds(kinds[train])
        assert both_kinds(kinds[test])


def test_folds_are_balanced():
    kinds = ["personality"] * 200 + ["emotion"] * 100 + ["both"] * 50
    groups = np.arange(350) // 5
    for _, test in AffectGroupKFold(5).split(kinds, labels(kinds), groups):
        counts = pd.Series(kinds)[test].value_counts()
        assert counts.to_dict() == {"personality": 40, "emotion": 20, "both": 10}


def test_shuffle_splits_are_balanced():
    kinds = ["personality"] * 200 + ["emotion"] * 100
    groups = np.arange(300) // 5
    cv = AffectGroupShuffleSplit(4, random_state=0)
    for _, test in cv.split(kinds, labels(kinds), groups):
        counts = pd.Series(kinds)[test].value_counts()
        assert counts.to_dict() == {"personality": 40, "emotion": 20}


def test_a_combination_may_have_a_single_group():
    kinds = ["personality"] * 4 + ["emotion"] * 4 + ["both", "none"]
    for cv in SPLITTERS:
        assert len(list(cv.split(kinds, labels(kinds), range(10)))) == 3


def test_labels_of_one_kind_alone_are_split_by_group():
    kinds = ["personality"] * 12
    for cv in SPLITTERS:
        for train, test in cv.split(kinds, labels(kinds), np.arange(12) // 2):
            assert not set(train // 2) & set(test // 2)


@pytest.mark.parametrize("splitter", [AffectGroupKFold, AffectGroupShuffleSplit])
def test_the_seed_decides(splitter):
    kinds = ["personality", "emotion"] * 30

    def splits(seed):
        shuffle = {"shuffle": True} if splitter is AffectGroupKFold else {}
        cv = splitter(3, random_state=seed, **shuffle)
        return [test.tolist() for _, test in cv.split(kinds, labels(kinds), np.arange(60) // 2)]

    assert splits(0) == splits(0)
    assert splits(0) != splits(1)


def test_number_and_name():
    for cv in SPLITTERS:
        assert cv.get_n_splits() == 3
    cv = AffectGroupKFold(4, emotion=["happy"])
    assert repr(cv).startswith("AffectGroupKFold(emotion=['happy'], n_splits=4,")


@pytest.mark.parametrize("cv", SPLITTERS)
def test_in_searches(cv):
    kinds = ["personality"] * 20 + ["emotion"] * 20 + ["both"] * 20
    y = pd.DataFrame(labels(kinds), columns=NAMES)
    X = np.nan_to_num(y.to_numpy())
    groups = np.arange(60) // 2

    def observed(estimator, X, y):
        return float(y.notna().any().all())  # every target is rated in the fold

    class Filled(Ridge):
        def fit(self, X, y):
            return super().fit(X, y.fillna(0))

    search = GridSearchCV(Filled(), {"alpha": [1.0, 10.0]}, scoring=observed, cv=cv)
    search.fit(X, y, groups=groups)
    assert (search.cv_results_["mean_test_score"] == 1).all()


def test_train_test_split_splits_all_alike():
    kinds = ["personality"] * 20 + ["emotion"] * 20
    y = pd.DataFrame(labels(kinds), columns=NAMES)
    groups = np.arange(40) // 2
    X = [f"{n}.jpg" for n in range(40)]
    X_train, X_test, y_train, y_test, groups_train, groups_test = affect_train_test_split(
        X, y, groups, groups=groups, test_size=0.2, random_state=3
    )
    assert len(X_test) == 8
    assert sorted(X_train + X_test) == sorted(X)
    assert not set(groups_train) & set(groups_test)
    assert [f"{n}.jpg" for n in y_test.index] == X_test
    assert sorted(label_kinds(y_test)) == ["emotion"] * 4 + ["personality"] * 4
    assert len(y_train) == 32


@pytest.mark.parametrize("cv", SPLITTERS)
def test_missing_arguments(cv):
    y = labels(["both"] * 6)
    with pytest.raises(ValueError, match="groups is missing"):
        next(cv.split(y, y))
    with pytest.raises(ValueError, match="y is missing"):
        next(cv.split(y, groups=range(6)))


def test_too_few_groups_of_a_kind():
    kinds = ["personality"] * 10 + ["emotion"] * 10
    groups = [*range(10), *[10, 11] * 5]
    with pytest.raises(ValueError, match=r"n_splits=3 needs at least 3 groups with emotion.* 2\."):
        next(AffectGroupKFold(3).split(kinds, labels(kinds), groups))
    with pytest.raises(ValueError, match=r"at least 2 groups with emotion labels; there are 1\."):
        next(AffectGroupShuffleSplit().split(kinds, labels(kinds), [*range(10), *[10] * 10]))


def test_fewer_groups_than_folds():
    with pytest.raises(ValueError, match="n_splits=3 needs at least 3 groups; there are 2"):
        next(AffectGroupKFold(3).split(range(4), labels(["none"] * 4), [0, 0, 1, 1]))


def test_exactly_enough_groups_of_very_different_sizes():
    kinds = ["both"] * 40 + ["personality"] * 1 + ["emotion"] * 90 + ["personality", "emotion"]
    groups = [0] * 40 + [1] + [2] * 90 + [3, 4]
    for _, test in AffectGroupKFold(3).split(kinds, labels(kinds), groups):
        assert both_kinds(np.array(kinds)[test])


def test_a_side_too_small_for_both_kinds():
    kinds = ["personality"] * 18 + ["both"] * 2
    with pytest.raises(ValueError, match=r"has no emotion labels|test_size"):
        next(AffectGroupShuffleSplit(test_size=2).split(kinds, labels(kinds), range(20)))
