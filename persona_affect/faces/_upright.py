"""Faces that are turned in their image: better landmarks, and images that lie on their side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from ._alignment import estimate_similarity
from ._detections import Detections
from ._mtcnn import PYRAMID_FACTOR
from ._templates import TEMPLATES

Image = npt.NDArray[np.uint8]
#: Finds faces near the boxes of each image.
Follow = Callable[[Sequence[Image], Sequence[npt.NDArray[np.floating]]], list[Detections]]

#: Finds the faces of copies, near boxes in them, from a smallest size in pixels on.
LookAgain = Callable[[Sequence[Image], Sequence[npt.NDArray[np.floating]], float], list[Detections]]

#: Degrees of roll above which a face is detected again, in an upright copy.
TURNED = 10.0
#: Degrees of roll in a copy above which another copy is made, and the most copies of one face.
_RESIDUAL, _ROUNDS = 5.0, 3
#: Side of a copy as a multiple of that of the face: for detectors that look for faces in all of it,
#: and for those that look near a box. The largest side in pixels.
_EXTENT, _EXTENT_NEAR, _MAX_SIDE = 2.5, 1.6, 2048
#: Copies that are in memory at once.
_TOGETHER = 16
#: Degrees of roll up to which a face is upright in a quarter turn of its image.
_UPRIGHT = 45.0


def measure_roll(landmarks: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return by how many degrees faces are turned in the image plane.

    Parameters
    ----------
    landmarks : ndarray of shape (n, 5, 2)

    Returns
    -------
    ndarray of shape (n,)
        In -180..180; 0 is upright, 90 a face whose chin points to the left.
    """
    matrix = estimate_similarity(landmarks, TEMPLATES["sphereface"].points())
    return -np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))


def is_turned(faces: Detections) -> npt.NDArray[np.bool_]:
    """Return which faces are turned so far that they are detected again, in an upright copy."""
    return np.abs(measure_roll(faces.landmarks)) > TURNED


