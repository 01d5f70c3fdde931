"""Who is who in the sampled frames of a clip, and whose face is taken."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from ._detections import Detections
from ._settings import FaceSettings, Image
from ._upright import measure_roll

#: Faces of a frame that may be the person: those that `select` prefers. The others are no memory.
CANDIDATES = 8
#: Moved by less than this share of its size, and shrunk or grown by less than this factor from one
#: sampled frame to the next, a face is the same person's; otherwise it must also look alike.
_NEAR, _FACTOR = 1.0, 2.0
#: Correlation above which two aligned faces look alike. Of the London set, neutral and smiling
#: portraits of one person had 0.83 and more, portraits of two persons 0.62 at the median.
_ALIKE = 0.7
#: Side in pixels at which the looks are compared.
_LOOK = 12


@dataclass
class _Sighting:
    """A face of one frame."""

    face: Image
    box: npt.NDArray[np.floating]
    preference: float
    roll: float
    look: npt.NDArray[np.float32] | None = None


@dataclass
class _Person:
    """The sightings of one person.

    Attributes
    ----------
    last : _Sighting
    faces : list of uint8 arrays
        Aligned, in the order of the frames.
    preference : float
        The sum over the frames.
    roll : float
        The largest, in degrees to either side.
    """

    last: _Sighting
    faces: list[Image] = field(default_factory=list)
    preference: float = 0.0
    roll: float = 0.0

    def add(self, sighting: _Sighting) -> None:
        self.last = sighting
        self.faces.append(sighting.face)
        self.preference += sighting.preference
        self.roll = max(self.roll, sighting.roll)


class FaceChooser:
    """Collect the faces of a sample frame by frame, and choose one face clip among them.

    Sampled frames may lie seconds apart, where the overlap of boxes that a tracker of videos uses
    says little. Faces of two frames are paired so that place, size and look together change least
    (the Hungarian method); a face that neither stays near nor looks alike is another person's.

    Parameters
    ----------
    settings : FaceSettings
    one_person : bool
        Whether all faces must be of one person; else each frame has its own choice.
    """

    def __init__(self, settings: FaceSettings, *, one_person: bool) -> None:
        self._settings, self._one_person = settings, one_person
        self._persons: list[_Person] = []

    def add(self, image: Image, faces: Detections) -> None:
        """Take in the faces of the next frame."""
        preferences = self._settings.rate(faces, image)
        n_kept = CANDIDATES if self._one_person else 1
        kept = np.argsort(-preferences, kind="stable")[:n_kept]
        rolls = measure_roll(faces.landmarks)
        aligned = self._settings.align(image, faces.landmarks[kept])
        sightings = [
            _Sighting(face, faces.boxes[i], float(preferences[i]), abs(float(rolls[i])))
            for face, i in zip(aligned, kept, strict=True)
        ]
        for person, sighting in zip(self._pair(sightings), sightings, strict=True):
            if person is None:
                self._persons.append(person := _Person(sighting))
            person.add(sighting)

    def choose(self) -> tuple[list[Image], float]:
        """Return the aligned faces of the person whom `select` prefers, and their largest roll.

        Preferred is who has the highest sum over the frames: being seen longer counts for more.
        """
        best = max(self._persons, key=lambda person: person.preference, default=None)
        return ([], 0.0) if best is None else (best.faces, best.roll)

    def _pair(self, sightings: list[_Sighting]) -> list[_Person | None]:
        """Return the known person of each sighting, or None for a new one."""
        pairs: list[_Person | None] = [None] * len(sightings)
        if not self._persons:
            return pairs
        if not self._one_person:
            return [self._persons[0]]
        costs = np.array([[_change(p.last, s) for s in sightings] for p in self._persons])
        for row, column in zip(*linear_sum_assignment(np.minimum(costs, 1e6)), strict=True):
            if np.isfinite(costs[row, column]):
                pairs[column] = self._persons[row]
        return pairs


def _change(before: _Sighting, now: _Sighting) -> float:
    """Return how much a face has changed, and infinity if it cannot be the same person's."""
    sides = [np.sqrt(max(float(np.prod(s.box[2:] - s.box[:2])), 1.0)) for s in (before, now)]
    centres = [(s.box[:2] + s.box[2:]) / 2 for s in (before, now)]
    moved = float(np.hypot(*(centres[1] - centres[0])) / np.mean(sides))
    grown = abs(float(np.log2(sides[1] / sides[0])))
    alike = float(_look(before) @ _look(now))
    if (moved > _NEAR or grown > np.log2(_FACTOR)) and alike < _ALIKE:
        return np.inf
    return moved + grown + 4 * (1 - alike)


def _look(sighting: _Sighting) -> npt.NDArray[np.float32]:
    """Shrink a face to a unit vector, without its brightness and contrast."""
    if sighting.look is None:
        small = cv2.resize(sighting.face, (_LOOK, _LOOK), interpolation=cv2.INTER_AREA)
        values = small.astype(np.float32).ravel()
        values -= values.mean()
        sighting.look = values / max(float(np.linalg.norm(values)), 1e-6)
    return sighting.look
