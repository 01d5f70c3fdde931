"""Boxes as (n, 4) arrays of x1, y1, x2, y2 in pixels.

The arithmetic, with its pixel-inclusive widths here and there, is the published detector's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def suppress(
    boxes: FloatArray, scores: FloatArray, threshold: float, *, by_smaller: bool = False
) -> npt.NDArray[np.intp]:
    """Greedy non-maximum suppression.

    Parameters
    ----------
    boxes : ndarray of shape (n, 4)
    scores : ndarray of shape (n,)
    threshold : float in [0, 1]
        A box that overlaps a kept one of higher score by more than this is dropped.
    by_smaller : bool, default=False
        Measure the overlap as a share of the smaller box, edges included, rather than of the union.

    Returns
    -------
    ndarray of int
        The kept boxes, highest score first.
    """
    order = np.argsort(-scores, kind="stable")
    edge = np.float32(by_smaller)
    x1, y1, x2, y2 = np.ascontiguousarray(boxes[order].T)
    area = (x2 - x1 + edge) * (y2 - y1 + edge)
    alive = np.ones(len(order), dtype=bool)
    kept = []
    for i in range(len(order)):
        if not alive[i]:
            continue
        kept.append(i)
        rest = np.flatnonzero(alive[i + 1 :]) + (i + 1)
        width = np.minimum(x2[i], x2[rest]) - np.maximum(x1[i], x1[rest]) + edge
        height = np.minimum(y2[i], y2[rest]) - np.maximum(y1[i], y1[rest]) + edge
        overlap = np.maximum(width, 0) * np.maximum(height, 0)
        union = area[i] + area[rest] - overlap
        whole = np.minimum(area[i], area[rest]) if by_smaller else union
        alive[rest[overlap > threshold * whole]] = False
    return order[kept]


def refine(boxes: FloatArray, offsets: FloatArray, *, edge: int) -> FloatArray:
    """Move the corners by `offsets` times the box's size, to which `edge` pixels are added."""
    size = boxes[:, 2:] - boxes[:, :2] + np.float32(edge)
    return boxes + offsets * np.tile(size, 2)


def make_square(boxes: FloatArray) -> FloatArray:
    """Grow each box about its centre to a square of its longer side."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + size * np.float32(0.5) - side * np.float32(0.5)
    return np.concatenate([corner, corner + side], axis=1)
