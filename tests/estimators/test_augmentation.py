import pytest
import torch

from persona_affect.estimators import _augmentation
from persona_affect.estimators._augmentation import AUGMENTATIONS, mirror, vary


def draw(*shape):
    return torch.rand(64, *shape)


@pytest.fixture
def frames():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (64, 12, 10, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shape_and_range_are_kept_and_the_seed_repeats(name, frames):
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(AUGMENTATIONS[name](frames, draw))
    assert results[0].shape == frames.shape
    assert results[0].min() >= 0
    assert results[0].max() <= 255
    assert torch.equal(*results)


def test_mirror_flips_about_half(frames):
    mirrored = mirror(frames, draw)
    flipped = (mirrored == frames.flip(2)).flatten(1).all(1)
    kept = (mirrored == frames).flatten(1).all(1)
    assert (flipped ^ kept).all()
    assert 16 < flipped.sum() < 48


def test_without_width_only_the_mirror_is_left(frames, monkeypatch):
    for width in ("_TURN", "_SCALE", "_STRETCH", "_SHIFT", "_CONTRAST", "_BRIGHTNESS", "_COLOUR"):
        monkeypatch.setattr(_augmentation, width, 0.0)
    varied = vary(frames, draw)
    upright = (varied - frames).abs().flatten(1).amax(1)
    turned = (varied - frames.flip(2)).abs().flatten(1).amax(1)
    assert torch.minimum(upright, turned).max() < 0.01


def test_a_turn_keeps_the_proportions_of_a_tall_face(monkeypatch):
    for width in ("_SCALE", "_STRETCH", "_SHIFT", "_CONTRAST", "_BRIGHTNESS", "_COLOUR"):
        monkeypatch.setattr(_augmentation, width, 0.0)
    monkeypatch.setattr(_augmentation, "_TURN", torch.pi)
    rows, columns = torch.meshgrid(torch.arange(60.0), torch.arange(40.0), indexing="ij")
    disc = ((rows - 29.5) ** 2 + (columns - 19.5) ** 2 < 9**2).float() * 255
    frames = disc[None, :, :, None].expand(64, -1, -1, 3).contiguous()
    # A round disc stays where it is; turned in unequal axes, it would differ by more than 7.
    assert (vary(frames, draw) - frames).abs().mean() < 5
