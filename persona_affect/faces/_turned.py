"""Pictures that are not upright although nothing says so: which of them to report.

The detector finds faces that are upright. In a picture on its side or upside down it finds no face,
or one with less confidence, whose landmarks may look upright. In a copy that is turned the right
way it finds the face with more confidence. Only doubtful pictures are looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from ._detections import Detections
from ._upright import (
    TURNED,
    Image,
    confidence_upright,
    copy_upright,
    measure_roll,
    turn_images,
)

#: Finds the faces of images, from a smallest size in pixels on.
Detect = Callable[[Sequence[Image], float], list[Detections]]

#: Confidence from which an upright face is not doubtful. Of 135 upright portraits 13 had less; of
#: the same ones on their side or upside down, all.
_CERTAIN: Final = 0.9995
#: Degrees of roll from which a face is doubtful, and those above which it is reported.
_TILTED: Final = 30.0
ON_ITS_SIDE: Final = 60.0
#: Confidence that a face needs in a turned copy, if one was found in the picture as it is and if
#: none was, and its highest roll in degrees: a head that leans by 60 degrees is no turned picture.
_ENOUGH, _ENOUGH_ALONE = 0.9, 0.99
_UPRIGHT: Final = 25.0
#: How many times the odds must be those of the face as it is. For portraits that were turned they
#: were 7.8 times as high and more; for upright ones, drawn faces too, 5.9 times and less.
_MORE: Final = 7.0
#: Side in pixels of the copies, around a face or of a whole picture, and of the smallest face.
_FACE_SIDE, _PICTURE_SIDE, _MIN_FACE = 256, 384, 20.0
#: Side of what is copied around a face, as a multiple of that of the face.
_EXTENT: Final = 2.5


@dataclass(frozen=True)
class Doubt:
    """A face, or a picture without one, that may not be upright.

    Attributes
    ----------
    view : uint8 array (H, W, 3)
        A small copy of it.
    roll : float
        By how many degrees the face is turned, to either side; 0 if there is none.
    has_face : bool
    copy : uint8 array (side, side, 3) or None
        If the face is turned, a small copy in which it is upright: a head may lean.
    """

    view: Image
    roll: float
    has_face: bool
    copy: Image | None = None


def find_doubt(image: Image, faces: Detections, chosen: int | None) -> Doubt | None:
    """Return what is doubtful about a face of an image, or about an image without a face.

    Parameters
    ----------
    image : uint8 array (H, W, 3)
    faces : Detections
        All that were found in it.
    chosen : int or None
        Which of them counts; None if there is none.
    """
    if chosen is None:
        return Doubt(_shrink(image, _PICTURE_SIDE), 0.0, False)
    roll = abs(float(measure_roll(faces.landmarks[[chosen]])[0]))
    if faces.scores[chosen] >= _CERTAIN and roll < _TILTED:
        return None
    low, high = faces.boxes[chosen].reshape(2, 2)
    size = float((high - low).max())
    centre, reach = (low + high) / 2, _EXTENT / 2 * size
    left, top = np.maximum(np.floor(centre - reach), 0).astype(int)
    right, bottom = np.ceil(centre + reach).astype(int)
    view = _shrink(image[top:bottom, left:right], _FACE_SIDE)
    if roll <= TURNED:
        return Doubt(view, roll, True)
    copy, _ = copy_upright(image, faces.landmarks[chosen], centre, size, _EXTENT)
    return Doubt(view, roll, True, _shrink(copy, _FACE_SIDE))


def describe_doubts(doubts: Sequence[Doubt | None], detect: Detect) -> list[str]:
    """Look at doubtful pictures in all four quarter turns, and say which are not upright.

    Parameters
    ----------
    doubts : sequence of Doubt or None
    detect : callable
        Finds the faces of images, from a smallest size in pixels on.

    Returns
    -------
    list of str
        For each doubt a sentence, or an empty one if the picture seems to be upright.
    """
    sentences = [""] * len(doubts)
    open_ = [(i, doubt) for i, doubt in enumerate(doubts) if doubt is not None]
    if not open_:
        return sentences
    views = [doubt.view for _, doubt in open_]
    ways = [detect(turn_images(views, turns), _MIN_FACE) for turns in range(4)]
    upright = np.array([[confidence_upright(faces, _UPRIGHT) for faces in way] for way in ways])
    leaning = [(n, doubt.copy) for n, (_, doubt) in enumerate(open_) if doubt.copy is not None]
    copies = detect([copy for _, copy in leaning], _MIN_FACE)
    for (n, _), faces in zip(leaning, copies, strict=True):
        upright[0, n] = max(upright[0, n], confidence_upright(faces, _UPRIGHT))
    for (i, doubt), confidences in zip(open_, upright.T, strict=True):
        best = int(np.argmax(confidences))
        odds = confidences / np.maximum(1 - confidences, 1e-7)
        enough = _ENOUGH if doubt.has_face else _ENOUGH_ALONE
        is_turned = confidences[best] >= enough and odds[best] >= _MORE * odds[0]
        sentences[i] = _describe(doubt, (90, 180, 90)[best - 1] if best and is_turned else 0)
    return sentences


def _describe(doubt: Doubt, degrees: int) -> str:
    if not doubt.has_face:
        if not degrees:
            return ""
        return (
            f"no face was found, but there is one if the picture is turned by {degrees} degrees; "
            'upright="search" does that.'
        )
    if doubt.roll <= ON_ITS_SIDE and not degrees:
        return ""
    roll = doubt.roll if doubt.roll > ON_ITS_SIDE else degrees
    return (
        f"the face is turned by {roll:.0f} degrees; if the picture is on its side or upside down, "
        'upright="search" turns it.'
    )


def _shrink(image: Image, side: int) -> Image:
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image.copy()
    size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
