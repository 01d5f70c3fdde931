"""Reading face clips from all forms of X, and the choice of frames."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from persona_affect.exceptions import InvalidImageError
from persona_affect.media import segment_centres

_KINDS: Final = (
    "an array of face clips (as FaceAligner returns), a uint8 array (n, H, W, 3) or "
    "(n, T, H, W, 3), or a float matrix of embeddings (n, d)"
)


def holds_faces(X: Any) -> bool:
    """Return whether `X` holds pictures; if not, it is a matrix of embeddings.

    Raises
    ------
    InvalidImageError
        If it holds paths of files.
    """
    X = _without_index(X)
    first = next(iter(np.ravel(X)), None) if isinstance(X, pd.DataFrame) else None
    if isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.ndim == 1):
        first = next(iter(X), None)
    if isinstance(X, str | PathLike) or isinstance(first, str | bytes | PathLike):
        raise InvalidImageError(
            f"X holds files ({X if first is None else first!r}), not faces. Put "
            "persona_affect.FaceAligner before this estimator: make_pipeline(FaceAligner(), ...)."
        )
    if isinstance(X, np.ndarray) and not np.issubdtype(X.dtype, np.object_):
        return X.ndim in (4, 5)
    if not isinstance(X, (list, tuple)) and not (isinstance(X, np.ndarray) and X.ndim == 1):
        return False
    return any(isinstance(clip, np.ndarray) and clip.ndim in (3, 4) for clip in X)


def has_no_samples(X: Any) -> bool:
    """Return whether `X` is a list, or an array of one dimension, without samples of any kind."""
    return isinstance(X, list | tuple | np.ndarray | pd.Series) and len(X) == 0 and np.ndim(X) == 1


def _without_index(X: Any) -> Any:
    """Return the items of a Series, or of a table of one column of objects, as an array."""
    if isinstance(X, pd.DataFrame) and X.shape[1] == 1 and X.dtypes.iloc[0].kind == "O":
        X = X.iloc[:, 0]
    return X.to_numpy() if isinstance(X, pd.Series) else X


def check_matrix(
    estimator: BaseEstimator, X: Any, *, reset: bool, min_samples: int = 1, **checks: Any
) -> NDArray[Any]:
    """Validate a matrix as scikit-learn does; outside of `fit` it may have no rows.

    Parameters
    ----------
    estimator : estimator
        Its number and names of features are set, or compared.
    X : array-like of shape (n_samples, n_features), or an empty list
    reset : bool
        Whether this is a fit.
    min_samples : int, default=1
        How many rows a fit needs.
    **checks
        Of :func:`sklearn.utils.validation.validate_data`.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
    """
    if not reset and has_no_samples(X):
        names = getattr(estimator, "feature_names_in_", None)
        X = pd.DataFrame(np.empty((0, estimator.n_features_in_)), columns=names)
        X = X if names is not None else X.to_numpy()
    checked: NDArray[Any] = validate_data(
        estimator, X, reset=reset, ensure_min_samples=min_samples if reset else 0, **checks
    )
    return checked


def check_face_clips(X: Any, input_size: tuple[int, int] | None) -> Sequence[NDArray[np.uint8]]:
    """Read face clips.

    Parameters
    ----------
    X : array-like
        1-D array, list or Series of clips (T, H, W, 3), a 4-D array of photos or a 5-D array of
        clips.
    input_size : tuple of (H, W) or None
        Size that the backbone takes.

    Returns
    -------
    sequence of ndarray of shape (T, H, W, 3), uint8
        Views, not copies.

    Raises
    ------
    InvalidImageError
        If a sample is not a clip of the right size and type; the message names the first.
    """
    X = _without_index(X)
    if isinstance(X, np.ndarray) and X.ndim == 4:
        X = X[:, None]
    clips = list(X)
    for i, clip in enumerate(clips):
        if not isinstance(clip, np.ndarray) or clip.dtype != np.uint8:
            what = getattr(clip, "dtype", type(clip).__name__)
            raise InvalidImageError(f"Sample {i} is {what}, not uint8 pixels. Give {_KINDS}.")
        if clip.ndim != 4 or clip.shape[-1] != 3:
            raise InvalidImageError(
                f"Sample {i} has shape {clip.shape}, not (T, H, W, 3). Give {_KINDS}."
            )
        if input_size is not None and clip.shape[1:3] != input_size:
            raise InvalidImageError(
                f"Sample {i} is {clip.shape[1]}x{clip.shape[2]} pixels, but the backbone takes "
                f"{input_size[0]}x{input_size[1]}. Align faces first, with FaceAligner and the "
                "backbone's template."
            )
    return clips


def check_embeddings(X: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Read each row of embeddings (n, d) as a clip of one frame; a row of NaN has no face.

    Raises
    ------
    ValueError
        If a row is partly missing; the message names the first.
    """
    missing = np.isnan(X)
    faceless = np.asarray(missing.all(1))
    partly = missing.any(1) & ~faceless
    if partly.any():
        row = int(partly.argmax())
        raise ValueError(
            f"Sample {row} has {missing[row].sum()} features that are NaN. Only a whole row may be "
            "missing: a sample without a face."
        )
    return [row[None][: 1 - int(none)] for row, none in zip(X, faceless, strict=True)]


def centre_frames(n_frames: int, n_segments: int) -> NDArray[np.intp]:
    """Return the centre frame of each of `n_segments` equal segments, or all frames if fewer.

    Examples
    --------
    >>> centre_frames(9, 3)
    array([1, 4, 7])
    """
    return segment_centres(n_frames, min(n_segments, n_frames))


def random_frames(
    n_frames: NDArray[np.intp], n_segments: int, rng: np.random.RandomState
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Draw one frame from each of `n_segments` equal segments: the papers' sparse sampling.

    Parameters
    ----------
    n_frames : ndarray of shape (n_clips,)
        Frames of each clip.
    n_segments : int
        A clip with fewer frames gives all its frames.
    rng : numpy.random.RandomState

    Returns
    -------
    counts : ndarray of shape (n_clips,), int
        How many frames were drawn from each clip.
    frames : ndarray of int
        The frames of one clip after those of the other.
    """
    counts = np.minimum(n_segments, n_frames)
    of_clip = np.repeat(np.cumsum(counts) - counts, counts)
    segment = np.arange(len(of_clip)) - of_clip
    # One call for all clips: it draws the same numbers as a call for each.
    at = segment + rng.uniform(size=len(segment))
    frames = at * np.repeat(n_frames, counts) / np.repeat(counts, counts)
    return counts, frames.astype(np.intp)
