"""Augmentation of faces in training, on the device, one batch at a time."""

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

#: Half-widths of the uniform draws of `vary`; found on held-out faces, see docs/decisions.md.
_TURN = math.radians(10)
_SCALE, _STRETCH, _SHIFT = 0.10, 0.05, 0.08
_CONTRAST, _BRIGHTNESS, _COLOUR = 0.25, 25.0, 0.12


def mirror(frames: Tensor) -> Tensor:
    """Mirror each frame with probability one half, as the authors do.

    Parameters
    ----------
    frames : torch.Tensor of shape (n, h, w, 3)

    Returns
    -------
    torch.Tensor of the same shape and type
    """
    flipped = torch.rand(len(frames), device=frames.device) < 0.5
    return torch.where(flipped[:, None, None, None], frames.flip(2), frames)


def vary(frames: Tensor) -> Tensor:
    """Mirror, then rotate, scale, stretch and shift each frame a little, and change its light.

    Parameters
    ----------
    frames : torch.Tensor of shape (n, h, w, 3)
        RGB of 0..255.

    Returns
    -------
    torch.Tensor of the same shape, float32
    """
    images = mirror(frames).permute(0, 3, 1, 2).float()
    n, _, height, width = images.shape

    def draw(half_width: float, *shape: int) -> Tensor:
        return (torch.rand(n, *shape, device=images.device) * 2 - 1) * half_width

    angle, scale, stretch = draw(_TURN), 1 + draw(_SCALE), 1 + draw(_STRETCH)
    sin, cos = torch.sin(angle), torch.cos(angle)
    # Coordinates of affine_grid go from -1 to 1 along both sides; therefore the aspect ratios.
    rows = (
        torch.stack([cos * scale * stretch, -sin * scale * height / width, draw(_SHIFT)], 1),
        torch.stack([sin * scale * width / height, cos * scale, draw(_SHIFT)], 1),
    )
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    images = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * (1 + draw(_CONTRAST, 1, 1, 1)) + mean
    images = images * (1 + draw(_COLOUR, 3, 1, 1)) + draw(_BRIGHTNESS, 1, 1, 1)
    return images.clamp(0, 255).permute(0, 2, 3, 1)


AUGMENTATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {"vary": vary, "mirror": mirror}
