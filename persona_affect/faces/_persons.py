"""Which faces in the sampled frames of a clip show one person, and which person is taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from ._detections import Detections
from ._settings import FaceSettings, Image
from ._turned import ON_ITS_SIDE, Doubt, find_doubt

#: Faces of a frame that are kept, at most: those that `select` prefers. This bounds the memory.
CANDIDATES = 8
#: A face of the next sampled frame may be the same person's without looking alike if it has moved
#: by less than this share of its size, and its size has changed by less than this factor.
_NEAR, _FACTOR = 1.0, 2.0
#: Correlation above which two aligned faces look alike. Of the London set, neutral and smiling
#: portraits of one person had 0.83 and more, portraits of two persons 0.62 at the median.
_ALIKE = 0.7
#: Side in pixels of the small faces that are compared.
_LOOK_SIDE = 12


@dataclass
class _SeenFace:
    """A face of one frame."""

    face: Image
    box: npt.NDArray[np.floating]
    preference: float
    look: npt.NDArray[np.float32] | None = None


@dataclass
class _Person:
    """The faces of one person.

    Attributes
    ----------
    last : _SeenFace
    faces : list of uint8 arrays
        Aligned, in the order of the frames.
    numbers : list of int
        Numbers of their frames.
    times : list of float
        Their times in seconds.
    preference : float
        The sum over the frames.
    doubt : Doubt or None
        About the frame in which the face is turned most.
    is_upright : bool
        Whether a frame shows it upright without doubt.
    """

    last: _SeenFace
    faces: list[Image] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    preference: float = 0.0
    doubt: Doubt | None = None
    is_upright: bool = False

    def add(self, seen: _SeenFace, doubt: Doubt | None, number: int, time: float) -> None:
        self.last = seen
        self.faces.append(seen.face)
        self.numbers.append(number)
        self.times.append(time)
        self.preference += seen.preference
        if doubt is None:
            self.is_upright = True
        elif self.doubt is None or doubt.roll > self.doubt.roll:
            self.doubt = doubt


class ChosenFaces(NamedTuple):
    """The aligned faces of one person, the numbers and times of their frames, what is doubtful."""

    faces: list[Image]
    numbers: list[int]
    times: list[float]
    doubt: Doubt | None


class FaceChooser:
    """Collect the faces of a sample frame by frame, and choose one face clip among them.

    Sampled frames may be seconds apart. Boxes of one person then often do not overlap, so that a
    tracker of videos cannot pair them. Here, faces of two frames are paired so that place, size and
    look together change least (the Hungarian method). A face that is neither near nor looks alike
    is another person's.

    Parameters
    ----------
    settings : FaceSettings
    one_person : bool
        Whether all faces must be of one person. If False, a face is chosen in each frame.
    """

    def __init__(self, settings: FaceSettings, *, one_person: bool) -> None:
        self._settings, self._one_person = settings, one_person
        self._persons: list[_Person] = []

    def add(self, image: Image, faces: Detections, number: int = 0, time: float = 0.0) -> None:
        """Add the faces of the next frame, with its number and its time in seconds."""
        preferences = self._settings.rate_faces(faces, image)
        n_kept = CANDIDATES if self._one_person else 1
        kept = np.argsort(-preferences, kind="stable")[:n_kept]
        aligned = self._settings.align(image, faces.landmarks[kept])
        faces_seen = [
            _SeenFace(face, faces.boxes[i], float(preferences[i]))
            for face, i in zip(aligned, kept, strict=True)
        ]
        for person, seen, i in zip(self._pair(faces_seen), faces_seen, kept, strict=True):
            if person is None:
                self._persons.append(person := _Person(seen))
            person.add(seen, find_doubt(image, faces, int(i)), number, time)

    def choose(self) -> ChosenFaces:
        """Return the aligned faces of the person whom `select` prefers.

        That person has the highest sum over the frames: each frame with the person adds to it.
        """
        best = max(self._persons, key=lambda person: person.preference, default=None)
        if best is None:
            return ChosenFaces([], [], [], None)
        is_fine = best.doubt is None or (best.is_upright and best.doubt.roll <= ON_ITS_SIDE)
        doubt = None if is_fine else best.doubt
        return ChosenFaces(best.faces, best.numbers, best.times, doubt)

    def _pair(self, faces_seen: list[_SeenFace]) -> list[_Person | None]:
        """Return the known person of each face, or None for a new person."""
        pairs: list[_Person | None] = [None] * len(faces_seen)
        if not self._persons:
            return pairs
        if not self._one_person:
            return [self._persons[0]]
        costs = np.array([[_change(p.last, s) for s in faces_seen] for p in self._persons])
        for row, column in zip(*linear_sum_assignment(np.minimum(costs, 1e6)), strict=True):
            if np.isfinite(costs[row, column]):
                pairs[column] = self._persons[row]
        return pairs


def _change(before: _SeenFace, now: _SeenFace) -> float:
    """Return how much a face has changed; infinity if it cannot be the same person's."""
    sides = [np.sqrt(max(float(np.prod(s.box[2:] - s.box[:2])), 1.0)) for s in (before, now)]
    centres = [(s.box[:2] + s.box[2:]) / 2 for s in (before, now)]
    moved = float(np.hypot(*(centres[1] - centres[0])) / np.mean(sides))
    grown = abs(float(np.log2(sides[1] / sides[0])))
    alike = float(_look(before) @ _look(now))
    if (moved > _NEAR or grown > np.log2(_FACTOR)) and alike < _ALIKE:
        return np.inf
    return moved + grown + 4 * (1 - alike)


def _look(seen: _SeenFace) -> npt.NDArray[np.float32]:
    """Shrink a face to a unit vector, without its brightness and contrast."""
    if seen.look is None:
        small = cv2.resize(seen.face, (_LOOK_SIDE, _LOOK_SIDE), interpolation=cv2.INTER_AREA)
        values = small.astype(np.float32).ravel()
        values -= values.mean()
        seen.look = values / max(float(np.linalg.norm(values)), 1e-6)
    return seen.look
