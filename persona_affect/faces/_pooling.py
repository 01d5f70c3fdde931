"""Area resizing through integral images: any number of windows of any size, in a few look-ups.

An output pixel is the plain mean of the input pixels that its window touches, which is how the
published detector shrinks (torch's ``interpolate(mode="area")``); OpenCV's INTER_AREA weights the
pixels at the rim by the part covered, and gives other detections near the thresholds.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.intp]


def integral(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Return sums over all pixels above and left, shape (H + 1, W + 1, 3).

    They may wrap around in large images; their differences over windows of fewer than 2**23 pixels
    are right all the same.
    """
    return cv2.integral(image, sdepth=cv2.CV_32S).astype(np.int32, copy=False)


def resize_area(sums: npt.NDArray[np.int32], height: int, width: int) -> npt.NDArray[np.float32]:
    """Shrink the whole image to (height, width, 3), float32 in [-1, 1]."""
    top, bottom = _windows(np.array([0]), np.array([sums.shape[0] - 1]), height)
    left, right = _windows(np.array([0]), np.array([sums.shape[1] - 1]), width)
    rows = sums[bottom[0]] - sums[top[0]]
    cells = rows[:, right[0]] - rows[:, left[0]]
    count = np.outer(bottom - top, right - left)[..., np.newaxis]
    return _normalise(cells, count)


def crop_area(
    sums: npt.NDArray[np.int32], boxes: npt.NDArray[np.intp], size: int
) -> npt.NDArray[np.float32]:
    """Cut boxes (n, 4), x1 y1 x2 y2 with the ends outside, as (n, size, size, 3) in [-1, 1]."""
    left, right = _windows(boxes[:, 0], boxes[:, 2], size)
    top, bottom = _windows(boxes[:, 1], boxes[:, 3], size)
    flat = sums.reshape(-1, 3)
    stride = sums.shape[1]
    top_row, bottom_row = (top * stride)[:, :, np.newaxis], (bottom * stride)[:, :, np.newaxis]
    left, right = left[:, np.newaxis], right[:, np.newaxis]
    cells = flat.take(bottom_row + right, axis=0)
    cells -= flat.take(bottom_row + left, axis=0)
    cells -= flat.take(top_row + right, axis=0)
    cells += flat.take(top_row + left, axis=0)
    count = (bottom - top)[:, :, np.newaxis] * (right - left)
    return _normalise(cells, count[..., np.newaxis])


def _windows(start: IntArray, end: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """Return where the `size` windows over each [start, end) begin and end, shape (n, size)."""
    length = (end - start)[:, np.newaxis]
    index = np.arange(size)
    return (
        start[:, np.newaxis] + index * length // size,
        start[:, np.newaxis] - (-(index + 1) * length // size),
    )


def _normalise(cells: npt.NDArray[np.int32], count: IntArray) -> npt.NDArray[np.float32]:
    """Turn sums over `count` pixels of 0..255 into the networks' [-1, 1]."""
    means = cells / count.astype(np.float32)
    return ((means - 127.5) * 0.0078125).astype(np.float32, copy=False)
