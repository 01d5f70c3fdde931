import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from persona_affect import JointAffectEstimator, load_model
from persona_affect.inspection import CircumplexDisplay, RatingDistribution, find_circumplex_names

EMOTION = np.array([[0.5, -0.2], [0.1, 0.3], [np.nan, np.nan]])  # arousal, valence


def test_valence_is_across_and_arousal_up():
    display = CircumplexDisplay.from_predictions(EMOTION)
    np.testing.assert_array_equal(display.points_.get_offsets()[:2], [[-0.2, 0.5], [0.3, 0.1]])
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("valence", "arousal")
    assert display.line_ is None
    (circle,) = (line for line in display.ax_.lines if len(line.get_xdata()) > 2)
    np.testing.assert_allclose(np.hypot(*circle.get_data()), 1)


def test_a_table_is_read_by_its_names():
    table = pd.DataFrame({"happy": [70.0, 80.0], "smart": [1.0, 2.0], "alert": [55.0, 60.0]})
    reference = RatingDistribution(["alert", "smart", "happy"], [57.0, 0, 56.0], [10.0, 1, 20.0])
    display = CircumplexDisplay.from_predictions(
        table, valence_name="happy", arousal_name="alert", reference=reference, connect=True
    )
    np.testing.assert_array_equal(display.line_.get_xydata(), [[70, 55], [80, 60]])
    inner, outer = (line for line in display.ax_.lines if len(line.get_xdata()) > 2)
    assert inner.get_xdata().max() == pytest.approx(76, abs=0.01)
    assert outer.get_ydata().max() == pytest.approx(77, abs=0.01)


def test_from_estimator_is_what_it_predicts(model, faces):
    _, ax = plt.subplots()
    display = CircumplexDisplay.from_estimator(model, faces.data[:3], ax=ax)
    expected = pd.DataFrame(model.predict(faces.data[:3]), columns=model[-1].target_names_)
    np.testing.assert_array_equal(
        display.points_.get_offsets(), expected[["valence", "arousal"]].to_numpy()
    )
    assert display.ax_ is ax
    assert display.reference is not None


def test_which_targets_stand_for_the_two(model):
    assert find_circumplex_names(model) == ("arousal", "valence")
    assert find_circumplex_names(load_model()) == ("alert", "happy")


def test_a_model_of_traits_alone_has_no_circumplex():
    rng = np.random.RandomState(0)
    traits = JointAffectEstimator(max_epochs=1).fit(rng.randn(8, 4).astype("f4"), rng.rand(8, 5))
    with pytest.raises(ValueError, match="two emotion targets"):
        CircumplexDisplay.from_estimator(traits, rng.randn(2, 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"y_pred": np.zeros((2, 3))}, "for 2 target names"),
        ({"y_pred": pd.DataFrame({"valence": [0.0]})}, "'arousal' is not among"),
        ({"reference": RatingDistribution(["arousal"], [0], [1])}, "not in the reference"),
    ],
)
def test_what_does_not_match_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        CircumplexDisplay.from_predictions(**({"y_pred": EMOTION} | settings))
