"""Boxes as (n, 4) arrays of x1, y1, x2, y2 in pixels.

The arithmetic is that of the published detector, which includes the edge pixel in some widths.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

#: Number of boxes that are compared with all others at once.
BLOCK = 128


def suppress(
    boxes: FloatArray, scores: FloatArray, threshold: float, *, by_smaller: bool = False
) -> npt.NDArray[np.intp]:
    """Apply greedy non-maximum suppression.

    Parameters
    ----------
    boxes : ndarray of shape (n, 4)
    scores : ndarray of shape (n,)
    threshold : float in [0, 1]
        A box that overlaps a kept one of higher score by more than this is dropped.
    by_smaller : bool, default=False
        Measure the overlap as a fraction of the smaller box, with edges, instead of the union.

    Returns
    -------
    ndarray of int
        The kept boxes, highest score first.
    """
    order = np.argsort(-scores, kind="stable")
    if by_smaller:
        # Saturated scores are often equal; here the published detector prefers the later box.
        order = np.argsort(scores, kind="stable")[::-1]
    edge = np.float32(by_smaller)
    x1, y1, x2, y2 = np.ascontiguousarray(boxes[order].T)
    area = (x2 - x1 + edge) * (y2 - y1 + edge)
    alive = np.ones(len(order), dtype=bool)
    # Most boxes overlap few others: for a block of boxes, find the pairs that overlap, and look at
    # these only.
    for start in range(0, len(order), BLOCK):
        block = start + np.flatnonzero(alive[start : start + BLOCK])
        rest = start + np.flatnonzero(alive[start:])
        b = block[:, np.newaxis]
        width = np.minimum(x2[b], x2[rest]) - np.maximum(x1[b], x1[rest]) + edge
        height = np.minimum(y2[b], y2[rest]) - np.maximum(y1[b], y1[rest]) + edge
        overlap = np.maximum(width, 0) * np.maximum(height, 0)
        union = area[b] + area[rest] - overlap
        whole = np.minimum(area[b], area[rest]) if by_smaller else union
        better, worse = np.nonzero(overlap > threshold * whole)
        better, worse = block[better], rest[worse]
        pairs = np.flatnonzero(better < worse)
        better, worse = better[pairs], worse[pairs]
        ends = np.flatnonzero(np.diff(better, append=-1)) + 1
        first = 0
        for last in ends.tolist():
            if alive[better[first]]:
                alive[worse[first:last]] = False
            first = last
    return order[alive]


def refine(boxes: FloatArray, offsets: FloatArray, *, edge: int) -> FloatArray:
    """Move the corners by `offsets` times the box's size, to which `edge` pixels are added."""
    size = boxes[:, 2:] - boxes[:, :2] + np.float32(edge)
    return boxes + offsets * np.tile(size, 2)


def make_square(boxes: FloatArray) -> FloatArray:
    """Extend each box around its centre to a square of its longer side."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + size * np.float32(0.5) - side * np.float32(0.5)
    return np.concatenate([corner, corner + side], axis=1)
