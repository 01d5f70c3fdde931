"""The pooling of `_pooling.py` on a GPU: an image goes there once, and its crops stay there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ._pooling import IntArray, find_windows


class DeviceTable:
    """Sums of an RGB image over everything above and left of each pixel, in the memory of a GPU.

    Means are computed from the same integers by the same operations as in `IntegralImage`.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    device : str
        A device of torch.
    """

    def __init__(self, image: npt.NDArray[np.uint8], device: str) -> None:
        self.height, self.width = image.shape[:2]
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device)
        sums = pixels.cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32)
        self._sums = F.pad(sums, (0, 0, 1, 0, 1, 0))

    def shrink(self, height: int, width: int, rows: slice, columns: int) -> Tensor:
        """Shrink the whole image, and return some of its rows; as `IntegralImage.shrink`.

        Returns
        -------
        torch.Tensor of float32, shape (rows, columns, 3)
        """
        index = np.arange(rows.start, rows.stop).clip(max=height - 1)
        top, bottom = self._place(*find_windows(index, self.height, height))
        index = np.arange(columns).clip(max=width - 1)
        left, right = self._place(*find_windows(index, self.width, width))
        strip = self._sums[bottom] - self._sums[top]
        cells = strip[:, right] - strip[:, left]
        means = cells * (1 / (128 * (bottom - top).double())).float()[:, None, None]
        means *= (1 / (right - left).double()).float()[:, None]
        return means - 127.5 / 128

    def crop(self, boxes: IntArray, size: int) -> Tensor:
        """Cut boxes out and resize each to (size, size); as `IntegralImage.crop`.

        Returns
        -------
        torch.Tensor of float32, shape (n, size, size, 3)
        """
        offset, length = boxes[:, :2, np.newaxis], (boxes[:, 2:] - boxes[:, :2])[..., np.newaxis]
        starts, ends = find_windows(np.arange(size), length, size)
        begin, end = self._place(starts + offset, ends + offset)
        (left, top), (right, bottom) = begin.unbind(1), end.unbind(1)
        left, right = left[:, None], right[:, None]
        top, bottom = top[:, :, None], bottom[:, :, None]
        sums = self._sums
        cells = sums[bottom, right] - sums[bottom, left] - sums[top, right] + sums[top, left]
        count = (end - begin).float()
        means = cells * (1 / (128 * count[:, 1, :, None, None]))
        means *= 1 / count[:, 0, None, :, None]
        return means - 127.5 / 128

    def _place(self, *indices: IntArray) -> tuple[Tensor, ...]:
        """Bring indices of the same shape to the device, together."""
        device = self._sums.device
        return torch.from_numpy(np.stack(np.broadcast_arrays(*indices))).to(device).unbind()
