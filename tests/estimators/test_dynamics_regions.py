import pickle

import numpy as np
import pytest

from persona_affect import PersonDynamicsEncoder
from persona_affect.datasets import make_dynamic_clips
from persona_affect.estimators import _dynamics_adaptation, _dynamics_regions

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def clips():
    return make_dynamic_clips(5, 1, n_frames=20, image_size=64, random_state=0).data


@pytest.fixture(scope="module", params=[1, "scale"])
def encoder(request, clips):
    return PersonDynamicsEncoder(
        scales=(1, 3),
        spacing=request.param,
        image_size=(30, 26),
        max_epochs=2,
        early_stopping=False,
        device="cpu",
        random_state=0,
    ).fit(clips)


def test_the_map_shares_out_the_distance_from_the_others(encoder, clips, monkeypatch):
    maps = encoder.map_difference([clips[0][:12], clips[1][:10]], clips[2:])
    assert maps.shape == (2, 30, 26)
    descriptors = encoder.transform([[clips[0][:12], clips[1][:10]], *clips[2:]])
    mean, deviation = descriptors[1:].mean(0), descriptors[1:].std(0)
    unit = np.maximum(deviation, deviation.mean())
    terms = (((descriptors[0] - mean) / unit) ** 2).reshape(2, -1)
    # Each scale has the part of its own features.
    np.testing.assert_allclose(maps.sum((1, 2)), terms.sum(1), rtol=1e-3)
    for module in (_dynamics_adaptation, _dynamics_regions):
        monkeypatch.setattr(module, "WINDOWS_AT_ONCE", 5)
    again = encoder.map_difference([clips[0][:12], clips[1][:10]], clips[2:])
    np.testing.assert_allclose(again, maps, atol=1e-3 * np.abs(maps).max())


def test_where_nothing_moves_nothing_differs(encoder, clips):
    """Below, persons stand still; the network sees a few pixels across the border."""
    still = [clip.copy() for clip in clips]
    for clip in still:
        clip[:, 40:] = clip[0, 40:]
    maps = np.abs(encoder.map_difference(still[0], still[1:]))
    assert maps[:, :15].mean() > 3 * maps[:, 22:].mean()


def test_what_cannot_be_compared(encoder, clips):
    several = pickle.loads(pickle.dumps(encoder)).set_params(n_steps=2)
    with pytest.raises(ValueError, match="n_steps=1, not 2"):
        several.map_difference(clips[0], clips[1:])
    with pytest.raises(ValueError, match="at least two others"):
        encoder.map_difference(clips[0], clips[1:2])
