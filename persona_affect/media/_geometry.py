"""Frames of videos as they are shown: square pixels, upright, not mirrored."""

from __future__ import annotations

from itertools import product
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type

#: Pixels more stretched than this are a damaged header.
MAX_ASPECT: Final = 10.0

# What `np.rot90` and `np.fliplr` do to a point (right, down).
_TURN = np.array([[0, 1], [-1, 0]])
_MIRROR = np.array([[-1, 0], [0, 1]])
#: (quarter turns against the clock, mirrored first), and what that does to a point.
_ORIENTATIONS = {
    (turns, mirrored): np.linalg.matrix_power(_TURN, turns) @ (_MIRROR if mirrored else np.eye(2))
    for mirrored, turns in product((False, True), range(4))
}


def shown_size(frame: av.VideoFrame, aspect: float) -> tuple[int, int]:
    """Return width and height of a frame in square pixels, before it is turned.

    Parameters
    ----------
    frame : av.VideoFrame
    aspect : float
        Width of its pixels, by their height.
    """
    return max(round(frame.width * aspect), 1), frame.height


def pixel_aspect(stream: av.VideoStream) -> float:
    """Read the width of a stream's pixels, by their height; 1 where it is not known."""
    for ratio in (stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio):
        if ratio and 1 / MAX_ASPECT <= ratio <= MAX_ASPECT:
            return float(ratio)
    return 1.0


def upright(image: npt.NDArray[Any], matrix: npt.NDArray[np.int32] | None) -> npt.NDArray[np.uint8]:
    """Turn and mirror a frame as its display matrix says, to the nearest quarter turn.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
    matrix : ndarray of int, shape (9,), or None
        (a, b, u, c, d, v, x, y, w): a point (p, q) is shown at (a p + c q + x, b p + d q + y).
        Of zeros, it says nothing.
    """
    if matrix is None:
        return image
    a, b, _, c, d = matrix[:5].astype(float)
    shown = np.array([[a, c], [b, d]])
    # The first of those that are equally near: that which changes least.
    turns, mirrored = max(_ORIENTATIONS, key=lambda name: (shown * _ORIENTATIONS[name]).sum())
    return np.ascontiguousarray(np.rot90(np.fliplr(image) if mirrored else image, turns))


def display_matrix(frame: av.VideoFrame) -> npt.NDArray[np.int32] | None:
    """Read the display matrix of a frame, if it has one."""
    try:
        data = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    except ValueError:
        # PyAV does not know all that FFmpeg attaches to frames (EXIF), and fails on the whole.
        turns = round(frame.rotation / 90)
        turned = np.linalg.matrix_power(_TURN, turns % 4)
        return np.array([turned[0, 0], turned[1, 0], 0, turned[0, 1], turned[1, 1]], np.int32)
    return None if data is None else np.frombuffer(bytes(data), np.int32, 9)
