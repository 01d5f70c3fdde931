"""The class of facenet-pytorch, whose import wants a torchvision that fits torch.

Where there is none, an empty stand-in for torchvision lets the package be imported: its network
uses nothing of it.
"""

import sys
from types import ModuleType

import pytest
import torch

from persona_affect import JointAffectEstimator
from persona_affect.exceptions import InvalidImageError, MissingDependencyError, WeightsError
from persona_affect.networks import make_backbone

TORCHVISION = ("", ".transforms", ".ops", ".ops.boxes")


@pytest.fixture
def importable(monkeypatch):
    for name in TORCHVISION:
        module = ModuleType(f"torchvision{name}")
        module.__dict__.update(transforms=module, functional=module, boxes=module)
        module.__dict__.update(batched_nms=None, nms=None, ToTensor=None, Compose=None)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "facenet_pytorch"]:
        del sys.modules[name]


@pytest.fixture
def frames():
    return torch.randint(0, 256, (2, 150, 150, 3), dtype=torch.uint8)


def test_released_weights_load_without_their_classifier(importable, tmp_path, frames):
    source = make_backbone("inception_resnet_v1").eval()
    state = {**source.network.state_dict(), "logits.weight": torch.zeros(8631, 512)}
    torch.save(state, tmp_path / "vggface2.pt")
    loaded = make_backbone("inception_resnet_v1", tmp_path / "vggface2.pt").eval()

    with torch.inference_mode():
        embedding = loaded(frames)
        torch.testing.assert_close(embedding, source(frames))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))


def test_weights_of_another_network_are_refused(importable, tmp_path):
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt.*InceptionResnetV1"):
        make_backbone("inception_resnet_v1", tmp_path / "other.pt")
    with pytest.raises(ValueError, match="path"):
        make_backbone("inception_resnet_v1", "pretrained")


def test_other_sizes_are_refused(importable):
    with pytest.raises(InvalidImageError, match="resnet29"):
        make_backbone("inception_resnet_v1")(torch.zeros(1, 160, 160, 3))


def test_it_trains_as_a_fem(importable):
    faces = torch.randint(0, 256, (4, 150, 150, 3), dtype=torch.uint8).numpy()
    y = [[0.1, 0.2], [0.3, 0.1], [0.5, 0.9], [0.2, 0.4]]
    model = JointAffectEstimator("inception_resnet_v1", max_epochs=1, random_state=0)

    assert model.fit(faces, y).predict(faces).shape == (4, 2)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    with pytest.raises(MissingDependencyError, match="torchvision"):
        make_backbone("inception_resnet_v1")
