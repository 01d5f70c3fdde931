"""The generic network of dynamics that comes with the package."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from persona_affect import PersonDynamicsEncoder, load_model
from persona_affect.datasets import make_dynamic_clips
from persona_affect.exceptions import ModelFormatError, WeightsError
from persona_affect.persistence import _bundled, read_model_info

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def encoder():
    return load_model("dynamics").set_params(device="cpu")


def test_it_describes_a_person_at_once(encoder):
    clips = make_dynamic_clips(6, 2, n_frames=60, random_state=3)
    descriptors = encoder.transform(clips.data)
    assert descriptors.shape == (12, len(encoder.get_feature_names_out()))
    z = descriptors - descriptors.mean(0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    # Two clips of a person are nearer than those of two persons.
    first, second = np.triu_indices(12, 1)
    same = clips.groups[first] == clips.groups[second]
    assert roc_auc_score(same, (z @ z.T)[first, second]) > 0.9


def test_it_has_learnt_the_order_of_frames(encoder):
    clips = make_dynamic_clips(3, 1, n_frames=40, random_state=4)
    accuracy = encoder.ranking_accuracy(clips.data).mean(0)[1:]
    assert (accuracy > [0.97, 0.9, 0.75]).all()


def test_it_says_what_it_is():
    info = read_model_info("dynamics")
    assert {"data", "licence", "purpose", "recipe"} <= info["notes"].keys()
    assert "dynamics.safetensors" in _bundled.BUNDLED.with_name("LICENSE").read_text()
    assert _bundled.BUNDLED_BY_NAME["dynamics"].stat().st_size < 1e6


def test_the_name_of_a_file_that_is_there_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert isinstance(load_model("dynamics"), PersonDynamicsEncoder)
    monkeypatch.setitem(_bundled.BUNDLED_BY_NAME, "dynamics", tmp_path / "missing")
    with pytest.raises(WeightsError, match="not installed"):
        load_model("dynamics")
    (tmp_path / "dynamics").write_bytes(b"of mine")
    with pytest.raises(ModelFormatError, match="damaged, or not a model"):
        load_model("dynamics")
