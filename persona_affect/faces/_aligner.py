"""The transformer from photos and clips to aligned faces."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from tqdm.auto import tqdm

from ..exceptions import InvalidImageError, MediaWarning, PersonaAffectError
from ..media import describe, is_clip, open_photo, sample_frames
from ._alignment import TEMPLATES, align_face
from ._mtcnn import Detections, detect_faces

FaceClip = npt.NDArray[np.uint8]


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
        from them. None takes every frame.
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
        "n_frames": [Interval(Integral, 1, None, closed="left"), None],
        "select": [StrOptions(set(_SELECTORS))],
        "margin": [Interval(Real, 0, None, closed="left")],
        # Below 6 pixels, faces would be looked for in an enlarged photo.
        "min_face_size": [Interval(Real, 6, None, closed="left")],
        "thresholds": [tuple, list],
        "on_error": [StrOptions({"raise", "warn"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "device": [str],
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
        self.verbose = verbose

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

        Warns
        -----
        MediaWarning
            Names the samples read in part and, with ``on_error="warn"``, those not read at all.
        """
        template = TEMPLATES[self._check_parameters().template]
        faces: list[list[FaceClip]] = []
        for found in self._run(X, _align_batch):
            faces.extend(found)
        clips = np.empty(len(faces), dtype=object)
        for index, frames in enumerate(faces):
            empty = np.empty((0, template.height, template.width, 3), np.uint8)
            clips[index] = np.stack(frames) if frames else empty
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
        return [faces for batch in self._run(X, _detect_batch) for faces in batch]

    def _check_parameters(self) -> Self:
        self._validate_params()
        if len(self.thresholds) != 3 or not all(0 < t < 1 for t in self.thresholds):
            raise ValueError(
                f"thresholds={self.thresholds!r} must be three numbers between 0 and 1, one for "
                "each network."
            )
        return self

    def _run(self, X: Any, work: Callable[..., tuple[list[Any], list[str]]]) -> Iterator[list[Any]]:
        """Share the samples among the workers, and warn once of everything they noticed."""
        samples = _check_samples(X)
        # Enough photos to fill the detector's batch, and few enough to share and show progress.
        starts = range(0, len(samples), self.batch_size)
        jobs = (delayed(work)(self, samples[s : s + self.batch_size], s) for s in starts)
        results = Parallel(n_jobs=self.n_jobs, return_as="generator")(jobs)
        notes: list[str] = []
        with tqdm(total=len(samples), desc="faces", disable=not self.verbose) as progress:
            for found, noticed in results:
                notes.extend(noticed)
                progress.update(len(found))
                yield found
        if notes:
            listing = "\n".join(f"- {note}" for note in notes)
            warnings.warn(
                f"{len(notes)} of {len(samples)} samples were not read in full:\n{listing}",
                MediaWarning,
                stacklevel=3,
            )

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


def _check_samples(X: Any) -> Sequence[Any]:
    """Return X as a sequence of samples, or say what it is instead."""
    if isinstance(X, str | os.PathLike | bytes | bytearray | memoryview | Image.Image):
        raise InvalidImageError(f"X is a single sample, {describe(X)!r}: put it into a list, [X].")
    if isinstance(X, np.ndarray) and X.dtype != object and X.dtype.kind in "biuf":
        if X.ndim in (2, 3):
            raise InvalidImageError(
                f"X is a single array of shape {X.shape}: put a photo into a list, [X]; several "
                "photos of one size have shape (n, H, W, 3)."
            )
        if X.ndim not in (4, 5):
            raise InvalidImageError(
                "X as one array has shape (n, H, W, 3) for photos or (n, T, H, W, 3) for clips, "
                f"not {X.shape}."
            )
        return list(X)
    try:
        return list(X)
    except TypeError:
        raise InvalidImageError(
            f"X must be a sequence of photos and clips, not {type(X).__name__}."
        ) from None


def _align_batch(
    aligner: FaceAligner, samples: Sequence[Any], first: int
) -> tuple[list[list[FaceClip]], list[str]]:
    """Return the aligned frames of each sample, and what went wrong with which."""
    template = TEMPLATES[aligner.template]
    rank = _SELECTORS[aligner.select]
    notes: list[str] = []
    faces: list[list[FaceClip]] = [[] for _ in samples]

    def flush(batch: list[tuple[int, npt.NDArray[np.uint8]]]) -> None:
        for (row, image), found in zip(batch, aligner._find([i for _, i in batch]), strict=True):
            if len(found) > 0:
                best = int(np.argmax(rank(found, *image.shape[:2])))
                face = align_face(image, found.landmarks[best], template, aligner.margin)
                faces[row].append(face)

    batch: list[tuple[int, npt.NDArray[np.uint8]]] = []
    for row, image in _read(aligner, samples, first, notes, clips=True):
        batch.append((row, image))
        if len(batch) == aligner.batch_size:
            flush(batch)
            batch = []
    flush(batch)
    return faces, notes


def _detect_batch(
    aligner: FaceAligner, samples: Sequence[Any], first: int
) -> tuple[list[Detections], list[str]]:
    """Return the faces in each photo, and what went wrong with which."""
    notes: list[str] = []
    rows, images = [], []
    for row, image in _read(aligner, samples, first, notes, clips=False):
        rows.append(row)
        images.append(image)
    nothing = Detections(
        np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32)
    )
    found = [nothing] * len(samples)
    for row, faces in zip(rows, aligner._find(images), strict=True):
        found[row] = faces
    return found, notes


def _read(
    aligner: FaceAligner, samples: Sequence[Any], first: int, notes: list[str], *, clips: bool
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Yield (row, image) for every frame of every sample that can be read."""
    for row, source in enumerate(samples):
        name = f"sample {first + row} ({describe(source)})"
        remarks: list[str] = []
        try:
            if not is_clip(source):
                yield row, open_photo(source)
            elif clips:
                for frame in sample_frames(source, aligner.n_frames, remarks):
                    yield row, frame.image
            else:
                raise InvalidImageError("it is a clip; `detect` takes photos only.")
        except PersonaAffectError as error:
            if aligner.on_error == "raise":
                raise type(error)(f"{name}: {error}") from error
            remarks = [str(error)]
        notes.extend(f"{name}: {remark}" for remark in remarks)
