"""The transformer from photos and clips to aligned faces."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, TransformerMixin
from tqdm.auto import tqdm

from .._sklearn import Interval, StrOptions, check_params
from .._warnings import warn_user
from ..exceptions import InvalidImageError, MediaWarning, PersonaAffectError
from ..media import MAX_SAMPLED_FRAMES, describe, is_clip, list_samples, open_photo, sample_frames
from ._alignment import TEMPLATES, align_face
from ._mtcnn import Detections, detect_faces
from ._mtcnn_networks import weights_digest
from ._store import FaceStore, is_unchanged, read_contents

FaceClip = npt.NDArray[np.uint8]

#: Raise it with whatever makes other pixels of the same sample: stored faces are then aligned anew.
_ALIGNMENT = 1


@dataclass
class _Outcome:
    """What became of one sample: frames or detections, what was noticed, whether it was read."""

    found: Any
    remarks: list[str] = field(default_factory=list)
    failed: bool = False


def _largest(faces: Detections, height: int, width: int) -> npt.NDArray[np.floating]:
    return (faces.boxes[:, 2:] - faces.boxes[:, :2]).prod(axis=1)


def _most_confident(faces: Detections, height: int, width: int) -> npt.NDArray[np.floating]:
    return faces.scores


def _most_central(faces: Detections, height: int, width: int) -> npt.NDArray[np.floating]:
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    return -np.hypot(*(centres - np.array([width, height]) / 2).T)


_SELECTORS: dict[str, Callable[[Detections, int, int], npt.NDArray[np.floating]]] = {
    "largest": _largest,
    "confident": _most_confident,
    "centre": _most_central,
}


class FaceAligner(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Find the face in photos and clips, and align it to a template.

    Faces are found by MTCNN [1]_ with its published weights and warped by a similarity (no shear)
    that brings their five landmarks as close as possible to a template. The transformer learns
    nothing: `fit` checks the parameters, and `transform` works without it.

    Parameters
    ----------
    template : {"sphereface", "resnet29"}, default="sphereface"
        The aligned face's layout: 112 x 96 pixels as SphereFace takes them, or 150 x 150 as the
        pretrained ResNet29 does.
    n_frames : int or None, default=10
        Frames sampled from a clip: the centre frames of as many segments of equal duration. Ten is
        the number of segments in the released recipe of PersEmoN; the demo's three are then drawn
        from them. At most 10,000; None takes every frame.
    select : {"largest", "confident", "centre"}, default="largest"
        Which face to take where a frame shows several.
    margin : float, default=0.0
        Extra context around the face, as a share of the template's side.
    min_face_size : float, default=20
        Side in pixels of the smallest faces looked for. Doubling it makes detection about four
        times faster.
    thresholds : tuple of three floats, default=(0.6, 0.7, 0.7)
        Scores in (0, 1) that a candidate needs to pass each of the three networks.
    on_error : {"raise", "warn"}, default="raise"
        What to do about a sample that cannot be read: raise, or treat it as a sample without a
        face, with one warning that lists all such samples.
    batch_size : int, default=32
        Frames that go through the detector at once.
    n_jobs : int or None, default=None
        Workers among which samples are shared, as in scikit-learn; `joblib.parallel_config` picks
        the backend.
    device : str, default="cpu"
        Where the networks run, in torch's words.
    cache : path-like or None, default=None
        Folder to keep aligned faces in: each sample is aligned once, and `transform` then gives
        arrays that are read from disk when they are looked at, and cannot be written to. A sample
        is known by the content of its file, which is read whole each time, so that no face is ever
        stale; faces under other settings lie apart. What interrupts `transform` costs the samples
        at work; several processes may share the folder. Pixels are taken to be the same on every
        device. Paths, bytes and arrays are stored; samples that cannot be read are not.
    verbose : bool, default=False
        Show a progress bar.

    See Also
    --------
    persona_affect.estimators.FaceEmbedder : Embeddings of the aligned faces.
    persona_affect.media.open_clip : How frames are sampled.

    References
    ----------
    .. [1] Zhang, Zhang, Li, Qiao. "Joint Face Detection and Alignment using Multi-task Cascaded
       Convolutional Networks", IEEE Signal Processing Letters, 2016.

    Examples
    --------
    A grey photo has no face, so its face clip has no frames:

    >>> import numpy as np
    >>> from persona_affect import FaceAligner
    >>> photos = np.full((1, 64, 64, 3), 128, dtype=np.uint8)
    >>> clips = FaceAligner().transform(photos)
    >>> clips.shape, clips[0].shape
    ((1,), (0, 112, 96, 3))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "template": [StrOptions(set(TEMPLATES))],
        "n_frames": [Interval(Integral, 1, MAX_SAMPLED_FRAMES, closed="both"), None],
        "select": [StrOptions(set(_SELECTORS))],
        "margin": [Interval(Real, 0, None, closed="left")],
        # Below 6 pixels, faces would be looked for in an enlarged photo.
        "min_face_size": [Interval(Real, 6, None, closed="left")],
        "thresholds": [tuple, list],
        "on_error": [StrOptions({"raise", "warn"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "device": [str],
        "cache": [str, os.PathLike, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        template: str = "sphereface",
        n_frames: int | None = 10,
        select: str = "largest",
        margin: float = 0.0,
        min_face_size: float = 20,
        thresholds: Sequence[float] = (0.6, 0.7, 0.7),
        on_error: str = "raise",
        batch_size: int = 32,
        n_jobs: int | None = None,
        device: str = "cpu",
        cache: str | os.PathLike[str] | None = None,
        verbose: bool = False,
    ) -> None:
        self.template = template
        self.n_frames = n_frames
        self.select = select
        self.margin = margin
        self.min_face_size = min_face_size
        self.thresholds = thresholds
        self.on_error = on_error
        self.batch_size = batch_size
        self.n_jobs = n_jobs
        self.device = device
        self.cache = cache
        self.verbose = verbose

    def _get_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {}

    def _set_state(self, facts: dict[str, Any], tensors: dict[str, Any]) -> None:
        self.fit()

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Check the parameters; there is nothing to learn.

        Parameters
        ----------
        X, y : ignored

        Returns
        -------
        FaceAligner
            Itself.
        """
        self._check_parameters()
        return self

    def transform(self, X: Any) -> npt.NDArray[np.object_]:
        """Cut the aligned face out of every sample.

        Parameters
        ----------
        X : sequence of samples, or ndarray of uint8
            Each a photo (path, bytes, PIL image, array of shape (H, W, 3)) or a clip (path, bytes,
            array (T, H, W, 3)); photos and clips of any sizes may be mixed. An array of shape
            (n, H, W, 3) holds n photos, one of shape (n, T, H, W, 3) n clips.

        Returns
        -------
        ndarray of object, shape (n_samples,)
            Face clips: uint8 RGB arrays of shape (n_frames, height, width, 3). A photo has one
            frame. Frames without a face are left out, so a sample without any has zero frames.

        Raises
        ------
        MediaReadError, MediaLimitError, InvalidImageError
            With ``on_error="raise"``, for the first sample that cannot be read; the message names
            its index and path.
        FaceStoreError
            If `cache` cannot be used.

        Warns
        -----
        MediaWarning
            Names the samples read in part and, with ``on_error="warn"``, those not read at all.
        """
        template = TEMPLATES[self._check_parameters().template]
        samples = list_samples(X)
        align = self._align if self.cache is None else self._align_through_store
        outcomes = align(samples)
        clips = np.empty(len(outcomes), dtype=object)
        for index, outcome in enumerate(outcomes):
            frames: Any = outcome.found
            if isinstance(frames, list):
                empty = np.empty((0, template.height, template.width, 3), np.uint8)
                frames = np.stack(frames) if frames else empty
            clips[index] = frames
        _warn_of_remarks(samples, outcomes)
        return clips

    def detect(self, X: Any) -> list[Detections]:
        """Find all faces in photos.

        Parameters
        ----------
        X : sequence of photos, or ndarray of uint8, shape (n, H, W, 3)
            As for :meth:`transform`, without clips.

        Returns
        -------
        list of Detections
            For each photo its ``boxes`` (n, 4), left, top, right and bottom in pixels of the
            upright photo, ``scores`` (n,) and ``landmarks`` (n, 5, 2), most confident first.

        Raises
        ------
        MediaReadError, MediaLimitError, InvalidImageError
            As for :meth:`transform`; also if a sample is a clip.
        """
        self._check_parameters()
        samples = list_samples(X)
        outcomes = [
            outcome for _, outcome in self._run(samples, range(len(samples)), _detect_batch)
        ]
        _warn_of_remarks(samples, outcomes)
        return [outcome.found for outcome in outcomes]

    def _check_parameters(self) -> Self:
        check_params(self)
        if len(self.thresholds) != 3 or not all(0 < t < 1 for t in self.thresholds):
            raise ValueError(
                f"thresholds={self.thresholds!r} must be three numbers between 0 and 1, one for "
                "each network."
            )
        return self

    def _align(self, samples: Sequence[Any]) -> list[_Outcome]:
        return [outcome for _, outcome in self._run(samples, range(len(samples)), _align_batch)]

    def _align_through_store(self, samples: Sequence[Any]) -> list[_Outcome]:
        """Align what the store does not have, put it there, and read all from there."""
        template = TEMPLATES[self.template]
        assert self.cache is not None
        store = FaceStore(self.cache, self._settings(), (template.height, template.width))
        contents = read_contents(samples, self.n_frames, self.verbose)
        # Equal samples are aligned once; what cannot be read has no content, and stays by itself.
        keys = [i if content is None else content.key for i, content in enumerate(contents)]
        todo = {key: i for i, key in reversed(list(enumerate(keys))) if str(key) not in store}
        fresh: dict[int | str, _Outcome] = {}
        storable: list[tuple[str, list[FaceClip], list[str]]] = []
        try:
            for i, outcome in self._run(samples, sorted(todo.values()), _align_batch):
                content = contents[i]
                if (
                    content is None
                    or outcome.failed
                    or not is_unchanged(samples[i], content, self.n_frames)
                ):
                    fresh[keys[i]] = outcome
                    continue
                storable.append((content.key, outcome.found, outcome.remarks))
                if len(storable) == self.batch_size:
                    store.add(storable)
                    storable = []
        finally:
            # Also what was aligned before a sample that cannot be read.
            store.add(storable)
            store.close()
        return [fresh[key] if key in fresh else _stored(store, str(key)) for key in keys]

    def _settings(self) -> dict[str, Any]:
        """Tell all parameters that change pixels, and what the algorithm is."""
        return {
            "alignment": _ALIGNMENT,
            "detector": weights_digest(),
            "template": self.template,
            "n_frames": None if self.n_frames is None else int(self.n_frames),
            "select": self.select,
            "margin": float(self.margin),
            "min_face_size": float(self.min_face_size),
            "thresholds": [float(threshold) for threshold in self.thresholds],
        }

    def _run(
        self, samples: Sequence[Any], rows: Sequence[int], work: Callable[..., list[_Outcome]]
    ) -> Iterator[tuple[int, _Outcome]]:
        """Share some of the samples among the workers, and yield what became of each, in order."""
        # Enough photos to fill the detector's batch, and few enough to share and show progress.
        starts = range(0, len(rows), self.batch_size)
        batches = (rows[s : s + self.batch_size] for s in starts)
        jobs = (delayed(work)(self, [samples[i] for i in batch], batch) for batch in batches)
        results = Parallel(n_jobs=self.n_jobs, return_as="generator")(jobs)
        with tqdm(total=len(rows), desc="faces", disable=not self.verbose) as progress:
            for start, outcomes in zip(starts, results, strict=True):
                progress.update(len(outcomes))
                yield from zip(rows[start : start + self.batch_size], outcomes, strict=True)

    def _find(self, images: list[npt.NDArray[np.uint8]]) -> list[Detections]:
        return detect_faces(
            images,
            min_face_size=self.min_face_size,
            thresholds=self.thresholds,
            device=self.device,
        )

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags

    def set_output(self, *, transform: str | None = None) -> Self:
        """Accept any output container and change nothing: face clips are no table.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            Ignored, so that a pipeline can set the output of its other steps.

        Returns
        -------
        FaceAligner
            Itself.
        """
        return self


