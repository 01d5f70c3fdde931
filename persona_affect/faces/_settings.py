"""The settings of face detection and alignment, and the one path from frames to aligned faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .._device import resolve_device
from ..exceptions import InvalidImageError
from ..media import describe
from ._alignment import align_face
from ._averaging import average_landmarks
from ._detections import Detections
from ._detectors import DetectorSpec, get_detector_spec
from ._refinement import follow_faces
from ._templates import Template, get_template
from ._turned import Doubt, describe_doubts
from ._upright import detect_in_turns, follow_in_turns, is_turned, refine_turned

Image = npt.NDArray[np.uint8]

#: Version of the alignment. Increase it with each change that alters pixels of aligned faces:
#: stored faces are then aligned again.
ALIGNMENT = 3


def _largest(faces: Detections, height: int, width: int) -> npt.NDArray[np.floating]:
    # A length: one near moment in a clip must not outweigh all others.
    return np.sqrt((faces.boxes[:, 2:] - faces.boxes[:, :2]).prod(axis=1, dtype=np.float64))


def _most_confident(faces: Detections, height: int, width: int) -> npt.NDArray[np.floating]:
    return faces.scores


def _most_central(faces: Detections, height: int, width: int) -> npt.NDArray[np.floating]:
    centres = (faces.boxes[:, :2].astype(np.float64) + faces.boxes[:, 2:]) / 2
    middle = np.array([width, height]) / 2
    # Within one frame only the order counts; sums over a clip need positive values.
    return np.exp(-np.hypot(*(centres - middle).T) / np.hypot(*middle))


#: Ways to choose among the faces of a frame: the highest value is taken.
SELECTORS: dict[str, Callable[[Detections, int, int], npt.NDArray[np.floating]]] = {
    "largest": _largest,
    "confident": _most_confident,
    "centre": _most_central,
}


@dataclass(frozen=True)
class FaceSettings:
    """The checked parameters of a :class:`persona_affect.FaceAligner`, for itself and its workers.

    Attributes
    ----------
    template : Template
        The template itself, so that worker processes need not register it.
    detector : DetectorSpec
        The detector itself, for the same reason.
    n_frames, rate, select, select_over, margin, min_face_size, upright, landmarks, thresholds
    on_error, batch_size, device
        As in :class:`persona_affect.FaceAligner`.
    """

    template: Template
    detector: DetectorSpec
    n_frames: int | None
    rate: float | None
    select: str
    select_over: str
    margin: float
    min_face_size: float
    upright: str
    landmarks: str
    thresholds: tuple[float, float, float]
    on_error: str
    batch_size: int
    device: str

    def detect(self, images: Sequence[Image], max_faces: int | None = None) -> list[Detections]:
        """Find all faces of each image, or some, if there are more than `max_faces`."""
        images = _check_images(images)
        if self.upright == "search":
            return detect_in_turns(images, partial(self._detect, max_faces=max_faces))
        return self._detect(images, max_faces)

    def follow(
        self, images: Sequence[Image], boxes: Sequence[npt.NDArray[np.floating]]
    ) -> list[Detections]:
        """Find faces again near the boxes of each image."""
        images = _check_images(images)
        if self.upright == "search":
            return follow_in_turns(images, boxes, self._follow)
        return self._follow(images, boxes)

    def _detect(self, images: Sequence[Image], max_faces: int | None = None) -> list[Detections]:
        found = self._find(images, self.min_face_size, max_faces)
        most = np.inf if max_faces is None else max_faces
        # A crowd is refused: its faces need no better landmarks, which may take a long time.
        kept = [i for i, faces in enumerate(found) if len(faces) <= most]
        refined = self._refine([images[i] for i in kept], [found[i] for i in kept])
        for i, faces in zip(kept, refined, strict=True):
            found[i] = faces
        return found

    def _follow(
        self, images: Sequence[Image], boxes: Sequence[npt.NDArray[np.floating]]
    ) -> list[Detections]:
        if self.detector.follow is None:
            return self._detect(images)
        found = self.detector.follow(
            images, boxes, thresholds=self.thresholds, device=resolve_device(self.device)
        )
        return self._refine(images, found)

    def _refine(self, images: Sequence[Image], found: Sequence[Detections]) -> list[Detections]:
        """Find better landmarks: of faces that are turned, or of all."""
        near = self.detector.look_again is not None
        refined = refine_turned(images, found, self._look_again, self.min_face_size, near=near)
        if self.landmarks == "mean":
            which = [np.arange(len(faces)) for faces in found]
        # Another detector may place its landmarks elsewhere.
        elif self.detector.follow is follow_faces:
            which = [np.flatnonzero(is_turned(faces)) for faces in found]
        else:
            return refined
        return average_landmarks(images, refined, which, resolve_device(self.device))

    def _find(
        self, images: Sequence[Image], min_face_size: float, max_faces: int | None = None
    ) -> list[Detections]:
        options = self._options(min_face_size)
        if self.detector.takes_max_faces:
            options["max_faces"] = max_faces
        return list(self.detector.detect(images, **options))

    def _look_again(
        self,
        copies: Sequence[Image],
        boxes: Sequence[npt.NDArray[np.floating]],
        min_face_size: float,
    ) -> list[Detections]:
        if self.detector.look_again is None:
            return self._find(copies, min_face_size)
        return self.detector.look_again(copies, boxes, **self._options(min_face_size))

    def _options(self, min_face_size: float) -> dict[str, Any]:
        return {
            "min_face_size": min_face_size,
            "thresholds": self.thresholds,
            "device": resolve_device(self.device),
        }

    def describe_doubts(self, doubts: Sequence[Doubt | None]) -> list[str]:
        """Say which pictures are not upright: a sentence for each, or an empty one."""
        if self.upright == "search":
            return [""] * len(doubts)
        return describe_doubts(doubts, self._find)

    def rate_faces(self, faces: Detections, image: Image) -> npt.NDArray[np.floating]:
        """Return the preference of `select` for each face of an image: 0 and above."""
        height, width = image.shape[:2]
        return SELECTORS[self.select](faces, height, width)

    def select_face(self, faces: Detections, image: Image) -> int:
        """Choose one of the faces of an image; there is at least one."""
        return int(np.argmax(self.rate_faces(faces, image)))

    def align(self, image: Image, landmarks: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
        """Cut aligned faces (n, height, width, 3) out of an image, by landmarks (n, 5, 2)."""
        (image,) = _check_images([image])
        faces = np.empty((len(landmarks), *self.size, 3), np.uint8)
        for face, points in zip(faces, landmarks, strict=True):
            face[:] = align_face(image, points, self.template, self.margin)
        return faces

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an aligned face."""
        return self.template.height, self.template.width

    def identity(self) -> dict[str, Any]:
        """Return all that the pixels of aligned faces depend on, in types of JSON."""
        # Left out by default, so that stores from before this setting stay valid.
        landmarks = {} if self.landmarks == "once" else {"landmarks": self.landmarks}
        return landmarks | {
            "alignment": ALIGNMENT,
            "detector": self.detector.digest(),
            "template": asdict(self.template),
            "n_frames": None if self.n_frames is None else int(self.n_frames),
            "rate": None if self.rate is None else float(self.rate),
            "select": self.select,
            "select_over": self.select_over,
            "upright": self.upright,
            "margin": float(self.margin),
            "min_face_size": float(self.min_face_size),
            "thresholds": [float(threshold) for threshold in self.thresholds],
        }


