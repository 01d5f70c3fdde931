"""The transformer from photos and clips to aligned faces."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import get_config
from sklearn.base import BaseEstimator, TransformerMixin

from .._arrays import object_array
from .._sklearn import Interval, StrOptions, check_params, output_container
from ..media import MAX_SAMPLED_FRAMES, list_samples
from ._batches import Outcome, Work, align_samples, detect_samples, share_batches, warn_of_remarks
from ._caching import align_stored
from ._detections import Detections
from ._settings import SELECTORS, FaceSettings, make_settings


class FaceAligner(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Find the face in photos and clips, and align it to a template.

    Faces are found by a detector with published weights and warped by a similarity (no shear) that
    brings their five landmarks as close as possible to a template. The transformer learns nothing:
    `fit` checks the parameters, and `transform` works without it.

    Parameters
    ----------
    template : str, default="sphereface"
        The aligned face's layout, one of :data:`persona_affect.faces.TEMPLATES`: ``"sphereface"``
        has 112 x 96 pixels, ``"resnet29"`` 150 x 150; `faces.register_template` adds others.
    detector : str, default="mtcnn"
        The face detector, one of :data:`persona_affect.faces.DETECTORS`: ``"mtcnn"`` is the whole
        cascade [1]_. ``"yunet"`` takes candidates from YuNet [2]_ on a smaller copy, and finds
        their landmarks with the last two networks of MTCNN. It is several times as fast, and may
        miss faces of less than twice `min_face_size`. `faces.register_detector` adds others.
    n_frames : int or None, default=10
        Frames sampled from a clip: the centre frames of as many segments of equal duration. Ten is
        the number of segments in PersEmoN's released recipe. At most 10,000; None takes all frames.
    rate : float or None, default=None
        Frames a second, in place of `n_frames`: faces at equal times, mixed from those before and
        after. Arrays and image files are taken to have this rate. See :class:`FaceClip` for gaps.
    select : {"largest", "confident", "centre"}, default="largest"
        Which face to take where a photo or clip shows several.
    select_over : {"clip", "frame"}, default="clip"
        Of a clip, take one person, whom `select` prefers over the whole clip; or choose in each
        frame, so that a face clip may mix persons.
    margin : float, default=0.0
        Extra context around the face, as a share of the template's side; 0 or more.
    min_face_size : float, default=20
        Side of the smallest faces looked for, in pixels, 6 or more. Twice: about 4 times as fast.
    upright : {"exif", "search"}, default="exif"
        Turn photos and clips as their files say; or also detect in all four quarter turns, which
        takes four times as long, and keep the turn with the most confident upright face.
    landmarks : {"once", "mean"}, default="once"
        Find the five landmarks once; or nine times, in boxes around an upright copy of the face,
        and take their mean, so that pixels depend less on the size and turn of the picture. Faces
        that are turned by more than ten degrees always get the mean.
    thresholds : tuple of three floats, default=(0.6, 0.7, 0.7)
        Scores in (0, 1) that a candidate needs to pass each of MTCNN's three networks; YuNet
        replaces the first.
    on_error : {"raise", "warn"}, default="raise"
        What to do about a sample that cannot be read: raise, or treat it as a sample without a
        face, with one warning that lists all such samples.
    batch_size : int, default=32
        Frames that go through the detector at once.
    n_jobs : int or None, default=None
        Workers among which samples are shared, as in scikit-learn; `joblib.parallel_config` picks
        the backend.
    device : str, default="auto"
        Where the networks run: ``"auto"`` is a GPU if there is one, else the CPU.
    cache : path-like or None, default=None
        Folder to keep aligned faces in: each sample is aligned once, and `transform` then returns
        read-only arrays, which are read from disk when they are used. A sample is identified by the
        content of its file, which is read completely each time, so that stored faces are never out
        of date. Faces for other settings are stored separately. If `transform` is interrupted, only
        the samples in progress are lost. Several processes may share the folder. Pixels are assumed
        to be the same on every device. Samples that are paths, bytes or arrays are stored; samples
        that cannot be read are not.
    verbose : bool, default=False
        Show a progress bar.

    Raises
    ------
    ValueError
        From every method, if a parameter is wrong: an unknown template, detector or device, or a
        number out of its range.

    See Also
    --------
    persona_affect.estimators.FaceEmbedder : Embeddings of the aligned faces.
    persona_affect.media.open_clip : How frames are sampled.

    References
    ----------
    .. [1] Zhang, Zhang, Li, Qiao. "Joint Face Detection and Alignment using Multi-task Cascaded
       Convolutional Networks", IEEE Signal Processing Letters, 2016.
    .. [2] Wu, Peng, Yu. "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence
       Research, 2023.

    Examples
    --------
    A grey photo has no face, so its face clip has no frames:

    >>> import numpy as np
    >>> from persona_affect import FaceAligner
    >>> photos = np.full((1, 64, 64, 3), 128, dtype=np.uint8)
    >>> FaceAligner().transform(photos)[0].shape
    (0, 112, 96, 3)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "template": [str],
        "detector": [str],
        "n_frames": [Interval(Integral, 1, MAX_SAMPLED_FRAMES, closed="both"), None],
        "rate": [Interval(Real, 0, None, closed="neither"), None],
        "select": [StrOptions(set(SELECTORS))],
        "select_over": [StrOptions({"clip", "frame"})],
        "margin": [Interval(Real, 0, None, closed="left")],
        # Below 6 pixels, faces would be looked for in an enlarged photo.
        "min_face_size": [Interval(Real, 6, None, closed="left")],
        "upright": [StrOptions({"exif", "search"})],
        "landmarks": [StrOptions({"once", "mean"})],
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
        detector: str = "mtcnn",
        n_frames: int | None = 10,
        rate: float | None = None,
        select: str = "largest",
        select_over: str = "clip",
        margin: float = 0.0,
        min_face_size: float = 20,
        upright: str = "exif",
        landmarks: str = "once",
        thresholds: Sequence[float] = (0.6, 0.7, 0.7),
        on_error: str = "raise",
        batch_size: int = 32,
        n_jobs: int | None = None,
        device: str = "auto",
        cache: str | os.PathLike[str] | None = None,
        verbose: bool = False,
    ) -> None:
        self.template = template
        self.detector = detector
        self.n_frames = n_frames
        self.rate = rate
        self.select = select
        self.select_over = select_over
        self.margin = margin
        self.min_face_size = min_face_size
        self.upright = upright
        self.landmarks = landmarks
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
        self
        """
        self._settings()
        return self

    def transform(self, X: Any) -> Any:
        """Cut the aligned face out of every sample.

        Parameters
        ----------
        X : sequence of samples, or ndarray of uint8
            Each a photo (path, bytes, PIL image, array of shape (H, W, 3)) or a clip (path, bytes,
            array (T, H, W, 3)); photos and clips of any sizes may be mixed. An array of shape
            (n, H, W, 3) holds n photos, one of shape (n, T, H, W, 3) n clips. Arrays are RGB:
            convert those of OpenCV, which are BGR, by ``array[..., ::-1]``. A column of a table, or
            a table of one column, has one sample in each row.

        Returns
        -------
        ndarray or Series of object, shape (n_samples,)
            Face clips: uint8 RGB arrays of shape (n_frames, height, width, 3). A photo has one
            frame. Frames without a face, or without the person chosen, are left out, so that
            a sample without a face has zero frames; a clip of all frames, or at a `rate`, is then
            a :class:`FaceClip`. With pandas output, a column becomes a Series with its index.

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
            Names the samples read in part, those with a face turned by more than 60 degrees and,
            with ``on_error="warn"``, those not read at all.
        """
        settings = self._settings()
        samples = list_samples(X)
        if self.cache is None:
            run = self._share(align_samples, settings, samples)
            outcomes = [outcome for _, outcome in run(range(len(samples)))]
        else:
            outcomes = align_stored(self.cache, settings, samples, self.n_jobs, self.verbose)
        clips = object_array([outcome.found for outcome in outcomes])
        warn_of_remarks(samples, outcomes)
        container = output_container(self) or get_config()["transform_output"]
        if container == "pandas" and isinstance(X, pd.Series | pd.DataFrame):
            return pd.Series(clips, X.index, name="face")
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
        settings = self._settings()
        samples = list_samples(X)
        work = self._share(detect_samples, settings, samples)(range(len(samples)))
        outcomes = [outcome for _, outcome in work]
        warn_of_remarks(samples, outcomes)
        return [outcome.found for outcome in outcomes]

    def detect_frames(
        self, images: Sequence[npt.NDArray[np.uint8]], *, max_faces: int | None = None
    ) -> list[Detections]:
        """Find all faces in frames, given as arrays.

        Together with :meth:`align_faces` this is the path from a frame to aligned faces, the same
        to the bit for photos, clips and live streams, in batches of any size.

        Parameters
        ----------
        images : sequence of ndarray of uint8, shape (H, W, 3)
            RGB, upright, of any sizes.
        max_faces : int, optional
            The search may end in an image with more faces; more than these are then returned.

        Returns
        -------
        list of Detections
            As in :meth:`detect`, one for each image.

        Raises
        ------
        InvalidImageError
            If an image is not such an array; the message names its index.
        """
        return self._settings().detect(images, max_faces)

    def follow_frames(
        self,
        images: Sequence[npt.NDArray[np.uint8]],
        boxes: Sequence[npt.NDArray[np.floating]],
    ) -> list[Detections]:
        """Find faces again near their places in the frame before.

        Only the last two networks run, in a small fraction of the time. A face that has moved by
        less than about a quarter of its size is found again; new faces are not found.

        Parameters
        ----------
        images : sequence of ndarray of uint8, shape (H, W, 3)
            As for :meth:`detect_frames`.
        boxes : sequence of ndarray, shape (n, 4)
            For each image, the boxes found in the frame before.

        Returns
        -------
        list of Detections
            One for each image.

        Raises
        ------
        InvalidImageError
            As for :meth:`detect_frames`.
        """
        return self._settings().follow(images, boxes)

    def align_faces(
        self, image: npt.NDArray[np.uint8], landmarks: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.uint8]:
        """Cut aligned faces out of a frame.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            The frame, RGB.
        landmarks : ndarray, shape (n, 5, 2)
            In pixels of `image`, as :class:`Detections` has them.

        Returns
        -------
        ndarray of uint8, shape (n, height, width, 3)
            Of the template's size; beyond the frame its edge pixels are repeated.
        """
        return self._settings().align(image, np.asarray(landmarks))

    def select_face(self, faces: Detections, image: npt.NDArray[np.uint8]) -> int:
        """Choose one of a frame's faces as `select` says.

        Parameters
        ----------
        faces : Detections
            At least one face.
        image : ndarray of uint8, shape (H, W, 3)
            In which they were found.

        Returns
        -------
        int
            The index of the face.
        """
        return self._settings().select_face(faces, image)

    def _settings(self) -> FaceSettings:
        """Check the parameters, and return those that decide what is found."""
        check_params(self)
        return make_settings(self.get_params(deep=False))

    def _share(
        self, work: Work, settings: FaceSettings, samples: Sequence[Any]
    ) -> Callable[[Sequence[int]], Iterator[tuple[int, Outcome]]]:
        return partial(share_batches, work, settings, samples, self.n_jobs, self.verbose)

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
        """Set the output container.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None, default=None
            With ``"pandas"`` the index of a table's column is kept. None changes nothing, and the
            others give arrays: face clips are not a table.

        Returns
        -------
        self
        """
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}
        return self
