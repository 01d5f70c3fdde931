import numpy as np
import pandas as pd
import pytest

from persona_affect import RAMRegressor
from persona_affect.estimators._targets import TargetScaler, read_targets
from persona_affect.metrics import EMOTION_NAMES, PERSONALITY_NAMES

SEVEN = [*PERSONALITY_NAMES, *EMOTION_NAMES]


@pytest.mark.parametrize(
    ("width", "n_personality", "n_emotion"), [(7, 5, 2), (5, 5, 0), (2, 0, 2), (1, 1, 0)]
)
def test_width_of_an_array_decides(width, n_personality, n_emotion):
    targets = read_targets(np.zeros((3, width)), None, None)
    assert (len(targets.personality), len(targets.emotion)) == (n_personality, n_emotion)
    assert not targets.one_dimensional


def test_columns_of_a_frame_are_matched_by_name_and_kept_in_order():
    y = pd.DataFrame(np.arange(14.0).reshape(2, 7), columns=SEVEN)[SEVEN[::-1]]
    targets = read_targets(y, None, None)
    assert targets.names == SEVEN[::-1]
    assert targets.values[0].tolist() == list(range(7))


def test_own_names():
    y = pd.DataFrame({"happy": [1.0, np.nan], "smart": [np.nan, 2.0]})
    targets = read_targets(y, ["smart"], ["happy"])
    assert targets.rated.tolist() == [[False, True], [True, False]]
    assert targets.values[1, 0] == 2


@pytest.mark.parametrize(
    ("y", "personality", "emotion", "message"),
    [
        (np.zeros((2, 3)), None, None, "3 columns"),
        (np.zeros((2, 3)), ["a"], ["b"], "name 2"),
        (pd.DataFrame({"smart": [1.0]}), None, None, "smart"),
        (pd.DataFrame({"a": [1.0], "b": [1.0]}), ["a"], None, "'b'"),
        (np.zeros((2, 2)), ["a"], ["a"], "named twice"),
        (np.array([[1.0, np.inf]]), None, None, "infinity"),
        (None, None, None, "requires y"),
    ],
)
def test_mismatches_are_named(y, personality, emotion, message):
    with pytest.raises(ValueError, match=message):
        read_targets(y, personality, emotion)


def test_scaler_standardises_observed_labels_with_weights():
    rng = np.random.RandomState(0)
    y = rng.normal(3, 2, (50, 2))
    y[:10, 0] = np.nan
    weight = rng.randint(0, 3, 50).astype(float)
    scaler = TargetScaler(y, weight)
    repeated = np.repeat(y, weight.astype(int), axis=0)
    np.testing.assert_allclose(scaler.mean, np.nanmean(repeated, 0))
    np.testing.assert_allclose(scaler.scale, np.nanstd(repeated, 0))
    np.testing.assert_allclose(scaler.std, scaler.scale)
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(y)), y)


def test_scaler_leaves_constant_and_unrated_targets_finite():
    y = np.column_stack([np.full(5, 0.1), np.full(5, np.nan)])
    scaler = TargetScaler(y, np.ones(5))
    assert scaler.scale.tolist() == [1, 1]
    assert scaler.mean[0] == pytest.approx(0.1)
    assert np.isnan(scaler.mean[1])
    assert np.isfinite(scaler.shift).all()


def test_the_spread_of_labels_is_known_only_where_it_was_used():
    y = np.array([[1.0, np.nan], [2.0, np.nan]])
    np.testing.assert_array_equal(TargetScaler(y, np.ones(2)).std, [0.5, np.nan])
    assert np.isnan(TargetScaler(y, np.ones(2), standardize=False).std).all()


@pytest.mark.parametrize(
    "y",
    [
        np.ma.masked_array([0.5, 9.0, 0.25], [False, True, False]),
        np.ma.masked_array([[2], [9], [1]], [[False], [True], [False]]) * 0.25,
        pd.Series([0.5, None, 0.25], dtype="Float64", index=[7, 8, 9], name="joy"),
        pd.Series([0.5, None, 0.25], dtype="category"),
        pd.Series([0.5, None, 0.25], dtype=object),
        pd.DataFrame({"joy": pd.array([0.5, None, 0.25], dtype="Float64")}, index=[7, 8, 9]),
    ],
    ids=["masked", "masked column", "nullable", "categories", "objects", "nullable column"],
)
def test_missing_labels_of_every_kind(y):
    targets = read_targets(y, ["joy"], None)
    np.testing.assert_array_equal(targets.values.ravel(), [0.5, np.nan, 0.25])


def test_masked_labels_do_not_train_the_ram():
    rng = np.random.default_rng(0)
    emotion, traits = rng.uniform(-1, 1, (20, 2)), rng.uniform(size=(20, 3))
    hidden = rng.random((20, 3)) < 0.3
    masked = np.ma.masked_array(np.where(hidden, 9, traits), hidden)
    models = [
        RAMRegressor(max_epochs=5, random_state=0).fit(emotion, y)
        for y in (masked, np.where(hidden, np.nan, traits))
    ]
    np.testing.assert_array_equal(*(model.predict(emotion) for model in models))


@pytest.mark.parametrize(
    "y",
    [
        [1, 2, pd.NA, 4],
        np.array([1, 2, pd.NA, 4], dtype=object),
        pd.array([1, 2, None, 4], dtype="Int64"),
        [1.0, 2.0, np.ma.masked, 4.0],
        pd.DataFrame({"arousal": pd.Series([1, 2, pd.NA, 4], dtype=object)}),
        [np.ma.array([number], mask=number == 3) for number in (1, 2, 3, 4)],
    ],
    ids=["NA in a list", "NA in an array", "nullable array", "masked", "NA in a frame", "rows"],
)
def test_missing_labels_of_every_container(y):
    np.testing.assert_array_equal(read_targets(y, None, None).values.ravel(), [1, 2, np.nan, 4])


def test_a_series_with_the_name_of_a_target_is_that_target():
    targets = read_targets(pd.Series([0.1, 0.2], name="arousal"), None, None)
    assert (targets.personality, targets.emotion) == ([], ["arousal"])
    assert targets.one_dimensional
    assert read_targets(pd.Series([0.1], name="likes"), None, None).personality == ["y"]
    with pytest.raises(ValueError, match=r"expected .*calm"):
        read_targets(pd.Series([0.1], name="arousal"), None, ["calm"])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["calm", "glad"], "not a number, 'calm' .sample 0."),
        (pd.Series([1, "glad"], dtype="category"), "not a number, 'glad' .sample 1."),
        (pd.DataFrame({"arousal": [0.1, 0.2], "valence": [0, "?"]}), "'.' .sample 1."),
        (pd.Series(pd.date_range("2020-01-01", periods=2)), "datetime64"),
        (np.array([1j, 2j]), "complex128"),
        ([[1, 2], [3]], "a list, is no array"),
        ({"arousal": [0.1]}, "a dict, is not an array"),
        (pd.DataFrame([[1, 2]], columns=["arousal", "arousal"]), "two columns of one name"),
    ],
)
def test_labels_that_are_no_numbers_are_named(y, message):
    with pytest.raises(ValueError, match=message):
        read_targets(y, None, None)
    with pytest.raises(ValueError, match=message):
        RAMRegressor().fit(np.zeros((2, 2)), y)
