"""Area resizing by integral images: windows of any size with four look-ups each.

An output pixel is the plain mean of all input pixels that its window touches, which is how the
published detector shrinks (torch's ``interpolate(mode="area")``). OpenCV's INTER_AREA instead
weights edge pixels by the covered part, which would give other detections near the thresholds.

Results are float32 in [-1, 1], the input of the networks.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.intp]
FloatArray = npt.NDArray[np.float32]


class IntegralImage:
    """Sums of an RGB image over everything above and left of each pixel.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    """

    def __init__(self, image: npt.NDArray[np.uint8]) -> None:
        self.height, self.width = image.shape[:2]
        # A fourth, unused channel makes a pixel 16 bytes, which NumPy gathers several times faster
        # than 12. The sums overflow in large images, but their differences are right for windows
        # of fewer than 2**23 pixels.
        sums = cv2.integral(cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), sdepth=cv2.CV_32S)
        self._sums = sums.astype(np.int32, copy=False)

    def shrink(self, height: int, width: int, rows: slice, columns: int) -> FloatArray:
        """Shrink the whole image to (height, width), and return some of its rows.

        `rows` and `columns` may extend beyond the result; its edge is repeated there.

        Returns
        -------
        ndarray of float32, shape (rows, columns, 3)
        """
        index = np.arange(rows.start, rows.stop).clip(max=height - 1)
        top, bottom = find_windows(index, self.height, height)
        left, right = find_windows(np.arange(columns).clip(max=width - 1), self.width, width)
        strip = self._sums[bottom]
        strip -= self._sums[top]
        # (rows, W + 1) pixels of 16 bytes each.
        pixels = strip.view(np.complex128)[..., 0]
        cells = pixels.take(right, axis=1).view(np.int32)
        cells -= pixels.take(left, axis=1).view(np.int32)
        means = cells.astype(np.float32)
        means *= (1 / (128 * (bottom - top))).astype(np.float32)[:, np.newaxis]
        means *= np.repeat(1 / (right - left), 4).astype(np.float32)
        means -= np.float32(127.5 / 128)
        return _drop_fourth(means.reshape(len(index), columns, 4))

    def crop(self, boxes: IntArray, size: int) -> FloatArray:
        """Cut boxes out and resize each to (size, size).

        Parameters
        ----------
        boxes : ndarray of shape (n, 4)
            x1, y1, x2, y2, the ends outside, all within the image and not empty.
        size : int

        Returns
        -------
        ndarray of float32, shape (n, size, size, 3)
        """
        offset, length = boxes[:, :2, np.newaxis], (boxes[:, 2:] - boxes[:, :2])[..., np.newaxis]
        starts, ends = find_windows(np.arange(size), length, size)
        count = (ends - starts).astype(np.float32)
        stride = self.width + 1
        left, top = np.moveaxis(starts + offset, 1, 0)
        right, bottom = np.moveaxis(ends + offset, 1, 0)
        left, right = left[:, np.newaxis], right[:, np.newaxis]
        top, bottom = (top * stride)[..., np.newaxis], (bottom * stride)[..., np.newaxis]
        pixels = self._sums.view(np.complex128).reshape(-1)
        cells = pixels.take(bottom + right).view(np.int32)
        cells -= pixels.take(bottom + left).view(np.int32)
        cells -= pixels.take(top + right).view(np.int32)
        cells += pixels.take(top + left).view(np.int32)
        means = cells.astype(np.float32).reshape(len(boxes), size, size, 4)
        means *= 1 / (128 * count[:, 1, :, np.newaxis, np.newaxis])
        means *= 1 / count[:, 0, np.newaxis, :, np.newaxis]
        means -= np.float32(127.5 / 128)
        return _drop_fourth(means.reshape(-1, size, 4)).reshape(len(boxes), size, size, 3)


class LocalImage:
    """The same crops, in less time if they are few: sums over each box, not over the whole image.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    """

    def __init__(self, image: npt.NDArray[np.uint8]) -> None:
        self.height, self.width = image.shape[:2]
        self._image = image

    def crop(self, boxes: IntArray, size: int) -> FloatArray:
        """Cut boxes out and resize each; as `IntegralImage.crop`, and equal to it to the bit."""
        sides = boxes[:, 2:] - boxes[:, :2]
        if sides.prod(axis=1).sum() > self.height * self.width:
            return IntegralImage(self._image).crop(boxes, size)
        crops = np.empty((len(boxes), size, size, 3), np.float32)
        for crop, (x1, y1, x2, y2), side in zip(crops, boxes, sides, strict=True):
            whole = np.concatenate([np.zeros_like(side), side])[np.newaxis]
            crop[:] = IntegralImage(self._image[y1:y2, x1:x2]).crop(whole, size)[0]
        return crops


def find_windows(index: IntArray, length: IntArray | int, size: int) -> tuple[IntArray, IntArray]:
    """Return begin and end of the windows at `index`, of `size` windows over `length` pixels."""
    return index * length // size, -(-(index + 1) * length // size)


def _drop_fourth(pixels: FloatArray) -> FloatArray:
    if pixels.size == 0:
        return pixels[..., :3]
    return cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB).astype(np.float32, copy=False)
