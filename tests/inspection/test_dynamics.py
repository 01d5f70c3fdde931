import matplotlib.pyplot as plt
import numpy as np
import pytest

from persona_affect import PersonDynamicsEncoder
from persona_affect.datasets import make_dynamic_clips
from persona_affect.faces import FaceClip
from persona_affect.inspection import DynamicsDisplay


@pytest.fixture(scope="module")
def clips():
    return make_dynamic_clips(4, 1, n_frames=24, image_size=64, random_state=0).data


@pytest.fixture(scope="module")
def encoder(clips):
    return PersonDynamicsEncoder(
        scales=(1, 4), max_epochs=1, early_stopping=False, device="cpu", random_state=0
    ).fit(clips)


def test_maps_of_a_clip_over_time(encoder, clips):
    _, ax = plt.subplots()
    display = DynamicsDisplay.from_estimator(encoder, clips[0], n_moments=3, ax=ax)
    assert display.ax_ is ax
    assert display.image_.get_array().shape == (2 * 28, 3 * 24)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["±0.04 s", "±0.16 s"]
    # The first and the last window are 4 frames from the ends.
    times = [label.get_text() for label in ax.get_xticklabels()]
    assert (times[0], times[-1]) == ("0.16 s", "0.76 s")
    maps, _ = encoder.dynamic_maps(clips[0])
    own = maps[0, 1].mean(-1)
    drawn = display.image_.get_array()[28:, :24]
    np.testing.assert_allclose(drawn / np.abs(drawn).max(), own / np.abs(own).max(), atol=1e-5)


def test_maps_of_a_clip_with_a_gap(encoder, clips):
    clip = FaceClip(clips[0], (0, 3, 14))
    maps, centres = encoder.dynamic_maps(clip)
    assert centres.tolist() == [7, 8, 9, 18, 19]
    np.testing.assert_array_equal(maps[:3], encoder.dynamic_maps(clips[0][3:14])[0])


def test_where_a_person_differs(encoder, clips):
    display = DynamicsDisplay.from_difference(encoder, clips[0], clips[1:])
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    shares = [float(label.split(", ")[1].rstrip("%")) for label in labels]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert display.maps.shape == (2, 1, 28, 24)
    np.testing.assert_array_equal(display.maps[:, 0], encoder.map_difference(clips[0], clips[1:]))


def test_what_cannot_be_shown(encoder):
    with (
        pytest.warns(UserWarning, match="no face"),
        pytest.raises(ValueError, match="no map to show"),
    ):
        DynamicsDisplay.from_estimator(encoder, np.empty((0, 112, 96, 3), np.uint8))
    with pytest.raises(ValueError, match="as many labels"):
        DynamicsDisplay(np.zeros((1, 2, 8, 8)), rows=["a"], columns=["b"]).plot()
