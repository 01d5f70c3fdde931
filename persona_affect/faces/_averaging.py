"""Landmarks as the mean over boxes around a face: nearly the same at every size and place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ._detections import Detections
from ._refinement import follow_faces
from ._upright import Image, copy_upright

#: Shifts of the boxes along each axis, as a share of the side of the face.
_SHIFTS = (-0.05, 0.0, 0.05)
#: Scores above which a shifted box still shows the face that was found.
_THRESHOLDS = (0.1, 0.1, 0.1)
#: Side of a copy as a multiple of that of the face, and the largest side in pixels.
_EXTENT, _MAX_SIDE = 2.0, 1024
#: Faces whose copies are in memory at once.
_TOGETHER = 16


def average_landmarks(
    images: Sequence[Image],
    found: Sequence[Detections],
    which: Sequence[npt.NDArray[np.intp]],
    device: str,
) -> list[Detections]:
    """Replace landmarks by their mean over nine boxes, in an upright copy of each face.

    A network that finds landmarks in a small crop depends on where the crop lies, by about a
    hundredth of the face; and this place changes with the size of the picture.

    Parameters
    ----------
    images : sequence of uint8 arrays (H, W, 3)
    found : sequence of Detections
        The faces of each image.
    which : sequence of ndarray of int
        The indices of those whose landmarks are replaced.
    device : str
        Device of the networks.

    Returns
    -------
    list of Detections
        The same faces; a face that no box shows keeps its landmarks.
    """
    landmarks = [faces.landmarks.copy() for faces in found]
    todo = [(i, j) for i, faces in enumerate(which) for j in faces.tolist()]
    for start in range(0, len(todo), _TOGETHER):
        group = todo[start : start + _TOGETHER]
        copies, boxes, ways = [], [], []
        for i, j in group:
            corners = found[i].boxes[j].reshape(2, 2)
            size = float(np.ptp(corners, axis=0).max())
            scale = min(1.0, _MAX_SIDE / (_EXTENT * size))
            copy, matrix = copy_upright(
                images[i], landmarks[i][j], corners.mean(axis=0), size, _EXTENT, scale
            )
            copies += [copy] * len(_SHIFTS) ** 2
            boxes += _shifted(len(copy) / 2, size * scale)
            ways.append(matrix)
        seen = follow_faces(copies, boxes, thresholds=_THRESHOLDS, device=device)
        each = len(_SHIFTS) ** 2
        for number, ((i, j), matrix) in enumerate(zip(group, ways, strict=True)):
            mine = [faces.landmarks[0] for faces in seen[number * each :][:each] if len(faces)]
            if mine:
                mean = np.mean(mine, axis=0)
                landmarks[i][j] = (mean - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    return [replace(faces, landmarks=new) for faces, new in zip(found, landmarks, strict=True)]


def _shifted(middle: float, size: float) -> list[npt.NDArray[np.float32]]:
    """Return boxes (1, 4) of a side, around the middle of a copy."""
    return [
        np.array([[x - size / 2, y - size / 2, x + size / 2, y + size / 2]], np.float32)
        for x in middle + size * np.array(_SHIFTS)
        for y in middle + size * np.array(_SHIFTS)
    ]
