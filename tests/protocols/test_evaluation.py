import numpy as np
import pandas as pd
import pytest

from persona_affect.metrics import affect_report
from persona_affect.protocols import AffineCalibration, evaluate_predictions

NAMES = ["openness", "warmth", "valence"]


@pytest.fixture
def labels():
    """Labels and predictions of 120 samples in 40 groups; a third unrated on each target."""
    rng = np.random.default_rng(0)
    y = pd.DataFrame(rng.uniform(size=(120, 3)), columns=NAMES)
    p = 0.5 * y + 0.5 * rng.uniform(size=(120, 3))
    y = y.mask(rng.uniform(size=y.shape) < 1 / 3)
    return y, p, np.repeat(np.arange(40), 3)


def evaluate(y, p, groups, **options):
    options = {"n_resamples": 200, "baseline": pd.Series(0.4, NAMES), **options}
    return evaluate_predictions(
        y, p, groups=groups, personality=NAMES[:2], emotion=NAMES[2:], **options
    )


def test_values_are_the_report_s(labels):
    y, p, groups = labels
    table = evaluate(y, p, groups)
    kinds = {"personality": NAMES[:2], "emotion": NAMES[2:]}
    report = affect_report(y, p, groups=kinds, baseline=[0.4] * 3).drop(index="mean")
    assert table.index.tolist() == [*NAMES, "personality mean", "emotion mean"]
    for column in ("ccc", "pearson", "accuracy_mae", "rmse", "baseline_rmse", "n_labels"):
        np.testing.assert_allclose(table[column], report[column])


def test_intervals_hold_the_value_and_grow_with_dependence(labels):
    y, p, _ = labels
    fine = evaluate(y, p, np.arange(120))
    # Every sample three times over: three times the labels, no more is known.
    three = [pd.concat([table] * 3, ignore_index=True) for table in (y, p)]
    grouped = evaluate(*three, np.tile(np.arange(120), 3))
    naive = evaluate(*three, np.arange(360))
    for measure in ("ccc", "pearson", "accuracy_mae", "rmse"):
        low, high = (fine[f"{measure}_{side}"] for side in ("low", "high"))
        assert (low <= fine[measure]).all()
        assert (fine[measure] <= high).all()
        width = high - low
        wide = grouped[f"{measure}_high"] - grouped[f"{measure}_low"]
        narrow = naive[f"{measure}_high"] - naive[f"{measure}_low"]
        np.testing.assert_allclose(wide, width, rtol=1e-6)
        assert (narrow < 0.75 * wide).all()


def test_the_interval_of_a_mean_is_that_of_theory():
    rng = np.random.default_rng(1)
    y = pd.DataFrame(rng.normal(size=(400, 3)), columns=NAMES)
    p = pd.DataFrame(0.0, y.index, NAMES)
    table = evaluate(y, p, np.arange(400), n_resamples=1000)
    for name in NAMES:
        error = 1.96 * y[name].abs().std() / 20
        half = (table.accuracy_mae_high[name] - table.accuracy_mae_low[name]) / 2
        assert half == pytest.approx(error, rel=0.1)


def test_intervals_are_reproducible(labels):
    pd.testing.assert_frame_equal(evaluate(*labels), evaluate(*labels))
    other = evaluate(*labels, random_state=1)
    assert not np.allclose(other.ccc_low, evaluate(*labels).ccc_low)
    assert "ccc_low" not in evaluate(*labels, n_resamples=0)


def test_where_nothing_was_predicted_the_constant_stands_in(labels):
    y, p, groups = labels
    missing = p.copy()
    missing.iloc[:30] = np.nan
    table = evaluate(y, missing, groups)
    filled = evaluate(y, missing.fillna(0.4), groups)
    pd.testing.assert_frame_equal(
        table.drop(columns="n_not_predicted"), filled.drop(columns="n_not_predicted")
    )
    expected = y.iloc[:30].notna().sum().tolist()
    assert table.n_not_predicted.tolist() == [*expected, sum(expected[:2]), expected[2]]


def test_calibration_is_least_squares(labels):
    y, p, _ = labels
    lines = AffineCalibration().fit(y, p)
    for name in NAMES:
        seen = y[name].notna()
        design = np.column_stack([p[name][seen], np.ones(seen.sum())])
        slope, intercept = np.linalg.lstsq(design, y[name][seen], rcond=None)[0]
        assert lines.slope_[name] == pytest.approx(slope)
        assert lines.intercept_[name] == pytest.approx(intercept)
        moved = lines.transform(p)[name]
        np.testing.assert_allclose(moved, slope * p[name] + intercept)
        assert ((moved - y[name]) ** 2).mean() < ((p[name] - y[name]) ** 2).mean()


def test_calibration_without_enough_to_go_by_changes_nothing():
    y = pd.DataFrame({"few": [1.0, 2.0, np.nan], "constant": [1.0, 2.0, 3.0]})
    p = pd.DataFrame({"few": [1.0, 3.0, 5.0], "constant": [2.0, 2.0, 2.0]})
    pd.testing.assert_frame_equal(AffineCalibration().fit(y, p).transform(p), p)
