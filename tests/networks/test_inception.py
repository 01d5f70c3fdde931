"""The class of facenet-pytorch."""

import sys

import pytest
import torch

from persona_affect import JointAffectEstimator
from persona_affect.exceptions import InvalidImageError, MissingDependencyError, WeightsError
from persona_affect.networks import make_backbone


@pytest.fixture
def frames():
    return torch.randint(0, 256, (2, 150, 150, 3), dtype=torch.uint8)


def test_released_weights_load_without_their_classifier(facenet_pytorch, tmp_path, frames):
    source = make_backbone("inception_resnet_v1").eval()
    state = {**source.network.state_dict(), "logits.weight": torch.zeros(8631, 512)}
    torch.save(state, tmp_path / "vggface2.pt")
    loaded = make_backbone("inception_resnet_v1", tmp_path / "vggface2.pt").eval()

    with torch.inference_mode():
        embedding = loaded(frames)
        torch.testing.assert_close(embedding, source(frames))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))


def test_weights_of_another_network_are_refused(facenet_pytorch, tmp_path):
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt.*InceptionResnetV1"):
        make_backbone("inception_resnet_v1", tmp_path / "other.pt")
    with pytest.raises(ValueError, match="path"):
        make_backbone("inception_resnet_v1", "pretrained")


def test_other_sizes_are_refused(facenet_pytorch):
    with pytest.raises(InvalidImageError, match="resnet29"):
        make_backbone("inception_resnet_v1")(torch.zeros(1, 160, 160, 3))


def test_it_trains_as_a_fem(facenet_pytorch):
    faces = torch.randint(0, 256, (4, 150, 150, 3), dtype=torch.uint8).numpy()
    y = [[0.1, 0.2], [0.3, 0.1], [0.5, 0.9], [0.2, 0.4]]
    model = JointAffectEstimator("inception_resnet_v1", max_epochs=1, random_state=0)

    assert model.fit(faces, y).predict(faces).shape == (4, 2)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    with pytest.raises(MissingDependencyError, match="torchvision"):
        make_backbone("inception_resnet_v1")
