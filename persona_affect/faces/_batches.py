"""From samples to faces, a batch at a time: what each worker of a `FaceAligner` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend

from .._progress import tqdm
from .._warnings import warn_user
from ..exceptions import (
    InvalidImageError,
    MediaLimitError,
    MediaReadError,
    MediaWarning,
    PersonaAffectError,
)
from ..media import Frame, describe, is_clip, open_photo, sample_around_times, sample_frames
from ._detections import Detections
from ._face_clip import join_faces, resample_faces
from ._persons import ChosenFaces, FaceChooser
from ._settings import FaceSettings, Image
from ._turned import Doubt, find_doubt


class _Frame(NamedTuple):
    """One frame of the sample in a row: its number among those looked at, its time in seconds."""

    row: int
    image: Image
    number: int = 0
    time: float = 0.0


@dataclass
class Outcome:
    """The result of one sample.

    Attributes
    ----------
    found : object
        Aligned frames, or the detections of a photo.
    remarks : list of str
        Messages for the warning about this sample.
    failed : bool
        Whether it could not be used at all.
    """

    found: Any
    remarks: list[str] = field(default_factory=list)
    failed: bool = False


#: What a worker does with some samples and their numbers.
Work = Callable[[FaceSettings, Sequence[Any], Sequence[int]], list[Outcome]]


def align_samples(
    settings: FaceSettings, samples: Sequence[Any], numbers: Sequence[int]
) -> list[Outcome]:
    """Find the aligned frames of each sample: uint8 arrays (n_frames, height, width, 3).

    Parameters
    ----------
    settings : FaceSettings
    samples : sequence
        Photos and clips.
    numbers : sequence of int
        Indices of the samples, for messages.

    Raises
    ------
    PersonaAffectError
        If the settings say so, for the first sample that cannot be used.
    """
    return _Batch(settings, samples, numbers).align()


def detect_samples(
    settings: FaceSettings, samples: Sequence[Any], numbers: Sequence[int]
) -> list[Outcome]:
    """Find the faces in each photo, `Detections`; as `align_samples`."""
    return _Batch(settings, samples, numbers).detect()


def share_batches(
    work: Work,
    settings: FaceSettings,
    samples: Sequence[Any],
    n_jobs: int | None,
    verbose: bool,
    rows: Sequence[int],
    size: int | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Share samples among joblib's workers, and yield each row with its outcome, in order.

    Parameters
    ----------
    work : callable
        `align_samples` or `detect_samples`.
    settings : FaceSettings
    samples : sequence
        Photos and clips.
    n_jobs, verbose
        As in :class:`persona_affect.FaceAligner`.
    rows : sequence of int
        Which of the samples.
    size : int, optional
        How many samples a worker takes at a time; by default as many as fill the detector's batch.
    """
    size = settings.batch_size if size is None else size
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    jobs = (delayed(work)(settings, [samples[i] for i in batch], batch) for batch in batches)
    # All backends except joblib's "multiprocessing" return each result when it is ready.
    streams = get_active_backend()[0].supports_return_generator
    results = Parallel(n_jobs=n_jobs, return_as="generator" if streams else "list")(jobs)
    with tqdm(total=len(rows), desc="faces", disable=not verbose) as progress:
        for batch, outcomes in zip(batches, results, strict=True):
            progress.update(len(outcomes))
            yield from zip(batch, outcomes, strict=True)


def warn_of_remarks(samples: Sequence[Any], outcomes: Sequence[Outcome]) -> None:
    """Warn once about all samples that have remarks."""
    notes = [
        f"sample {i} ({describe(sample)}): {remark}"
        for i, (sample, outcome) in enumerate(zip(samples, outcomes, strict=True))
        for remark in outcome.remarks
    ]
    if notes:
        listing = "\n".join(f"- {note}" for note in notes)
        count = f"{len(notes)} of {len(samples)} samples"
        warn_user(f"{count} were not read in full, or look wrong:\n{listing}", MediaWarning)