def _stored(store: FaceStore, key: str) -> _Outcome:
    clip, remarks = store.get(key)
    return _Outcome(clip, list(remarks))


def _warn_of_remarks(samples: Sequence[Any], outcomes: Sequence[_Outcome]) -> None:
    """Warn once, in the name of the public method that calls this, of all that was noticed."""
    notes = [
        f"sample {i} ({describe(sample)}): {remark}"
        for i, (sample, outcome) in enumerate(zip(samples, outcomes, strict=True))
        for remark in outcome.remarks
    ]
    if notes:
        listing = "\n".join(f"- {note}" for note in notes)
        warn_user(
            f"{len(notes)} of {len(samples)} samples were not read in full:\n{listing}",
            MediaWarning,
        )


def _align_batch(
    aligner: FaceAligner, samples: Sequence[Any], numbers: Sequence[int]
) -> list[_Outcome]:
    """Find the aligned frames of each sample."""
    template = TEMPLATES[aligner.template]
    rank = _SELECTORS[aligner.select]
    outcomes = [_Outcome([]) for _ in samples]

    def flush(batch: list[tuple[int, npt.NDArray[np.uint8]]]) -> None:
        for (row, image), found in zip(batch, aligner._find([i for _, i in batch]), strict=True):
            if len(found) > 0:
                best = int(np.argmax(rank(found, *image.shape[:2])))
                face = align_face(image, found.landmarks[best], template, aligner.margin)
                outcomes[row].found.append(face)

    batch: list[tuple[int, npt.NDArray[np.uint8]]] = []
    for row, image in _read(aligner, samples, numbers, outcomes, clips=True):
        batch.append((row, image))
        if len(batch) == aligner.batch_size:
            flush(batch)
            batch = []
    flush(batch)
    return outcomes


