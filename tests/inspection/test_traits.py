import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from persona_affect.inspection import RatingDistribution, TraitDisplay

NAMES = ["warm", "smart", "dominant"]
VALUES = np.array([[60.0, 40.0, 55.0], [50.0, np.nan, 45.0]])
REFERENCE = RatingDistribution(NAMES, [50.0, 50.0, 40.0], [10.0, 5.0, 20.0])
INTERVALS = np.stack([VALUES - 4, VALUES + 8], axis=-1)


def widths(display, sample):
    return [bar.get_width() for bar in display.artists_[sample]]


def test_bars_reach_from_zero_to_the_prediction():
    display = TraitDisplay.from_predictions(VALUES, target_names=NAMES)
    assert widths(display, 0) == [60, 40, 55]
    assert [label.get_text() for label in display.ax_.get_yticklabels()] == NAMES
    assert display.figure_ is display.ax_.figure


def test_bars_start_at_the_mean_rating():
    display = TraitDisplay.from_predictions(VALUES, target_names=NAMES, reference=REFERENCE)
    assert [bar.get_x() for bar in display.artists_[0]] == [50, 50, 40]
    assert widths(display, 0) == [10, -10, 15]


def test_standard_deviations_from_the_mean():
    display = TraitDisplay.from_predictions(
        VALUES, target_names=NAMES, reference=REFERENCE, intervals=INTERVALS, standardize=True
    )
    np.testing.assert_allclose(widths(display, 0), [1, -2, 0.75])
    drawn = [segment[:, 0] for segment in display.ax_.collections[-2].get_segments()]
    np.testing.assert_allclose(drawn, [[0.6, 1.8], [-2.8, -0.4], [0.55, 1.15]])


def test_intervals_are_drawn_from_end_to_end():
    display = TraitDisplay.from_predictions(VALUES[:1], target_names=NAMES, intervals=INTERVALS[:1])
    drawn = [segment[:, 0] for segment in display.ax_.collections[-1].get_segments()]
    np.testing.assert_allclose(drawn, INTERVALS[0])


def test_a_radar_closes_and_shows_its_intervals():
    display = TraitDisplay.from_predictions(
        VALUES[0], target_names=NAMES, reference=REFERENCE, intervals=INTERVALS[:1], kind="radar"
    )
    np.testing.assert_allclose(display.artists_[0].get_ydata(), [60, 40, 55, 60])
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == NAMES
    assert len(display.ax_.collections) == 2  # the ratings' spread, and the interval
    display.figure_.canvas.draw()


def test_samples_have_names():
    table = pd.DataFrame(VALUES, columns=NAMES)
    display = TraitDisplay.from_predictions(table, sample_names=["Ada", "Bob"])
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["Ada", "Bob"]


def test_from_estimator_is_what_it_predicts_beside_its_ratings(model, faces):
    display = TraitDisplay.from_estimator(model, faces.data[:2])
    np.testing.assert_array_equal(display.values, model.predict(faces.data[:2]))
    assert display.target_names == model[-1].target_names_
    starts = [bar.get_x() for bar in display.artists_[0]]
    np.testing.assert_allclose(starts, faces.target.mean())


def test_it_draws_on_given_axes():
    _, ax = plt.subplots()
    display = TraitDisplay.from_predictions(VALUES, target_names=NAMES, ax=ax)
    assert display.ax_ is ax
    polar = plt.figure().add_subplot(projection="polar")
    assert display.plot(polar, kind="radar").ax_ is polar


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target_names": None}, "Pass target_names="),
        ({"target_names": NAMES[:2]}, "for 2 target names"),
        ({"intervals": INTERVALS[:1]}, "intervals has the shape"),
        ({"reference": RatingDistribution(["x"], [0], [1])}, "The reference has"),
        ({"standardize": True}, "needs a reference"),
        ({"sample_names": ["Ada"]}, "1 sample_names for 2 samples"),
        ({"kind": "pie"}, "kind='pie'"),
    ],
)
def test_what_does_not_match_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        TraitDisplay.from_predictions(VALUES, **({"target_names": NAMES} | settings))


def test_a_radar_needs_polar_axes():
    _, ax = plt.subplots()
    with pytest.raises(ValueError, match="polar"):
        TraitDisplay.from_predictions(VALUES, target_names=NAMES, kind="radar", ax=ax)