class _Batch:
    """Some samples, and the result of each so far."""

    def __init__(
        self, settings: FaceSettings, samples: Sequence[Any], numbers: Sequence[int]
    ) -> None:
        self._settings, self._samples, self._numbers = settings, samples, numbers
        self._outcomes = [Outcome(None) for _ in samples]
        self._choosers = [FaceChooser(settings, one_person=False) for _ in samples]
        #: Of samples in which no face was found yet, about their first frame.
        self._faceless: dict[int, Doubt | None] = {}

    def align(self) -> list[Outcome]:
        settings = self._settings
        frames = self._read(clips=True)
        while batch := list(islice(frames, settings.batch_size)):
            for frame, faces in self._find_faces(batch):
                if len(faces) > 0:
                    chooser = self._choosers[frame.row]
                    chooser.add(frame.image, faces, frame.number, frame.time)
                elif frame.row not in self._faceless:
                    self._faceless[frame.row] = find_doubt(frame.image, faces, None)
        doubts: list[Doubt | None] = []
        for row, (chooser, outcome) in enumerate(zip(self._choosers, self._outcomes, strict=True)):
            if outcome.failed:
                chooser = FaceChooser(settings, one_person=False)
            chosen = chooser.choose()
            outcome.found = self._join(chosen)
            is_faceless = not (chosen.faces or outcome.failed)
            doubts.append(self._faceless.get(row) if is_faceless else chosen.doubt)
        for outcome, sentence in zip(self._outcomes, settings.describe_doubts(doubts), strict=True):
            if sentence:
                outcome.remarks.append(sentence)
        return self._outcomes

    def _join(self, chosen: ChosenFaces) -> npt.NDArray[np.uint8]:
        """Make a face clip; gaps between frames that were sampled far apart are none."""
        settings = self._settings
        if settings.rate is not None:
            return resample_faces(*chosen[:3], settings.rate, settings.size)
        numbers = chosen.numbers if settings.n_frames is None else range(len(chosen.faces))
        return join_faces(chosen.faces, numbers, settings.size)

    def detect(self) -> list[Outcome]:
        for outcome in self._outcomes:
            outcome.found = Detections.none()
        for frame, faces in self._find_faces(list(self._read(clips=False))):
            self._outcomes[frame.row].found = faces
        return self._outcomes

    def _read(self, *, clips: bool) -> Iterator[_Frame]:
        """Yield every frame of every sample that can be read."""
        for row, source in enumerate(self._samples):
            remarks = self._outcomes[row].remarks
            try:
                if not is_clip(source):
                    yield _Frame(row, open_photo(source))
                elif clips:
                    one_person = self._settings.select_over == "clip"
                    self._choosers[row] = FaceChooser(self._settings, one_person=one_person)
                    for number, frame in enumerate(self._sample(source, remarks)):
                        yield _Frame(row, frame.image, number, frame.time)
                else:
                    raise InvalidImageError("it is a clip; `detect` takes photos only.")
            # Decoders, and objects that only look like photos, may raise any error.
            except Exception as error:
                self._fail(row, error)

    def _sample(self, source: Any, remarks: list[str]) -> Iterator[Frame]:
        settings = self._settings
        if settings.rate is not None:
            return sample_around_times(source, settings.rate, remarks)
        return sample_frames(source, settings.n_frames, remarks)

    def _find_faces(self, frames: Sequence[_Frame]) -> Iterator[tuple[_Frame, Detections]]:
        """Find the faces of some frames together."""
        try:
            found = self._settings.detect([frame.image for frame in frames])
        except (MemoryError, RuntimeError, cv2.error) as error:
            if len(frames) > 1:
                # One of them may be too large. The others are still used.
                for frame in frames:
                    yield from self._find_faces([frame])
            else:
                self._fail(frames[0].row, error)
            return
        yield from zip(frames, found, strict=True)

    def _fail(self, row: int, error: Exception) -> None:
        """Raise an error that names its sample, or keep it as a remark."""
        reason = str(error)
        kind: type[PersonaAffectError]
        if isinstance(error, PersonaAffectError):
            kind = type(error)
        elif isinstance(error, MemoryError):
            kind, reason = MediaLimitError, f"it does not fit into memory ({reason})."
        else:
            kind, reason = MediaReadError, f"it cannot be used: {type(error).__name__}: {reason}"
        if self._settings.on_error == "raise":
            name = f"sample {self._numbers[row]} ({describe(self._samples[row])})"
            raise kind(f"{name}: {reason}") from error
        outcome = self._outcomes[row]
        outcome.remarks[:] = [reason]
        outcome.failed = True
