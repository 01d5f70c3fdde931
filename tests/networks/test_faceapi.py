import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from persona_affect.exceptions import InvalidImageError
from persona_affect.networks import FaceApi, make_backbone
from persona_affect.networks._faceapi import FACEAPI_PARTS, load_faceapi_weights

HERE = Path(__file__).parent
WIDTHS = {"expression": 256, "age_gender": 512}


@pytest.fixture(params=FACEAPI_PARTS)
def part(request):
    return request.param


@pytest.fixture
def frames():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 150, 150, 3), dtype=torch.uint8, generator=generator)


def released(part, **settings):
    return load_faceapi_weights(FaceApi(part, **settings)).eval()


def drawn_faces():
    """Pixels of 0..255, (n, 3, 112, 112), and what face-api.js sees in them, by part."""
    chips = json.loads((HERE / "resnet29_reference.json").read_text())["chips"]
    seen = json.loads((HERE / "faceapi_reference.json").read_text())["chips"]
    assert chips.keys() == seen.keys()
    pixels = [np.frombuffer(base64.b64decode(c["pixels"]), np.uint8) for c in chips.values()]
    small = np.stack(pixels).reshape(-1, 30, 30, 3)
    images = small.repeat(4, axis=1).repeat(4, axis=2)[:, :112, :112].astype(np.float32)
    expected = {part: np.array([face[part] for face in seen.values()]) for part in FACEAPI_PARTS}
    return torch.from_numpy(images).permute(0, 3, 1, 2), expected


def test_maps_are_those_of_face_api_js(part):
    """Up to the half precision that our copy of the weights is kept in."""
    images, expected = drawn_faces()
    network = released(part)
    with torch.no_grad():
        _, last = network.network((images - network.mean[:, None, None]) / 255)
    found = last.mean((2, 3)).numpy()
    assert found.shape == (3, WIDTHS[part]) == expected[part].shape
    np.testing.assert_allclose(found, expected[part], atol=2e-3 * expected[part].max())
    # The drawn faces differ far more from one another than that.
    assert np.abs(expected[part][0] - expected[part][1]).max() > 0.02 * expected[part].max()


def test_features_are_blocks_of_unit_length(part, frames):
    network = released(part, crops=(1.0, 0.6))
    with torch.no_grad():
        features = network(frames)
    assert features.shape == (2, network.n_features)
    width = WIDTHS[part]
    lengths = [block.norm(dim=1) for block in features.split([width, 2048] * 2, dim=1)]
    torch.testing.assert_close(torch.stack(lengths), torch.ones(4, 2))


def test_a_crop_sees_the_centre_alone(part, frames):
    inside, outside = frames.clone(), frames.clone()
    inside[:, 70:80, 70:80] = 0
    outside[:, :15] = 0
    network = released(part, crops=0.5)
    with torch.no_grad():
        plain = network(frames)
        torch.testing.assert_close(network(outside), plain)
        assert not torch.allclose(network(inside), plain)


def test_by_name_with_weights(part, frames):
    by_name = make_backbone(f"faceapi_{part}", "pretrained", crops=(0.8,)).eval()
    with torch.no_grad():
        torch.testing.assert_close(by_name(frames), released(part, crops=0.8)(frames))


def test_what_it_cannot_be(part, tmp_path):
    with pytest.raises(ValueError, match="part='smile': choose among"):
        FaceApi("smile")
    with pytest.raises(ValueError, match=r"no option 'levels': its options are \['crops'\]"):
        make_backbone(f"faceapi_{part}", levels="pooled")
    with pytest.raises(ValueError, match='must be "pretrained" or None'):
        make_backbone(f"faceapi_{part}", tmp_path / "other.pt")
    with pytest.raises(InvalidImageError, match=r"not \(1, 112, 112, 3\)"):
        FaceApi(part)(torch.zeros(1, 112, 112, 3))
    with pytest.raises(ValueError, match=r"crops=1.5: give fractions"):
        FaceApi(part, crops=1.5)
