"""Frame-level annotation of clips and streams: a row per frame and face, in constant memory."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pandas as pd
from sklearn.pipeline import Pipeline

from persona_affect._files import check_different, check_output
from persona_affect._progress import tqdm
from persona_affect._warnings import warn_user
from persona_affect.estimators import ConformalAffect
from persona_affect.exceptions import MediaWarning
from persona_affect.media import Frame, VideoWriter

from ._columns import FaceColumns
from ._journal import Journal, identify, partial_path
from ._models import check_photo_model, engine_of
from ._overlapping import annotate_overlapping
from ._overlay import draw_faces
from ._ranges import target_ranges
from ._session import PLACE, Row, Session
from ._sources import is_at_rest, is_file, rate_of, read_files, read_frames
from ._tables import check_table_path, open_table

__all__ = ["FrameAnnotator"]

#: Suffix of videos that are written.
VIDEO_SUFFIXES: Final = (".mp4",)


class FrameAnnotator:
    """Annotate every frame of a clip or a live stream with every face in it.

    Parameters
    ----------
    model : Pipeline or ConformalAffect
        A fitted pipeline that starts with a :class:`persona_affect.FaceAligner`, whose template,
        margin and detection settings are used; or a :class:`persona_affect.ConformalAffect` around
        one.
    detect_every : int, default=1
        Detect faces in every k-th frame. In the frames between, the last two networks of the
        detector follow known faces, and new faces are not found. With 25 frames a second, 5 makes
        no visible difference.
    track : bool, default=True
        Give each face a number that it keeps, also through an occlusion of two seconds; needs the
        extra ``app``. If False, faces of a frame are numbered by confidence.
    smooth : float or None, default=None
        Time constant, in seconds, of exponential smoothing of the predictions along each track:
        the weight of a new prediction is ``1 - exp(-dt / smooth)``. Needs `track`.
    max_faces : int, optional
        The most faces in a frame; more raise MediaLimitError before they are predicted. By default
        there is no limit.
    interval : float, optional
        Probability, such as 0.9, for further columns ``<target>_low`` and ``<target>_high``. Needs
        a ConformalAffect. Intervals are those of single frames, also with `smooth`.
    reliability : bool, default=False
        Further columns ``reliability``, from 0 to 1, and ``remarks``: how reliable the numbers of a
        face are, and why, such as "blurred, 40 pixels wide". 1 is as on faces like those of the
        training, 0 no better than the mean rating of all faces. A ConformalAffect also knows
        whether a face is unlike the training faces.
    widen : bool, default=False
        Make intervals wider where the reliability is below 1, by :meth:`ConformalAffect.widen`.
    batch_size : int, default=8
        Frames that are predicted together; 1 for a live stream.
    overlap : bool, default=True
        Read, detect and predict the next frames of a file or an array in other threads, up to six
        batches of them. Rows are the same, to the bit, if False. Cameras and generators are always
        read in the caller's thread, one batch after the other.
    verbose : int, default=0
        1 shows a progress bar.

    Raises
    ------
    ValueError
        If `model` is no such pipeline, or another parameter is out of its range.

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
        model: Pipeline | ConformalAffect,
        *,
        detect_every: int = 1,
        track: bool = True,
        smooth: float | None = None,
        max_faces: int | None = None,
        interval: float | None = None,
        reliability: bool = False,
        widen: bool = False,
        batch_size: int = 8,
        overlap: bool = True,
        verbose: int = 0,
    ) -> None:
        counts = {"detect_every": detect_every, "max_faces": max_faces, "batch_size": batch_size}
        for name, value in counts.items():
            if value is not None and value < 1:
                raise ValueError(f"{name}={value!r} must be at least 1.")
        if smooth is not None and (smooth <= 0 or not track):
            raise ValueError(f"smooth={smooth!r} must be a positive time, and needs track=True.")
        self.model = check_photo_model(model)
        self.calibrated = model if isinstance(model, ConformalAffect) else None
        if interval is not None and not (0 < interval < 1 and self.calibrated is not None):
            raise ValueError(
                f"interval={interval!r} must be a probability such as 0.9, and the model a "
                "ConformalAffect: load_model(path, intervals=True)."
            )
        self.detect_every = detect_every
        self.track = track
        self.smooth = smooth
        self.max_faces = max_faces
        self.interval = interval
        self.reliability = reliability
        self.widen = widen
        self.batch_size = batch_size
        self.overlap = overlap
        self.verbose = verbose

    @property
    def columns(self) -> list[str]:
        """Names of the columns: frame, time, place of the face, targets, and what is asked for."""
        columns = FaceColumns(self.model, self.calibrated, self.interval, self.reliability)
        return [*PLACE, *columns.names, *columns.extras]

    @property
    def kinds(self) -> dict[str, type]:
        """Types of the columns, by name, for :func:`open_table`."""
        return dict.fromkeys(self.columns, float) | {
            name: kind
            for name, kind in {"frame": int, "face": int, "remarks": str}.items()
            if name in self.columns
        }

    def session(self) -> Session:
        """Start a stream whose frames are passed one by one, as in a server.

        Returns
        -------
        Session
            It keeps faces from frame to frame; each stream needs its own.

        Raises
        ------
        MissingDependencyError
            If `track` is set and the extra ``app`` is not installed.
        """
        return Session(
            self.model,
            detect_every=self.detect_every,
            track=self.track,
            smooth=self.smooth,
            max_faces=self.max_faces,
            calibrated=self.calibrated,
            interval=self.interval,
            reliability=self.reliability,
            widen=self.widen,
        )

    def annotate(self, source: Any, *, rate: float | None = None) -> Iterator[Row]:
        """Annotate frame by frame.

        Parameters
        ----------
        source : path, bytes, ndarray (T, H, W, 3), FrameSequence, int, or iterable
            A clip; the index of a camera; or an iterable of RGB frames (H, W, 3), uint8, or of
            pairs (seconds, frame) with increasing times. The time of a camera's frame is the time
            at which it arrives.
        rate : float, optional
            Frames a second of a source that has no times: an array, image files, or an iterable
            of frames alone. By default 25.

        Yields
        ------
        dict
            ``frame``, ``time`` (seconds), ``face``, ``x``, ``y``, ``width``, ``height`` (pixels),
            ``confidence``, then one key for each target. A frame without a face has one row, its
            face and targets NaN. At most six batches are held in memory, or one without `overlap`.

        Raises
        ------
        MediaReadError, MediaLimitError, InvalidImageError
            As for :func:`persona_affect.media.iter_frames`; also if the camera cannot be opened,
            or times do not increase.
        ValueError
            If `rate` is given for a source that has times.
        MissingDependencyError
            If `track` is set and the extra ``app`` is not installed.
        """
        for _, rows in self.annotate_frames(source, rate=rate):
            yield from rows

    def annotate_frames(
        self, source: Any, *, rate: float | None = None
    ) -> Iterator[tuple[Frame, list[Row]]]:
        """Annotate frame by frame, and yield the frames too.

        Parameters
        ----------
        source, rate
            As for :meth:`annotate`.

        Yields
        ------
        frame : Frame
        rows : list of dict
            As :meth:`annotate` yields them.
        """
        return self._run(source, rate, ())

    def to_dataframe(self, source: Any, *, rate: float | None = None) -> pd.DataFrame:
        """Annotate a whole clip.

        Parameters
        ----------
        source, rate
            As for :meth:`annotate`.

        Returns
        -------
        pandas.DataFrame
            A row per frame and face.
        """
        return pd.DataFrame(self.annotate(source, rate=rate), columns=self.columns)

    def to_video(
        self, source: Any, path: str | os.PathLike[str], *, rate: float | None = None
    ) -> pd.DataFrame:
        """Annotate a whole clip, and write it with marked faces and its sound.

        Parameters
        ----------
        source
            As for :meth:`annotate`.
        path : path-like
            The MP4 file to create or replace: H.264, each frame at its time, with the sound if the
            source is a file.
        rate : float, optional
            As for :meth:`annotate`.

        Returns
        -------
        pandas.DataFrame
            A row per frame and face. Frames are in memory only until they are written.

        Raises
        ------
        OutputPathError
            Before any work, if the video is the source, or cannot be written.
        MediaWriteError
            If writing the video fails.
        MediaReadError, MediaLimitError, InvalidImageError, MissingDependencyError
            As for :meth:`annotate`.
        """
        check_output(path, inputs=read_files(source), suffixes=VIDEO_SUFFIXES)
        frames = self._write_video(source, rate, self.annotate_frames(source, rate=rate), path)
        return pd.DataFrame((row for _, rows in frames for row in rows), columns=self.columns)

    def to_file(
        self,
        source: Any,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        video: str | os.PathLike[str] | None = None,
        resume: bool = False,
        rate: float | None = None,
    ) -> None:
        """Annotate a clip of any length, and write files, in constant memory.

        During the work, rows are stored frame by frame beside the first file, under its name and
        ``.partial``; the files themselves appear at the end, complete. After an interruption,
        `resume` continues from the stored rows.

        Parameters
        ----------
        source
            As for :meth:`annotate`.
        path : path-like or sequence of path-like
            The files to create or replace: ``.csv``, ``.parquet`` (extra ``app``) and ``.jsonl``
            have a row per frame and face, with an empty field or null for NaN; ``.vtt`` are
            subtitles, with the mean of each face over half a second.
        video : path-like, optional
            An MP4 file, as by :meth:`to_video`, in the same pass.
        resume : bool, default=False
            Continue an interrupted call for the same clip with the same model and settings; without
            one, start. Faces of earlier frames are not detected again, tracks and smoothing
            continue, and the files are the same as without an interruption, on the same machine bit
            by bit. `video` is drawn and encoded from the start.
        rate : float, optional
            As for :meth:`annotate`.

        Raises
        ------
        OutputPathError
            Before any work, if an output is the source, is named twice, has an unknown suffix or
            cannot be written.
        OutputError
            If another run writes the same file, or the disk is full. Rows written before are kept,
            and `resume` continues from them.
        ValueError
            With `resume`, if the clip, the model or the settings are not those of the interrupted
            call, if the file exists and is complete, or if the source is a camera or an iterable.
        MediaWriteError, MediaReadError, MediaLimitError, InvalidImageError, MissingDependencyError
            As for :meth:`to_video`.
        """
        paths = [Path(p) for p in ([path] if isinstance(path, str | os.PathLike) else path)]
        if not paths:
            raise ValueError("path is empty: name at least one file.")
        inputs = read_files(source)
        for target in paths:
            check_table_path(target, inputs=inputs, subtitles=True)
        check_output(partial_path(paths[0]), inputs=inputs)
        if video is not None:
            check_output(video, inputs=inputs, suffixes=VIDEO_SUFFIXES)
        check_different([*paths, partial_path(paths[0]), *([] if video is None else [Path(video)])])
        settings = {
            "detect_every": self.detect_every,
            "track": self.track,
            "smooth": self.smooth,
            "batch_size": self.batch_size,
            "rate": rate,
            "engine": engine_of(self.model),
            "interval": self.interval,
        }
        identity = identify(source, self.calibrated or self.model, settings)
        with Journal(paths[0], identity, self.columns) as journal:
            earlier = journal.reopen(self.batch_size) if resume else journal.start()
            frames = self._run(source, rate, earlier)
            if video is not None:
                frames = self._write_video(source, rate, frames, video)
            journal.record(frames)
            for target in paths:
                with open_table(target, self.kinds) as table:
                    for rows in journal.rows():
                        table.write(rows)
            journal.discard()

    def _run(
        self, source: Any, rate: float | None, earlier: Iterable[list[Row]]
    ) -> Iterator[tuple[Frame, list[Row]]]:
        """Annotate a source; the rows of its first frames may be known."""
        notes: list[str] = []
        frames = read_frames(source, rate, notes)
        session = self.session()

        def run() -> Iterator[tuple[Frame, list[Row]]]:
            for rows in earlier:
                frame = next(frames)
                session.resume(frame.time, rows)
                yield frame, rows
            if is_at_rest(source):
                yield from annotate_overlapping(
                    frames, session, self.batch_size, ahead=self.overlap
                )
            while batch := list(islice(frames, self.batch_size)):
                yield from zip(batch, session.annotate(batch), strict=True)
            for note in notes:
                warn_user(note, MediaWarning)

        return iter(tqdm(run(), desc="Annotating", unit="frame")) if self.verbose else run()

    def _write_video(
        self,
        source: Any,
        rate: float | None,
        frames: Iterator[tuple[Frame, list[Row]]],
        path: str | os.PathLike[str],
    ) -> Iterator[tuple[Frame, list[Row]]]:
        """Pass frames on, and write them to a video."""
        ranges = target_ranges(self.model)
        with ExitStack() as stack:
            video: VideoWriter | None = None
            for frame, rows in frames:
                if video is None:
                    height, width = frame.image.shape[:2]
                    writer = VideoWriter(
                        path,
                        rate=rate_of(source, rate),
                        size=(width, height),
                        audio_from=source if is_file(source) else None,
                    )
                    video = stack.enter_context(writer)
                video.write(draw_faces(frame.image, rows, ranges), frame.time)
                yield frame, rows
