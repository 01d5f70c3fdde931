"""Frame-level annotation of clips and live streams: a row per frame and face, in flat memory."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from persona_affect.exceptions import MediaReadError
from persona_affect.faces import (
    TEMPLATES,
    Detections,
    FaceAligner,
    FaceTracker,
    align_face,
    detect_faces,
    follow_faces,
)
from persona_affect.media import Frame, iter_frames, open_photo

__all__ = ["FrameAnnotator"]

_BOX = ["frame", "time", "face", "x", "y", "width", "height", "confidence"]


#: Frames a second of a clip that is an array.
ARRAY_RATE = 25


class FrameAnnotator:
    """Annotate every frame of a clip or a live stream with every face in it.

    Parameters
    ----------
    model : Pipeline
        A fitted pipeline that starts with a :class:`persona_affect.FaceAligner`, whose template,
        margin and detection settings are used.
    detect_every : int, default=1
        Look for faces in every k-th frame; between, known faces are followed by the detector's
        last two networks, and new ones wait. On a camera or clip of 25 frames a second, 5 is
        unnoticeable.
    track : bool, default=True
        Give each face a number that it keeps, also through an occlusion of two seconds; needs the
        extra ``app``. If False, faces of a frame are numbered by confidence.
    smooth : float or None, default=None
        Time constant, in seconds, of exponential smoothing of the predictions along each track:
        a prediction counts ``1 - exp(-dt / smooth)`` against what was before. Needs `track`.
    batch_size : int, default=16
        Frames that are held in memory and predicted together; 1 for a live stream.
    verbose : int, default=0
        1 shows a progress bar.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect import FaceAligner, FrameAnnotator, JointAffectEstimator
    >>> from persona_affect.datasets import make_affect_faces
    >>> from sklearn.pipeline import make_pipeline
    >>> faces = make_affect_faces(4, random_state=0)
    >>> model = make_pipeline(FaceAligner(), JointAffectEstimator(max_epochs=1, random_state=0))
    >>> model = model.fit(faces.data, faces.target)
    >>> annotator = FrameAnnotator(model, track=False)
    >>> table = annotator.to_dataframe(faces.data)  # an array (T, H, W, 3) is a clip
    >>> table.columns[:4].tolist()
    ['frame', 'time', 'face', 'x']
    """

    def __init__(
        self,
        model: Pipeline,
        *,
        detect_every: int = 1,
        track: bool = True,
        smooth: float | None = None,
        batch_size: int = 16,
        verbose: int = 0,
    ) -> None:
        if not isinstance(model, Pipeline) or not isinstance(model[0], FaceAligner):
            raise ValueError(
                "model must be a Pipeline that starts with a FaceAligner: "
                "make_pipeline(FaceAligner(), JointAffectEstimator())."
            )
        check_is_fitted(model)
        for name, value in (("detect_every", detect_every), ("batch_size", batch_size)):
            if value < 1:
                raise ValueError(f"{name}={value!r} must be at least 1.")
        if smooth is not None and (smooth <= 0 or not track):
            raise ValueError(f"smooth={smooth!r} must be a positive time, and needs track=True.")
        self.model = model
        self.detect_every = detect_every
        self.track = track
        self.smooth = smooth
        self.batch_size = batch_size
        self.verbose = verbose

    @property
    def columns(self) -> list[str]:
        """Names of the columns: where the face is, then the targets."""
        return [*_BOX, *self.model[-1].target_names_]

    def annotate(self, source: Any) -> Iterator[dict[str, Any]]:
        """Annotate frame by frame.

        Parameters
        ----------
        source : path, bytes, ndarray (T, H, W, 3), int, or iterable of frames
            A clip; the index of a camera; or an iterable of RGB frames (H, W, 3), uint8. An array
            has 25 frames a second; frames of a camera or an iterable bear the time at which they
            came.

        Yields
        ------
        dict
            ``frame``, ``time`` (seconds), ``face``, ``x``, ``y``, ``width``, ``height`` (pixels),
            ``confidence``, then one key a target. A frame without a face has one row, its face and
            targets NaN. At most `batch_size` frames are held in memory.

        Raises
        ------
        MediaReadError, MediaLimitError, InvalidImageError
            As for :func:`persona_affect.media.iter_frames`; also if the camera does not open.
        """
        stream = _Stream(FaceTracker() if self.track else None)
        frames = iter(
            tqdm(_read(source), desc="Annotating", unit="frame", disable=not self.verbose)
        )
        while batch := list(islice(frames, self.batch_size)):
            yield from self._rows(batch, self._see(batch, stream), stream)

    def to_dataframe(self, source: Any) -> pd.DataFrame:
        """Annotate a whole clip.

        Parameters
        ----------
        source
            As for :meth:`annotate`.

        Returns
        -------
        pandas.DataFrame
            A row per frame and face.
        """
        return pd.DataFrame(self.annotate(source), columns=self.columns)

    def _see(self, batch: Sequence[Frame], stream: "_Stream") -> list[Detections]:
        """Find the faces of each frame: anew in every k-th, together; followed in the others."""
        aligner = self.model[0]
        settings = {"thresholds": aligner.thresholds, "device": aligner.device}
        anew = [i for i in range(len(batch)) if (stream.n_seen + i) % self.detect_every == 0]
        images = [batch[i].image for i in anew]
        found = detect_faces(images, min_face_size=aligner.min_face_size, **settings)
        detected = dict(zip(anew, found, strict=True))
        seen = []
        for i, frame in enumerate(batch):
            if i in detected:
                faces = detected[i]
            else:
                (faces,) = follow_faces([frame.image], [stream.boxes], **settings)
            stream.boxes = faces.boxes
            seen.append(faces)
        stream.n_seen += len(batch)
        return seen

    def _rows(
        self, batch: Sequence[Frame], seen: Sequence[Detections], stream: "_Stream"
    ) -> Iterator[dict[str, Any]]:
        """Predict a batch's faces together, and write a row for each."""
        aligner = self.model[0]
        template = TEMPLATES[aligner.template]
        clips = np.empty(sum(map(len, seen)), dtype=object)
        clips[:] = [
            align_face(frame.image, landmarks, template, aligner.margin)[None]
            for frame, faces in zip(batch, seen, strict=True)
            for landmarks in faces.landmarks
        ]
        scores = self._predict(clips)
        nothing = np.full(len(self.columns) - 2, np.nan)
        for frame, faces in zip(batch, seen, strict=True):
            if not len(faces):
                yield dict(zip(self.columns, [frame.index, frame.time, *nothing], strict=True))
            numbers = stream.number(faces, frame.time)
            own, scores = scores[: len(faces)], scores[len(faces) :]
            for i in np.argsort(numbers):
                face, values = int(numbers[i]), own[i]
                if self.smooth is not None:
                    values = stream.smooth(values, face, frame.time, self.smooth)
                x, y, right, bottom = faces.boxes[i].tolist()
                where = [face, x, y, right - x, bottom - y, float(faces.scores[i])]
                row = [frame.index, frame.time, *where, *values.tolist()]
                yield dict(zip(self.columns, row, strict=True))

    def _predict(self, clips: NDArray[np.object_]) -> NDArray[np.float64]:
        n_targets = len(self.model[-1].target_names_)
        if not len(clips):
            return np.empty((0, n_targets))
        return np.reshape(self.model[1:].predict(clips), (-1, n_targets))


