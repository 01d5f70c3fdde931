"""What makes a face hard to judge: few pixels, blur, pose, a detector that is not sure."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ._alignment import estimate_similarity
from ._detections import Detections

#: Eyes, tip of the nose and corners of the mouth of an average head: right, down, towards the
#: viewer. After the six points that are in common use with OpenCV's ``solvePnP``, with the middles
#: of the eyes instead of their outer corners.
_HEAD = np.array(
    [[-165, -170, -135], [165, -170, -135], [0, 0, 0], [-130, 150, -125], [130, 150, -125]],
    dtype=np.float64,
)
#: Distance of the eyes, in pixels, at which sharpness is measured; smaller faces keep their size.
_EYES = 32.0
#: The square around the face, in distances of the eyes.
_SQUARE = 2.5
#: Side of the blocks of JPEG, and of the smallest box in which they are looked for.
_BLOCK, _LEAST = 8, 32


@dataclass(frozen=True, eq=False)
class FaceQuality:
    """Measures of the faces of one photo, each of shape (n_faces,).

    Attributes
    ----------
    width : ndarray of shape (n_faces,)
        Of the face's box, in pixels.
    sharpness : ndarray of shape (n_faces,)
        Standard deviation of the details finer than about a thirtieth of the face, relative to that
        of the whole face; it does not depend on contrast. In faces with less than 32 pixels between
        the eyes, details of about one pixel count. About 0.2 for a sharp portrait, and less than
        0.1 for a blurred one.
    yaw, pitch, roll : ndarray of shape (n_faces,)
        In degrees, from five landmarks and an average head. Yaw is positive where the nose points
        to the viewer's right, pitch where it points down, and roll is positive clockwise. Yaw has
        an error of some 10 degrees, pitch of more.
    confidence : ndarray of shape (n_faces,)
        Of the detector, in [0, 1].
    blockiness : ndarray of shape (n_faces,)
        Steps between the blocks of 8 pixels that compression leaves, relative to those between
        other pixels: about 1.1 for a photo, 1.7 for a JPEG of quality 30, 3 for one of quality 10.
        Other pixels hide the blocks if a photo was made smaller, rotated or blurred afterwards; 1
        for a face of less than 32 pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.faces import Detections, measure_quality
    >>> photo = np.full((120, 110, 3), 128, np.uint8)
    >>> quality = measure_quality(photo, Detections.none())
    >>> quality.width.shape
    (0,)
    """

    width: npt.NDArray[np.float64]
    sharpness: npt.NDArray[np.float64]
    yaw: npt.NDArray[np.float64]
    pitch: npt.NDArray[np.float64]
    roll: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]
    blockiness: npt.NDArray[np.float64]


def measure_quality(image: npt.NDArray[np.uint8], faces: Detections) -> FaceQuality:
    """Measure what makes the faces of a photo hard to judge.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The photo, RGB.
    faces : Detections
        As :meth:`FaceAligner.detect_frames` finds them in it.

    Returns
    -------
    FaceQuality
        In the order of `faces`.

    Examples
    --------
    >>> from persona_affect import FaceAligner
    >>> from persona_affect.datasets import make_affect_faces
    >>> from persona_affect.faces import measure_quality
    >>> photo = make_affect_faces(1, random_state=0).data[0]
    >>> (faces,) = FaceAligner().detect_frames([photo])
    >>> quality = measure_quality(photo, faces)
    >>> bool(abs(quality.yaw[0]) < 30)
    True
    """
    yaw, pitch, roll = estimate_pose(faces.landmarks)
    return FaceQuality(
        width=(faces.boxes[:, 2] - faces.boxes[:, 0]).astype(np.float64),
        sharpness=np.array([_sharpness(image, points) for points in faces.landmarks], np.float64),
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        confidence=faces.scores.astype(np.float64),
        blockiness=np.array([_blockiness(image, box) for box in faces.boxes], np.float64),
    )


def estimate_pose(
    landmarks: npt.NDArray[np.floating],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Estimate yaw, pitch and roll in degrees from five landmarks, by weak perspective.

    Parameters
    ----------
    landmarks : ndarray of shape (n, 5, 2)
        In the order of :class:`Detections`.

    Returns
    -------
    yaw, pitch, roll : ndarray of shape (n,)
        As in :class:`FaceQuality`; NaN where all landmarks are the same.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.faces import estimate_pose
    >>> landmarks = np.array([[[38, 52], [74, 52], [56, 72], [42, 92], [70, 92]]])
    >>> yaw, pitch, roll = estimate_pose(landmarks)
    >>> float(abs(yaw[0]).round()), float(abs(roll[0]).round())
    (0.0, 0.0)
    """
    points = np.asarray(landmarks, dtype=np.float64)
    head = _HEAD - _HEAD.mean(axis=0)
    # The two rows of a camera that maps the head onto the landmarks with least squares.
    rows = np.einsum("kj,nki->nij", np.linalg.pinv(head).T, points - points.mean(1, keepdims=True))
    scale = np.sqrt(np.linalg.norm(rows[:, 0, :2], axis=1) ** 2 + rows[:, 0, 2] ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = rows / scale[:, None, None]
    roll = np.arctan2(rows[:, 1, 0], rows[:, 0, 0])
    cosine, sine = np.cos(roll)[:, None], np.sin(roll)[:, None]
    right = cosine * rows[:, 0] + sine * rows[:, 1]
    down = cosine * rows[:, 1] - sine * rows[:, 0]
    yaw = np.arctan2(right[:, 2], right[:, 0])
    pitch = np.arctan2(down[:, 2], down[:, 1])
    return np.degrees(yaw), np.degrees(pitch), np.degrees(roll)


def _blockiness(image: npt.NDArray[np.uint8], box: npt.NDArray[np.floating]) -> float:
    left, top, right, bottom = np.maximum(np.round(box), 0).astype(int)
    part = image[top:bottom, left:right]
    if min(part.shape[:2]) < _LEAST:
        return 1.0
    grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32)
    # Edges of a face run along one direction at most; the grid is seen in both. Where it begins is
    # not known of a picture that was cropped.
    return min(_steps_at_grid(np.abs(np.diff(way)).mean(axis=0)) for way in (grey, grey.T))


