"""Packages that backbones import."""

import sys
from types import ModuleType

import pytest

TORCHVISION = ("", ".transforms", ".ops", ".ops.boxes")


@pytest.fixture
def facenet_pytorch(monkeypatch):
    """Makes facenet_pytorch importable, also without a torchvision that fits torch.

    An empty module takes its place: the network uses nothing of it.
    """
    for name in TORCHVISION:
        module = ModuleType(f"torchvision{name}")
        module.__dict__.update(transforms=module, functional=module, boxes=module)
        module.__dict__.update(batched_nms=None, nms=None, ToTensor=None, Compose=None)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "facenet_pytorch"]:
        del sys.modules[name]
