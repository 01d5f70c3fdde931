"""Augmentation of faces in training, on the device, one batch at a time."""

import math
from collections.abc import Callable
from typing import Final, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from persona_affect._ranks import n_ranks

from ._ranks import own_rows

Draw: TypeAlias = Callable[..., Tensor]

#: Half-widths of the uniform draws of `vary`; found on held-out faces, see docs/decisions.md.
_TURN = math.radians(10)
_SCALE, _STRETCH, _SHIFT = 0.10, 0.05, 0.08
_CONTRAST, _BRIGHTNESS, _COLOUR = 0.25, 25.0, 0.12


def mirror(frames: Tensor, draw: Draw) -> Tensor:
    """Mirror each frame with probability one half, as the authors do.

    Parameters
    ----------
    frames : torch.Tensor of shape (n, h, w, 3)
    draw : callable
        ``draw(*shape)`` gives uniform numbers in [0, 1), of shape (n, *shape).

    Returns
    -------
    torch.Tensor of the same shape and type
    """
    flipped = draw() < 0.5
    return torch.where(flipped[:, None, None, None], frames.flip(2), frames)


def vary(frames: Tensor, draw: Draw) -> Tensor:
    """Mirror, then rotate, scale, stretch and shift each frame a little, and change its light.

    Parameters
    ----------
    frames : torch.Tensor of shape (n, h, w, 3)
        RGB of 0..255.
    draw : callable
        As of `mirror`.

    Returns
    -------
    torch.Tensor of the same shape, float32
    """
    images = mirror(frames, draw).permute(0, 3, 1, 2).float()
    height, width = images.shape[2:]

    def spread(half_width: float, *shape: int) -> Tensor:
        return (draw(*shape) * 2 - 1) * half_width

    angle, scale, stretch = spread(_TURN), 1 + spread(_SCALE), 1 + spread(_STRETCH)
    sin, cos = torch.sin(angle), torch.cos(angle)
    # Coordinates of affine_grid go from -1 to 1 along both sides; therefore the aspect ratios.
    rows = (
        torch.stack([cos * scale * stretch, -sin * scale * height / width, spread(_SHIFT)], 1),
        torch.stack([sin * scale * width / height, cos * scale, spread(_SHIFT)], 1),
    )
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    images = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * (1 + spread(_CONTRAST, 1, 1, 1)) + mean
    images = images * (1 + spread(_COLOUR, 3, 1, 1)) + spread(_BRIGHTNESS, 1, 1, 1)
    return images.clamp(0, 255).permute(0, 2, 3, 1)


AUGMENTATIONS: Final = {"vary": vary, "mirror": mirror}


def augment(kind: str, frames: Tensor, clip: Tensor) -> Tensor:
    """Augment the frames of a batch that this rank has.

    Every rank draws for the whole batch and uses its own rows, so that the number of ranks changes
    nothing.

    Parameters
    ----------
    kind : {"vary", "mirror"}
    frames : torch.Tensor of shape (n_own, h, w, 3)
    clip : torch.Tensor of shape (n_frames,), int64
        For each frame of the whole batch, the position of its sample in the batch.
    """
    rows = own_rows(clip).to(frames.device) if n_ranks() > 1 else slice(None)

    def draw(*shape: int) -> Tensor:
        return torch.rand(len(clip), *shape, device=frames.device)[rows]

    return AUGMENTATIONS[kind](frames, draw)