@dataclass
class _Stream:
    """What is remembered from frame to frame."""

    tracker: FaceTracker | None
    n_seen: int = 0
    boxes: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 4), np.float32))
    latest: dict[int, tuple[float, NDArray[np.float64]]] = field(default_factory=dict)

    def number(self, faces: Detections, time: float) -> NDArray[np.intp]:
        """Give each face of a frame its number."""
        return np.arange(len(faces)) if self.tracker is None else self.tracker.update(faces, time)

    def smooth(
        self, values: NDArray[np.float64], face: int, now: float, constant: float
    ) -> NDArray[np.float64]:
        """Smooth a face's predictions exponentially, by the time since it was last seen."""
        if face in self.latest:
            before, old = self.latest[face]
            values = old + (1 - np.exp(-(now - before) / constant)) * (values - old)
        self.latest[face] = now, values
        return values


def _read(source: Any) -> Iterator[Frame]:
    """Read frames from a clip, a camera or an iterable, each with a time."""
    if isinstance(source, int):
        return _timed(_camera(source))
    if isinstance(source, np.ndarray):
        return (Frame(f.index, f.index / ARRAY_RATE, f.image) for f in iter_frames(source))
    if isinstance(source, str | bytes | os.PathLike):
        return iter_frames(source)
    return _timed(source)


def _timed(images: Iterable[NDArray[Any]]) -> Iterator[Frame]:
    start = time.monotonic()
    for index, image in enumerate(images):
        yield Frame(index, time.monotonic() - start, open_photo(image))


def _camera(index: int) -> Iterator[NDArray[Any]]:
    import cv2

    camera = cv2.VideoCapture(index)
    try:
        if not camera.isOpened():
            raise MediaReadError(f"camera {index} does not open; is it connected and free?")
        while True:
            ok, image = camera.read()
            if not ok:
                return
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    finally:
        camera.release()