def _detect_batch(
    aligner: FaceAligner, samples: Sequence[Any], numbers: Sequence[int]
) -> list[_Outcome]:
    """Find the faces in each photo."""
    nothing = Detections(
        np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32)
    )
    outcomes = [_Outcome(nothing) for _ in samples]
    rows, images = [], []
    for row, image in _read(aligner, samples, numbers, outcomes, clips=False):
        rows.append(row)
        images.append(image)
    for row, faces in zip(rows, aligner._find(images), strict=True):
        outcomes[row].found = faces
    return outcomes


def _read(
    aligner: FaceAligner,
    samples: Sequence[Any],
    numbers: Sequence[int],
    outcomes: Sequence[_Outcome],
    *,
    clips: bool,
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Yield (row, image) for every frame of every sample that can be read."""
    for row, source in enumerate(samples):
        outcome = outcomes[row]
        try:
            if not is_clip(source):
                yield row, open_photo(source)
            elif clips:
                for frame in sample_frames(source, aligner.n_frames, outcome.remarks):
                    yield row, frame.image
            else:
                raise InvalidImageError("it is a clip; `detect` takes photos only.")
        except PersonaAffectError as error:
            if aligner.on_error == "raise":
                name = f"sample {numbers[row]} ({describe(source)})"
                raise type(error)(f"{name}: {error}") from error
            outcome.remarks[:] = [str(error)]
            outcome.failed = True
