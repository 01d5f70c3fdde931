import subprocess
import sys

import pytest
import torch

from persona_affect.exceptions import WeightsError
from persona_affect.faces import _mtcnn_networks
from persona_affect.faces._mtcnn_networks import FusedPNet, PNet, load_networks


@pytest.mark.parametrize("height", [12, 13, 40, 41])
@pytest.mark.parametrize("width", [12, 15, 50, 51])
def test_fused_network_equals_the_published_one(height, width):
    torch.manual_seed(0)
    published = PNet().eval()
    for parameter in published.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(2, 3, height, width)
    # What fills up an odd image must not matter.
    even = torch.full((2, 3, height + height % 2, width + width % 2), 1e3)
    even[:, :, :height, :width] = x
    with torch.inference_mode():
        expected = published(x)
        fused = FusedPNet(published)
        places, values = fused(even, float("-inf"), height % 2 == 1, width % 2 == 1)
        some, some_values = fused(even, 0.0, height % 2 == 1, width % 2 == 1)
    assert len(places) == expected[:, 0].numel()
    image, row, column = places.T
    torch.testing.assert_close(values, expected[image, :, row, column], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(some_values, values[values[:, 0] >= 0])
    torch.testing.assert_close(some, places[values[:, 0] >= 0])


def test_networks_are_loaded_once():
    assert load_networks("cpu") is load_networks("cpu")


def test_missing_weights_say_what_to_install(monkeypatch):
    def missing(name):
        raise _mtcnn_networks.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(_mtcnn_networks.metadata, "distribution", missing)
    with pytest.raises(WeightsError, match="pip install facenet-pytorch"):
        load_networks.__wrapped__("cpu")


def test_neither_torchvision_nor_facenet_pytorch_is_imported():
    code = (
        "import sys, persona_affect.faces as f; f.FaceAligner().detect([]);"
        "sys.exit(bool({'torchvision', 'facenet_pytorch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