def copy_upright(
    image: Image,
    landmarks: npt.NDArray[np.floating],
    centre: npt.NDArray[np.floating],
    size: float,
    extent: float,
    scale: float = 1.0,
) -> tuple[Image, npt.NDArray[np.float64]]:
    """Copy the surroundings of a face, turned so that it is upright.

    Parameters
    ----------
    image : uint8 array (H, W, 3)
    landmarks : ndarray of shape (5, 2)
        Of the face.
    centre : ndarray of shape (2,)
        Of its box.
    size : float
        Side of its box.
    extent : float
        Side of what is copied, as a multiple of `size`.
    scale : float, default=1.0
        Of the copy.

    Returns
    -------
    copy : uint8 array (side, side, 3)
    matrix : ndarray of shape (2, 3)
        What turns points of the image into those of the copy.
    """
    side = max(round(extent * size * scale), 1)
    roll = float(measure_roll(landmarks[None])[0])
    turn = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), roll, scale)
    matrix = turn.astype(np.float64, copy=False)
    matrix[:, 2] += side / 2 - centre
    copy = cv2.warpAffine(
        image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return copy.astype(np.uint8, copy=False), matrix


def refine_turned(
    images: Sequence[Image],
    found: Sequence[Detections],
    look_again: LookAgain,
    min_face_size: float,
    *,
    near: bool = False,
) -> list[Detections]:
    """Find the landmarks of turned faces again, in upright copies; boxes and scores stay.

    The detector learned from faces that are nearly upright. The more a face is turned, the more its
    landmarks differ from those that are found in the upright face.

    Parameters
    ----------
    images : sequence of uint8 arrays (H, W, 3)
    found : sequence of Detections
        The faces of each image.
    look_again : callable
        Finds the faces of copies: takes the copies, a box (1, 4) in each of them, and the smallest
        size in pixels.
    min_face_size : float
        The smallest size that was used to find the faces.
    near : bool, default=False
        Whether `look_again` looks near the boxes only: copies are then smaller.

    Returns
    -------
    list of Detections
        The same faces. Those that are turned by more than `TURNED` degrees have new landmarks,
        unless no face is found in the copy.
    """
    landmarks = [faces.landmarks for faces in found]
    todo = []
    for i, faces in enumerate(found):
        turned = np.flatnonzero(is_turned(faces))
        if len(turned):
            landmarks[i] = faces.landmarks.copy()
            todo += [(i, j, faces.boxes[j].reshape(2, 2)) for j in turned.tolist()]
    for _ in range(_ROUNDS):
        again = []
        for start in range(0, len(todo), _TOGETHER):
            group = todo[start : start + _TOGETHER]
            copies = [
                _Copy(images[i], landmarks[i][j], box, min_face_size, near=near)
                for i, j, box in group
            ]
            for (i, j, _), copy, seen in zip(
                group, copies, _detect_all(copies, look_again), strict=True
            ):
                nearest = copy.nearest(seen)
                if nearest is not None:
                    landmarks[i][j] = copy.to_image(seen.landmarks[nearest])
                    if abs(measure_roll(seen.landmarks[[nearest]])[0]) > _RESIDUAL:
                        again.append((i, j, copy.to_image(seen.boxes[nearest].reshape(2, 2))))
        todo = again
    return [replace(faces, landmarks=new) for faces, new in zip(found, landmarks, strict=True)]


class _Copy:
    """The surroundings of a face, turned so that it is upright, and not resized.

    At the same size the detector looks at the face in the same levels of its pyramid, so that it
    finds landmarks as close as possible to those of a face that was upright from the start.
    """

    def __init__(
        self,
        image: Image,
        landmarks: npt.NDArray[np.floating],
        box: npt.NDArray[np.floating],
        min_face_size: float,
        *,
        near: bool,
    ) -> None:
        extent = _EXTENT_NEAR if near else _EXTENT
        centre, size = box.mean(axis=0), float(np.ptp(box, axis=0).max())
        scale = min(1.0, _MAX_SIDE / (extent * size))
        self.pixels, self._matrix = copy_upright(image, landmarks, centre, size, extent, scale)
        self._side, self._size = len(self.pixels), size * scale
        # Leave out the levels for small faces; the others stay where they were.
        self.min_face_size = min_face_size * scale
        while not near and self.min_face_size / PYRAMID_FACTOR < 0.5 * self._size:
            self.min_face_size /= PYRAMID_FACTOR

    @property
    def box(self) -> npt.NDArray[np.float32]:
        """The box of the face in the copy, (1, 4): it has the same centre and size as before."""
        half = self._side / 2
        corners = [half - self._size / 2] * 2 + [half + self._size / 2] * 2
        return np.array([corners], np.float32)

    def nearest(self, faces: Detections) -> int | None:
        """Return the index of the face that this copy was made for; None if it was not found."""
        if len(faces) == 0:
            return None
        corners = faces.boxes.reshape(-1, 2, 2)
        away = np.hypot(*(corners.mean(axis=1) - self._side / 2).T)
        best = int(np.argmin(away))
        ratio = float(np.ptp(corners[best], axis=0).max()) / self._size
        return best if away[best] < 0.3 * self._size and 0.5 < ratio < 2 else None

    def to_image(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        back = cv2.invertAffineTransform(self._matrix)
        return points @ back[:, :2].T + back[:, 2]


def _detect_all(copies: Sequence[_Copy], look_again: LookAgain) -> list[Detections]:
    """Detect the faces of copies, those of one smallest size together."""
    found = [Detections.none() for _ in copies]
    for size in {copy.min_face_size for copy in copies}:
        group = [i for i, copy in enumerate(copies) if copy.min_face_size == size]
        pixels, boxes = [copies[i].pixels for i in group], [copies[i].box for i in group]
        for i, faces in zip(group, look_again(pixels, boxes, size), strict=True):
            found[i] = faces
    return found


def detect_in_turns(
    images: Sequence[Image], detect: Callable[[Sequence[Image]], list[Detections]]
) -> list[Detections]:
    """Detect faces in the four quarter turns of each image, and keep the turn that is upright.

    Parameters
    ----------
    images : sequence of uint8 arrays (H, W, 3)
    detect : callable
        Finds the faces of images.

    Returns
    -------
    list of Detections
        Of the turn with the most confident upright face, in pixels of the image as it was given;
        of the image itself where no turn shows an upright face.
    """
    return _keep_upright(images, [detect(turn_images(images, turns)) for turns in range(4)])


def follow_in_turns(
    images: Sequence[Image], boxes: Sequence[npt.NDArray[np.floating]], follow: Follow
) -> list[Detections]:
    """Find faces near boxes in the four quarter turns of each image; as `detect_in_turns`."""
    found = []
    for turns in range(4):
        turned = [
            _turn_boxes(own, image.shape[:2], turns)
            for image, own in zip(images, boxes, strict=True)
        ]
        found.append(follow(turn_images(images, turns), turned))
    return _keep_upright(images, found)


def turn_images(images: Sequence[Image], turns: int) -> list[Image]:
    """Turn images by quarter turns against the clock."""
    return [np.ascontiguousarray(np.rot90(image, turns)) for image in images]


def _keep_upright(
    images: Sequence[Image], found: Sequence[Sequence[Detections]]
) -> list[Detections]:
    kept = []
    for image, ways in zip(images, zip(*found, strict=True), strict=True):
        turns = max(range(4), key=lambda k: confidence_upright(ways[k]))
        kept.append(_turn_back(ways[turns], image.shape[:2], turns))
    return kept


def confidence_upright(faces: Detections, max_roll: float = _UPRIGHT) -> float:
    """Return the confidence of the most confident face that is upright; 0 without one."""
    upright = np.abs(measure_roll(faces.landmarks)) <= max_roll
    return float(faces.scores[upright].max(initial=0.0))


def _turn_back(faces: Detections, size: tuple[int, ...], turns: int) -> Detections:
    """Express what was found in ``np.rot90(image, turns)`` in pixels of the image, of `size`."""
    if turns == 0:
        return faces
    turned = size if turns == 2 else size[::-1]
    return replace(
        faces,
        boxes=_turn_boxes(faces.boxes, turned, 4 - turns),
        landmarks=_turn_points(faces.landmarks, turned, 4 - turns),
    )


def _turn_boxes(
    boxes: npt.NDArray[np.floating], size: tuple[int, ...], turns: int
) -> npt.NDArray[np.floating]:
    corners = _turn_points(boxes.reshape(-1, 2, 2), size, turns)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _turn_points(
    points: npt.NDArray[np.floating], size: tuple[int, ...], turns: int
) -> npt.NDArray[np.floating]:
    """Return the places of points (..., 2) of an image in ``np.rot90(image, turns)``."""
    height, width = size
    for _ in range(turns):
        points = np.stack([points[..., 1], width - 1 - points[..., 0]], axis=-1)
        height, width = width, height
    return points
