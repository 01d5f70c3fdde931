"""The annotation of one clip or stream, and its state from frame to frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from persona_affect.estimators import ConformalAffect
from persona_affect.exceptions import MediaLimitError
from persona_affect.faces import Detections, FaceTracker
from persona_affect.media import Frame

from ._columns import FaceColumns

#: Seconds for which a face that is not seen keeps its number.
MEMORY: Final = 2.0

#: Columns of a row before its targets.
PLACE: Final = ("frame", "time", "face", "x", "y", "width", "height", "confidence")

Row = dict[str, Any]
Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """The faces of a batch of frames, and their predictions.

    Attributes
    ----------
    faces : list of Detections
        Of each frame.
    values : list of ndarray of shape (n_faces, n_targets)
        Of each frame.
    extras : list of list of list
        Of each frame and face, the values of further columns.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.annotation import Seen
    >>> from persona_affect.faces import Detections
    >>> nobody = Seen([Detections.none()], [np.empty((0, 7))], [[]])
    >>> [len(faces) for faces in nobody.faces]
    [0]
    """

    faces: list[Detections]
    values: list[NDArray[np.float64]]
    extras: list[list[list[float | str]]]


class Session:
    """Annotate one stream, frame by frame.

    :meth:`persona_affect.FrameAnnotator.session` makes it; each stream needs its own.

    Parameters
    ----------
    model : Pipeline
        As for :class:`persona_affect.FrameAnnotator`.
    detect_every : int
        Find faces in each such frame.
    track : bool
        Whether faces keep numbers.
    smooth : float or None
        Time constant in seconds.
    max_faces : int, optional
        The most faces of a frame.
    calibrated : ConformalAffect, optional
        The calibration of the model, for intervals and distances.
    interval : float, optional
        Probability of the intervals.
    reliability : bool
        Whether rows say how reliable they are.
    widen : bool
        As for :class:`persona_affect.FrameAnnotator`.

    Attributes
    ----------
    n_seen : int
        Number of frames before the next one.
    boxes : ndarray of shape (n_faces, 4)
        Places of the faces in the latest frame.

    Examples
    --------
    >>> from persona_affect import FrameAnnotator, load_model
    >>> from persona_affect.datasets import make_affect_faces
    >>> session = FrameAnnotator(load_model(), track=False).session()
    >>> session.n_seen
    0
    """

    def __init__(
        self,
        model: Pipeline,
        *,
        detect_every: int,
        track: bool,
        smooth: float | None,
        max_faces: int | None = None,
        calibrated: ConformalAffect | None = None,
        interval: float | None = None,
        reliability: bool = False,
        widen: bool = False,
    ) -> None:
        self._faces = FaceColumns(model, calibrated, interval, reliability, widen)
        self.columns = [*PLACE, *self._faces.names, *self._faces.extras]
        self._aligner = model[0]
        self._detect_every, self._smooth = detect_every, smooth
        self._tracker = FaceTracker(MEMORY) if track else None
        self._max_faces = max_faces
        self.n_seen = 0
        self.boxes: Boxes = np.empty((0, 4), np.float32)
        self._latest: dict[int, tuple[float, NDArray[np.float64]]] = {}

    def annotate(self, frames: Sequence[Frame]) -> list[list[Row]]:
        """Annotate the next frames, together.

        Parameters
        ----------
        frames : sequence of Frame
            With increasing times.

        Returns
        -------
        list of list of dict
            For each frame one row for each face, ordered by their numbers, or one row without a
            face.

        Raises
        ------
        MediaLimitError
            If a frame has more than `max_faces` faces; none is predicted.
        """
        return self.make_rows(frames, self.examine(frames, self.n_seen, lambda: self.boxes))

    def examine(
        self,
        frames: Sequence[Frame],
        place: int,
        before: Callable[[], Boxes],
        found: Callable[[Boxes], object] = lambda boxes: None,
    ) -> Seen:
        """Find and predict the faces of some frames; nothing is kept from call to call.

        Several threads may examine batches of one stream at once.

        Parameters
        ----------
        frames : sequence of Frame
            The next frames of the stream.
        place : int
            Number of frames before, since the stream began.
        before : callable
            Returns the boxes of the frame before. It is called only if the first frame follows
            them.
        found : callable, optional
            Is called with the boxes of the last frame, as soon as they are known.

        Returns
        -------
        Seen
            For :meth:`make_rows`.

        Raises
        ------
        MediaLimitError
            As for :meth:`annotate`.
        """
        seen = self._look(frames, place, before)
        found(seen[-1].boxes)
        clips = np.empty(sum(map(len, seen)), dtype=object)
        clips[:] = [
            face[None]
            for frame, faces in zip(frames, seen, strict=True)
            for face in self._aligner.align_faces(frame.image, faces.landmarks)
        ]
        values, extras = self._faces.predict(frames, seen, clips)
        ends = np.cumsum([len(faces) for faces in seen]).tolist()
        by_frame = [extras[end - len(faces) : end] for end, faces in zip(ends, seen, strict=True)]
        return Seen(seen, np.split(values, ends[:-1]), by_frame)

    def make_rows(self, frames: Sequence[Frame], seen: Seen) -> list[list[Row]]:
        """Make the rows of the next frames: number their faces, and smooth the predictions.

        Parameters
        ----------
        frames : sequence of Frame
            The next frames of the stream.
        seen : Seen
            What :meth:`examine` returned for them.

        Returns
        -------
        list of list of dict
            As of :meth:`annotate`.
        """
        self.n_seen += len(frames)
        self.boxes = seen.faces[-1].boxes
        found = zip(frames, seen.faces, seen.values, seen.extras, strict=True)
        return [self._rows(*one) for one in found]

    def resume(self, time: float, rows: Sequence[Row]) -> None:
        """Use the rows of an earlier session for the next frame, instead of detecting.

        Parameters
        ----------
        time : float
            Of the last frame of the earlier session, in seconds.
        rows : sequence of dict
            The rows of that frame.

        Raises
        ------
        ValueError
            If these faces would get other numbers, so that the rows come from another kind of
            session.
        """
        rows = [row for row in rows if not np.isnan(row["face"])]
        places = np.array([[row[name] for name in PLACE[3:]] for row in rows]).reshape(-1, 5)
        places[:, 2:4] += places[:, :2]
        faces = Detections(
            places[:, :4].astype(np.float32),
            places[:, 4].astype(np.float32),
            np.zeros((len(rows), 5, 2), np.float32),
        )
        numbers = self._number(faces, time)
        if numbers.tolist() != [row["face"] for row in rows]:
            raise ValueError(f"the faces at {time:.3f} s have other numbers.")
        for row in rows:
            values = np.array([row[name] for name in self._faces.names])
            self._remember(row["face"], time, values)
        self._forget(time)
        self.boxes = faces.boxes
        self.n_seen += 1

    def _look(
        self, frames: Sequence[Frame], place: int, before: Callable[[], Boxes]
    ) -> list[Detections]:
        """Detect the faces of every k-th frame, together; follow them in the others."""
        keys = [i for i in range(len(frames)) if (place + i) % self._detect_every == 0]
        found = self._aligner.detect_frames(
            [frames[i].image for i in keys], max_faces=self._max_faces
        )
        detected = dict(zip(keys, found, strict=True))
        seen: list[Detections] = []
        for i, frame in enumerate(frames):
            if i in detected:
                faces = detected[i]
            else:
                boxes = seen[-1].boxes if seen else before()
                # In an order that rows determine, so that a resumed session does the same.
                boxes = boxes[np.lexsort(boxes.T)]
                (faces,) = self._aligner.follow_frames([frame.image], [boxes])
            seen.append(faces)
            if self._max_faces is not None and len(faces) > self._max_faces:
                raise MediaLimitError(
                    f"the picture at {frame.time:.2f} s has {len(faces)} faces, more than "
                    f"max_faces={self._max_faces}; the search for others ended there."
                )
        return seen

    def _rows(
        self,
        frame: Frame,
        faces: Detections,
        values: NDArray[np.float64],
        extras: list[list[float | str]],
    ) -> list[Row]:
        numbers = self._number(faces, frame.time)
        rows = []
        for i in np.argsort(numbers):
            face, own = int(numbers[i]), values[i]
            if self._smooth is not None:
                own = self._smoothed(own, face, frame.time, self._smooth)
            x, y, right, bottom = faces.boxes[i].tolist()
            where = [face, x, y, right - x, bottom - y, float(faces.scores[i])]
            row = [frame.index, frame.time, *where, *own.tolist(), *extras[i]]
            rows.append(dict(zip(self.columns, row, strict=True)))
        self._forget(frame.time)
        return rows or [no_face(self.columns, frame.index, frame.time)]

    def _number(self, faces: Detections, time: float) -> NDArray[np.intp]:
        return np.arange(len(faces)) if self._tracker is None else self._tracker.update(faces, time)

    def _smoothed(
        self, values: NDArray[np.float64], face: int, now: float, constant: float
    ) -> NDArray[np.float64]:
        """Smooth a face's predictions exponentially, by the time since it was last seen."""
        if face in self._latest:
            before, old = self._latest[face]
            values = old + (1 - np.exp(-max(now - before, 0.0) / constant)) * (values - old)
        self._remember(face, now, values)
        return values

    def _remember(self, face: int, now: float, values: NDArray[np.float64]) -> None:
        if self._smooth is not None:
            self._latest[face] = now, values

    def _forget(self, now: float) -> None:
        """Drop faces that cannot get their number again, so that memory stays small."""
        self._latest = {
            face: latest for face, latest in self._latest.items() if now - latest[0] <= 2 * MEMORY
        }


def no_face(columns: Sequence[str], index: int, time: float) -> Row:
    """Make the row of a frame without a face."""
    return {**dict.fromkeys(columns, np.nan), "frame": index, "time": time}
