import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner
from persona_affect.datasets import make_affect_faces
from persona_affect.inspection import AUDIT_DISTURBANCES, Audit, AuditDisplay, audit
from persona_affect.metrics import ccc_score


class Interval(LinearRegression):
    """Predicts with intervals of +- 1 around each target."""

    def predict_interval(self, X, alpha):
        predicted = self.predict(X).reshape(len(X), -1)
        return np.stack([predicted - 1, predicted + 1], axis=-1)


@pytest.fixture
def world():
    """Two targets of 120 persons; `warm` is predicted too low by two points for the old."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3))
    sensitive = pd.DataFrame(
        {
            "old": np.repeat(["young", "old"], 60),
            "skin": np.tile(np.linspace(0, 1, 60), 2),
        }
    )
    model = Interval().fit(X, np.column_stack([X[:, 0], X[:, 1]]))
    y = pd.DataFrame({"warm": X[:, 0], "calm": X[:, 1]}) + 0.1 * rng.normal(size=(120, 2))
    y.loc[60:, "warm"] += 2
    y.loc[:4, "calm"] = np.nan
    model.target_names_ = ["warm", "calm"]
    return model, X, y, sensitive


def test_groups_are_judged_by_feature_and_intersection(world):
    model, X, y, sensitive = world
    found = audit(
        model, X, y, sensitive=sensitive, disturbances=[], n_resamples=50, min_group_size=10
    )
    assert set(found.groups["feature"]) == {"old", "skin", "old and skin"}
    by = found.groups.set_index(["feature", "group", "target"])
    young, old = by.loc[("old", "young", "warm")], by.loc[("old", "old", "warm")]
    assert young["bias"] == pytest.approx(0, abs=0.1)
    assert old["bias"] == pytest.approx(-2, abs=0.1)
    assert old["error"] == pytest.approx(2, abs=0.1)
    assert (young["coverage"], old["coverage"]) == (1, 0)
    assert old["bias_low"] < old["bias"] < old["bias_high"] < -1.9
    assert by.loc[("old", "young", "calm"), "n"] == 55
    thirds = {"lowest third", "middle third", "highest third"}
    assert set(found.groups.query("feature == 'skin'")["group"]) == thirds
    assert by.loc[("old and skin", "old, lowest third", "warm"), "n"] == 20
    predicted = model.predict(X)
    assert found.overall.loc["warm", "ccc"] == pytest.approx(
        ccc_score(y[["warm"]], predicted[:, 0])
    )
    assert found.overall.loc["calm", "n"] == 115
    assert found.settings["features"] == ["old", "skin"]


def test_small_groups_are_counted_and_not_judged(world):
    model, X, y, _ = world
    few = np.where(np.arange(120) < 7, "few", "many")
    found = audit(model, X, y, sensitive={"who": few}, disturbances=[], n_resamples=50)
    by = found.groups.set_index(["group", "target"])
    assert by.loc[("few", "warm"), "n"] == 7
    assert by.loc["few"].drop(columns=["feature", "n"]).isna().all(axis=None)
    assert by.loc["many"].notna().all(axis=None)


def test_groups_that_are_all_too_small_leave_nothing_to_plot(world):
    model, X, y, _ = world
    found = audit(model, X, y, sensitive={"who": np.arange(120) % 7}, disturbances=[])
    assert found.groups["n"].max() < 20
    assert found.table("error", "who")["warm"].isna().all()
    assert "| 0 | 18 |  |  |" in found.to_markdown()


def test_predictions_of_a_cross_validation_take_the_place_of_the_models(world):
    model, X, y, sensitive = world
    perfect = y.fillna(0)
    found = audit(model, X, y, sensitive=sensitive, y_pred=perfect, disturbances=[], n_resamples=50)
    assert (found.overall["error"] == 0).all()
    # The model's intervals are not those of other predictions.
    assert "coverage" not in found.overall
    bounds = np.stack([perfect - 1, perfect + 1], axis=-1)
    found = audit(model, X, y, y_pred=perfect, intervals=bounds, disturbances=[], n_resamples=50)
    assert (found.overall["coverage"] == 1).all()
    assert found.groups.empty


def test_missing_features_are_a_group_and_missing_predictions_are_left_out(world):
    model, X, y, _ = world
    predicted = model.predict(X)
    predicted[:30] = np.nan
    old = pd.Series(np.repeat([1.0, np.nan], 60), name="old")
    found = audit(model, X, y, sensitive=old, y_pred=predicted, disturbances=[], n_resamples=50)
    by = found.groups.set_index(["group", "target"])
    assert by.loc[("1.0", "warm"), "n"] == 30
    assert by.loc[("missing", "warm"), "n"] == 60
    assert found.settings["n_without_prediction"] == 30


class Brightness(RegressorMixin, BaseEstimator):
    """The mean brightness of an aligned face, and how much brighter its left half is."""

    def fit(self, X, y=None):
        self.target_names_ = ["bright", "lopsided"]
        return self

    def predict(self, X):
        rows = np.full((len(X), 2), np.nan)
        for i, clip in enumerate(X):
            if len(clip):
                half = clip.shape[2] // 2
                left, right = clip[:, :, :half].mean(), clip[:, :, half:].mean()
                rows[i] = [(left + right) / 2, left - right]
        return rows


def test_stability_is_in_standard_deviations_of_the_ratings():
    drawn = make_affect_faces(6, halves="personality", random_state=0)
    photos = [*drawn.data, np.full((60, 60, 3), 90, np.uint8)]
    model = make_pipeline(FaceAligner(), Brightness()).fit(photos)
    y = pd.DataFrame({"bright": [10.0, 30] * 3 + [20], "lopsided": [1.0, 3] * 3 + [2]})
    found = audit(model, photos, y, n_resamples=20, min_group_size=2)
    table = found.stability.set_index(["disturbance", "target"])
    assert list(dict.fromkeys(found.stability["disturbance"])) == list(AUDIT_DISTURBANCES)
    assert table.loc[("mirror", "bright"), "movement"] == pytest.approx(0, abs=1e-9)
    values = model.predict(photos)[:6, 1]
    expected = np.mean(np.abs(2 * values)) / y["lopsided"].std(ddof=0)
    assert table.loc[("mirror", "lopsided"), "movement"] == pytest.approx(expected)
    assert table.loc[("darker", "bright"), "shift"] < -1
    assert table.loc[("brighter", "bright"), "shift"] > 1
    row = table.loc[("darker", "bright")]
    assert row["movement_low"] <= row["movement"] <= row["movement_high"]
    fewer = audit(model, photos, y, disturbances=["mirror"], max_disturbed=3, n_resamples=5)
    assert fewer.settings["n_disturbed"] == 3


def test_bad_calls_say_what_is_wrong(world):
    model, X, y, sensitive = world
    with pytest.raises(ValueError, match=r"y has the columns \['cold'\]; the model predicts"):
        audit(model, X, y.rename(columns={"warm": "cold"}), disturbances=[], n_resamples=50)
    with pytest.raises(ValueError, match="sensitive has 119 rows, y has 120"):
        audit(model, X, y, sensitive=sensitive[1:], disturbances=[], n_resamples=50)
    with pytest.raises(ValueError, match="119 predictions for 120 rows"):
        audit(model, X, y, y_pred=y[1:], disturbances=[], n_resamples=50)
    with pytest.raises(ValueError, match="intervals has the shape"):
        audit(model, X, y, intervals=np.zeros((120, 2)), disturbances=[], n_resamples=50)
    with pytest.raises(ValueError, match="it is not known where faces lie"):
        audit(model, X, y, disturbances=["mirror"])
    with pytest.raises(ValueError, match="y has 3 columns"):
        audit(model, X, X, disturbances=[], n_resamples=50)


@pytest.fixture
def found(world):
    model, X, y, sensitive = world
    sensitive = sensitive.assign(old=sensitive["old"].replace("old", "<b>o|d</b>"))
    return audit(
        model, X, y, sensitive=sensitive, disturbances=[], n_resamples=20, min_group_size=20
    )


def test_tables_by_group(found):
    table = found.table("bias", "old")
    assert list(table.columns) == ["n", "warm", "calm"]
    assert table.loc["<b>o|d</b>", "warm"] == pytest.approx(-2, abs=0.1)
    texts = found.table("bias", "old", intervals=True, digits=1)
    assert texts.loc["<b>o|d</b>", "warm"].startswith("-2.0 (-2.")
    with pytest.raises(ValueError, match="measure='mood' is none of"):
        found.table("mood")
    with pytest.raises(ValueError, match="feature='hair' is none of"):
        found.table("bias", "hair")


def test_the_page_is_one_file_without_scripts_or_addresses(found, tmp_path):
    found.save_html(tmp_path / "audit.html", title="A <script> & B")
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4
    assert "<script" not in page
    assert "<b>o|d" not in page
    assert "&lt;b&gt;o|d&lt;/b&gt;" in page
    # Addresses of XML's name spaces and of a licence's words are not fetched.
    assert not re.findall(r"(?:src|href)=[\"']?https?:", page.replace("xlink:href", "x"))
    assert page == found.to_html(title="A <script> & B")
    assert "Coverage of the intervals" in page
    assert "impressions that faces make on raters" in page


def test_stability_is_in_the_report():
    stability = pd.DataFrame(
        [("mirror", "mirrored", "calm", 0.25, 0.2, 0.3, 0.1)],
        columns=[
            *("disturbance", "text", "target", "movement"),
            *("movement_low", "movement_high", "shift"),
        ],
    )
    overall = pd.DataFrame({"n": [3], "error": [1.0], "error_low": [0.5], "error_high": [2.0]})
    overall.index = ["calm"]
    settings = {
        "n_samples": 3,
        "n_without_prediction": 1,
        "n_disturbed": 3,
        "min_group_size": 20,
        "alpha": None,
        "confidence": 0.95,
        "n_resamples": 5,
        "features": [],
    }
    text = Audit(overall, pd.DataFrame(), stability, settings).to_markdown()
    assert "| mirrored | 0.25 |" in text
    assert "1 of them have no prediction" in text
    assert "| calm | 3 | 1.00 (0.50 to 2.00) |" in text


def test_the_display_draws_groups_and_targets(found):
    display = AuditDisplay(found).plot("skin", measure="bias")
    assert set(display.lines_) == {"warm", "calm"}
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == ["lowest third (40)", "middle third (40)", "highest third (40)"]
    with pytest.raises(ValueError, match="no groups"):
        AuditDisplay(Audit(found.overall, pd.DataFrame(), found.stability, {})).plot()


def test_the_worst_groups_come_first(world):
    model, X, _, _ = world
    # The error grows from c to a; only b is far from 0 on the other side; d is too small.
    who = np.array(list("c" * 30 + "b" * 35 + "a" * 40 + "d" * 15))
    shift = pd.Series(who).map({"c": 0.0, "b": -2.0, "a": 3.0, "d": 9.0}).to_numpy()
    rated = pd.DataFrame({"warm": X[:, 0] + shift})
    found = audit(model, X, rated, sensitive={"who": who}, disturbances=[], n_resamples=20)
    for measure in ("error", "bias", "coverage"):
        order = found.table(measure, "who", worst_first=True).index.tolist()
        assert order[:2] == ["a", "b"] if measure != "coverage" else order[2] == "c"
        assert order[3] == "d"
    assert found.table("error", "who").index.tolist() == ["a", "b", "c", "d"]
    text = found.to_markdown()
    assert "Mean absolute error, worst first:" in text
    assert text.index("| a | 40 |") < text.index("| b | 35 |") < text.index("| c | 30 |")


def test_a_part_of_many_intersections_is_shown(found):
    whole, part = found.to_markdown(), found.to_markdown(n_worst=2)
    title = "## By old and skin"
    rows = [text.partition(title)[2].count("\n| ") for text in (whole, part)]
    # Error, bias and coverage, each with its head and the line below it.
    assert rows == [3 * (6 + 2), 3 * (2 + 2)]
    assert "The worst 2 of 6 groups; 0 more have fewer than 20 samples." in part