def _steps_at_grid(steps: npt.NDArray[np.floating]) -> float:
    """Compare the steps at every eighth place with those between, for the strongest such grid."""
    whole = steps[: len(steps) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).mean(axis=0)
    at, between = whole, (whole.sum() - whole) / (_BLOCK - 1)
    # A picture of one colour has no steps.
    return float(np.max(at / np.maximum(between, 1e-3))) if whole.any() else 1.0


def _sharpness(image: npt.NDArray[np.uint8], points: npt.NDArray[np.floating]) -> float:
    # The same part of each face, upright, at one scale, and never enlarged.
    eyes = float(np.hypot(*(points[1] - points[0]).astype(np.float64)))
    distance = max(min(eyes, _EYES), 4.0)
    side = round(_SQUARE * distance)
    middle = (side - 1) / 2
    target = np.array([[middle - distance / 2, middle - distance / 2], [middle + distance / 2] * 2])
    target[1, 1] = target[0, 1]
    matrix = estimate_similarity(points[None, :2], target)[0]
    step = int(eyes // distance)
    if step > 1:
        # Every pixel counts: otherwise noise and fine lines look like details.
        low = np.floor(points.min(axis=0) - 2 * eyes).astype(int)
        high = np.ceil(points.max(axis=0) + 2 * eyes).astype(int)
        (left, top), (right, bottom) = np.maximum(low, 0), high
        part = image[top:bottom, left:right]
        size = max(part.shape[1] // step, 1), max(part.shape[0] // step, 1)
        image = cv2.resize(part, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        ratio = np.array([part.shape[1] / size[0], part.shape[0] / size[1]])
        shift = matrix[:, :2] @ (np.array([left, top]) + 0.5 * ratio - 0.5) + matrix[:, 2]
        matrix = np.column_stack([matrix[:, :2] * ratio, shift])
    face = cv2.warpAffine(
        image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    details = grey - cv2.GaussianBlur(grey, (0, 0), 1.0)
    return float(details.std() / max(float(grey.std()), 1.0))
