import pytest
import torch
from torch import nn

from persona_affect.exceptions import WeightsError
from persona_affect.networks import (
    BACKBONES,
    SPHEREFACE_UNITS,
    Backbone,
    SphereFace,
    load_sphereface_weights,
    make_backbone,
)


def released_names(network):
    """Name the layers as the released file does, by walking the network in order."""
    names = {}
    for stage_index, stage in enumerate(network.stages, start=1):
        layer = 0
        for module in stage.modules():
            if isinstance(module, nn.Conv2d):
                layer += 1
                names[f"conv{stage_index}_{layer}"] = module
            elif isinstance(module, nn.PReLU):
                names[f"relu{stage_index}_{layer}"] = module
    return {**names, "fc5": network.fc5}


@pytest.mark.parametrize("depth", SPHEREFACE_UNITS)
def test_depth_counts_the_convolutions(depth):
    network = SphereFace(depth)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) == depth


def test_twenty_layers_have_the_published_size():
    n_weights = sum(p.numel() for p in SphereFace(20).parameters())
    assert n_weights == pytest.approx(22.7e6, rel=0.005)


def test_pixels_become_bgr_around_zero():
    frames = torch.zeros(1, 2, 2, 3, dtype=torch.uint8)
    frames[..., 0] = 255  # red
    x = SphereFace.preprocess(frames)
    assert x.shape == (1, 3, 2, 2)
    torch.testing.assert_close(x[0, :, 0, 0], torch.tensor([-127.5, -127.5, 127.5]) / 128)


def test_initialisation_is_the_published_one():
    torch.manual_seed(0)
    network = SphereFace(20)
    for stage in network.stages:
        down, _, *units = stage
        fan_in = down.weight[0].numel()
        assert down.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.05)
        for unit in units:
            for conv in unit.convs():
                assert conv.weight.std().item() == pytest.approx(0.01, rel=0.05)
                assert not conv.bias.requires_grad
                assert (conv.bias == 0).all()
    assert network.fc5.weight.std().item() == pytest.approx((512 * 7 * 6) ** -0.5, rel=0.05)


def test_residual_unit_is_the_papers_formula():
    unit = SphereFace(10).stages[1][2]
    x = torch.randn(1, 128, 4, 4)
    first, second = unit.convs()
    relus = [m for m in unit.modules() if isinstance(m, nn.PReLU)]
    torch.testing.assert_close(unit(x), x + relus[1](second(relus[0](first(x)))))


@pytest.mark.parametrize(("argument", "value"), [("depth", 21), ("input_size", (112, 97))])
def test_impossible_shapes_are_named(argument, value):
    with pytest.raises(ValueError, match=argument):
        SphereFace(**{argument: value})


def test_released_weights_load_by_their_names(tmp_path):
    source, target = SphereFace(20), SphereFace(20)
    state = {
        f"{name}.{part}": value
        for name, module in released_names(source).items()
        for part, value in module.state_dict().items()
    }
    assert {"conv1_1.weight", "relu3_9.weight", "conv4_3.bias", "fc5.weight"} <= set(state)
    state["fc6.weight"] = torch.zeros(512, 10574)  # the classifier, not the FEM's
    torch.save(state, tmp_path / "released.pth")
    load_sphereface_weights(target, tmp_path / "released.pth")
    frames = torch.randint(0, 256, (2, 112, 96, 3), dtype=torch.uint8)
    torch.testing.assert_close(target(frames), source(frames))


def test_own_state_dict_loads(tmp_path):
    source = SphereFace(4)
    torch.save(source.state_dict(), tmp_path / "own.pt")
    loaded = make_backbone("sphereface4", tmp_path / "own.pt")
    torch.testing.assert_close(loaded.fc5.weight, source.fc5.weight)


class Malicious:
    def __reduce__(self):
        return (pytest.fail, ("code from a weight file was run",))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b"not a torch file"),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save(SphereFace(10).state_dict(), path),
        lambda path: torch.save({"fc5.weight": Malicious()}, path),
        lambda path: None,
    ],
    ids=["noise", "no state dict", "other depth", "malicious", "missing"],
)
def test_bad_weight_files_are_named(tmp_path, write):
    path = tmp_path / "weights.pt"
    write(path)
    with pytest.raises(WeightsError, match=r"weights\.pt"):
        load_sphereface_weights(SphereFace(4), path)


def test_factory_must_return_a_backbone():
    with pytest.raises(ValueError, match="Backbone"):
        make_backbone(lambda: nn.Linear(2, 2))
    with pytest.raises(ValueError, match="resnet1000"):
        make_backbone("resnet1000")


@pytest.mark.parametrize("name", ["sphereface4", "sphereface10"])
def test_every_backbone_maps_frames_of_its_size_to_its_width(name):
    assert name in BACKBONES
    backbone = make_backbone(name)
    assert isinstance(backbone, Backbone)
    frames = torch.randint(0, 256, (2, *backbone.input_size, 3), dtype=torch.uint8)
    embedding = backbone(frames)
    assert embedding.shape == (2, backbone.n_features)
    torch.testing.assert_close(backbone(frames.float()), embedding)