def make_settings(params: Mapping[str, Any]) -> FaceSettings:
    """Return the settings for the parameters of an aligner, whose types were checked.

    Raises
    ------
    ValueError
        If a template, a detector or a device does not exist, or `thresholds` are wrong.
    """
    thresholds = params["thresholds"]
    if len(thresholds) != 3 or not all(0 < t < 1 for t in thresholds):
        raise ValueError(
            f"thresholds={thresholds!r} must be three numbers between 0 and 1, one for each "
            "network."
        )
    resolve_device(params["device"])
    first, second, third = map(float, thresholds)
    n_frames, rate = params["n_frames"], params["rate"]
    return FaceSettings(
        template=get_template(params["template"]),
        detector=get_detector_spec(params["detector"]),
        n_frames=None if n_frames is None or rate else int(n_frames),
        rate=None if rate is None else float(rate),
        select=params["select"],
        select_over=params["select_over"],
        margin=float(params["margin"]),
        min_face_size=float(params["min_face_size"]),
        upright=params["upright"],
        landmarks=params["landmarks"],
        thresholds=(first, second, third),
        on_error=params["on_error"],
        batch_size=int(params["batch_size"]),
        device=params["device"],
    )


def _check_images(images: Sequence[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.uint8]]:
    """Return frames as a list, if all are valid.

    Raises
    ------
    InvalidImageError
        If one is not valid; the message has the index of the first.
    """
    for i, image in enumerate(images):
        if (
            not isinstance(image, np.ndarray)
            or image.dtype != np.uint8
            or image.ndim != 3
            or image.shape[2] != 3
            or image.size == 0
        ):
            raise InvalidImageError(
                f"image {i} ({describe(image)}) must be a uint8 array (H, W, 3); `detect` and "
                "`transform` read photos and clips of all kinds."
            )
    return list(images)
