"""YuNet, a small network that finds faces, and its released weights.

Wu, Peng, Yu. *YuNet: A Tiny Millisecond-level Face Detector*, Machine Intelligence Research 2023.
The weights are those of the release of March 2023 in OpenCV's model zoo, which
``cv2.FaceDetectorYN`` runs as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..exceptions import WeightsError

#: The released weights, by `benchmarks/convert_yunet_weights.py`.
YUNET_FILE: Final = Path(__file__).parents[1] / "models" / "yunet.safetensors"
#: Pixels between the cells of each of the three outputs.
STRIDES: Final = (8, 16, 32)
#: Channels of an output: the logits of the class and of a face being there, box, five landmarks.
CLASS, BOX, THERE = slice(0, 1), slice(1, 5), slice(5, 6)


#: Pixels of an image, and cells of four by four pixels, that pass the first layers at once on a
#: processor. Their maps fit into its cache; new pages take as much time as the arithmetic.
STRIP_PIXELS, STRIP_CELLS = 2**16, 2**13


class _Unit(nn.Sequential):
    """A pointwise and a depthwise convolution."""

    def __init__(self, n_in: int, n_out: int, *, relu: bool = True) -> None:
        super().__init__(
            nn.Conv2d(n_in, n_out, 1), nn.Conv2d(n_out, n_out, 3, padding=1, groups=n_out)
        )
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        point, depth = self._convolutions()
        # With channels last, a pointwise convolution is a product of matrices. Torch's convolution
        # computes the same, but copies the maps first.
        x = F.linear(x.permute(0, 2, 3, 1), point.weight.flatten(1), point.bias)
        x = x.permute(0, 3, 1, 2)
        x = F.conv2d(x, depth.weight, depth.bias, padding=1, groups=len(depth.weight))
        return F.relu(x, inplace=True) if self.relu else x

    def _convolutions(self) -> tuple[nn.Conv2d, nn.Conv2d]:
        point, depth = self.children()
        assert isinstance(point, nn.Conv2d)
        assert isinstance(depth, nn.Conv2d)
        return point, depth


class YuNet(nn.Module):
    """Map images to cells that may hold the centre of a face.

    Maps (n, 3, H, W), BGR values of 0 to 255, with sides that are multiples of 32, to three maps
    (n, 16, H / s, W / s) for the strides s of 8, 16 and 32. The 16 channels of a cell: the logit
    that the object is a face; the box, its centre in cells from this cell and the logarithms of its
    width and height in cells; the logit that an object is there; and the landmarks in cells from
    this cell.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        widths = ((16, 16), (16, 16, 32), (32, 32, 64), (64, 64, 64), (64, 64, 64), (64, 64, 64))
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Unit(*pair) for pair in pairwise(ws))) for ws in widths
        )
        self.laterals = nn.ModuleList(_Unit(64, 64) for _ in STRIDES)
        self.heads = nn.ModuleList(_Unit(64, 16, relu=False) for _ in STRIDES)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = _in_strips(self._see_pixels, x, STRIP_PIXELS, factor=4)
        x = _in_strips(self._see_cells, x, STRIP_CELLS, factor=2)
        fine = self.stages[3](x)
        middle = self.stages[4](F.max_pool2d(fine, 2))
        coarse = self.stages[5](F.max_pool2d(middle, 2))
        coarse = self.laterals[2](coarse)
        middle = self.laterals[1](middle + F.interpolate(coarse, scale_factor=2))
        fine = self.laterals[0](fine + F.interpolate(middle, scale_factor=2))
        return [head(map_) for head, map_ in zip(self.heads, (fine, middle, coarse), strict=True)]

    def _see_pixels(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x.float()), inplace=True)
        return F.max_pool2d(self.stages[0](x), 2)

    def _see_cells(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.stages[2](self.stages[1](x)), 2)


def _in_strips(
    layers: Callable[[Tensor], Tensor], x: Tensor, area: int, *, factor: int, margin: int = 4
) -> Tensor:
    """Apply layers to strips of maps (n, c, H, W), with the same result as to all of them.

    `layers` make the maps smaller by `factor`. What lies more than `margin` rows away has no
    influence.
    """
    n, _, height, width = x.shape
    rows = max(area // (n * width) // factor, 2) * factor
    if rows >= height or x.device.type != "cpu":
        return layers(x)
    parts = []
    for start in range(0, height, rows):
        first, end = max(start - margin, 0), min(start + rows, height)
        part = layers(x[:, :, first : end + margin])
        parts.append(part[:, :, (start - first) // factor : (end - first) // factor])
    return torch.cat(parts, dim=2)


@lru_cache(maxsize=4)
def load_yunet(device: str) -> YuNet:
    """Return the network with its released weights, loaded once for each device; it takes RGB.

    Raises
    ------
    WeightsError
        If the file of this package is missing or damaged.
    """
    network = YuNet()
    try:
        network.load_state_dict(load_file(YUNET_FILE))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(
            f"the weights of YuNet cannot be read ({error}); install this package again."
        ) from error
    network = network.eval().requires_grad_(False)
    # The release takes BGR.
    network.stem.weight.data = network.stem.weight.data.flip(1)
    return network.to(device=torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]


@lru_cache(maxsize=1)
def yunet_digest() -> str:
    """Compute a SHA-256 checksum of the released weights."""
    return hashlib.sha256(YUNET_FILE.read_bytes()).hexdigest()
