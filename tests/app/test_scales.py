import numpy as np
import pytest

from persona_affect import load_model
from persona_affect.app._scales import Scales

SCALES = Scales(
    ["warm", "calm", "raw"],
    {"warm": 50.0, "calm": 0.5, "raw": 0.0},
    {"warm": 10.0, "calm": 0.15, "raw": np.nan},
    None,
)


def test_of_the_bundled_model():
    model = load_model()
    scales = Scales.of(model)
    assert scales.names == model[-1].target_names_
    assert scales.plane == ("alert", "happy")
    assert scales.mean["happy"] == model[-1].target_means_[-1]


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("warm", 61.234, "61.2"),
        ("calm", 0.61234, "0.612"),
        ("raw", 12.345, "12.3"),
        ("warm", np.nan, "-"),
    ],
)
def test_digits_tell_faces_apart(name, value, written):
    assert SCALES.write(name, value) == written


def test_places_are_between_three_deviations():
    np.testing.assert_allclose(SCALES.place("warm", [20, 50, 65, 99]), [0, 0.5, 0.75, 1])
    np.testing.assert_allclose(SCALES.place("raw", [1, np.nan, 3, 2]), [0, np.nan, 1, 0.5])
    np.testing.assert_allclose(SCALES.place("raw", [7.0, 7.0]), [0.5, 0.5])


def test_ranks_are_of_the_ratings():
    assert SCALES.rank("warm", 60.0) == pytest.approx(84.13, abs=0.01)
