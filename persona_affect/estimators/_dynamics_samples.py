"""Input of the dynamics encoder: checks of clips, resizing, subtraction of the mean face."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import ShuffleSplit
from torch import Tensor
from torch.nn import functional

from persona_affect._warnings import warn_user
from persona_affect.exceptions import InvalidImageError, NoFaceWarning
from persona_affect.faces import split_pieces
from persona_affect.media import list_samples
from persona_affect.networks import UNET_LEVELS, DynamicsUNet

from ._inference import name_samples

Person = TypeVar("Person")

#: Grey levels of one unit: differences from the mean face are at most a few tens.
_UNIT: Final = 32.0
_FRAMES_AT_ONCE: Final = 256


def check_sizes(
    *,
    scales: Sequence[int],
    context: int,
    image_size: Sequence[int],
    widths: Sequence[int],
    filter_levels: Sequence[str],
) -> None:
    """Check conditions that the constraints of single parameters cannot express.

    Raises
    ------
    ValueError
        If a parameter is wrong; the message names it.
    """
    if not _are_ints(scales, 1) or len(set(scales)) != len(scales):
        raise ValueError(f"scales must be different ints, 1 or more; got {scales!r}.")
    if context % 2 == 0:
        raise ValueError(f"context must be odd; got {context}.")
    if not _are_ints(image_size, 8) or len(image_size) != 2:
        raise ValueError(f"image_size must be two ints, 8 or more; got {image_size!r}.")
    multiples = _are_ints(widths, 8) and not any(width % 8 for width in widths)
    if not multiples or len(widths) != 3:
        raise ValueError(f"widths must be three multiples of 8; got {widths!r}.")
    unknown = [level for level in filter_levels if level not in UNET_LEVELS]
    if unknown or not len(filter_levels):
        raise ValueError(f"filter_levels must be names among {UNET_LEVELS}; got {filter_levels!r}.")


def check_lags(lags: Sequence[int], n_steps: int, n_windows: int | None) -> tuple[int, ...]:
    """Check the lags of filters, alone and with the parameters that they need.

    Raises
    ------
    ValueError
        If they are wrong; the message says why.
    """
    if not _are_ints(lags, -math.inf) or len(set(lags)) != len(lags):
        raise ValueError(f"filter_lags must be different ints; got {lags!r}.")
    found = tuple(int(lag) for lag in lags)
    if found != (0,) and (n_steps != 1 or n_windows is not None):
        raise ValueError(
            f"filter_lags={lags!r} needs n_steps=1 and n_windows=None, not {n_steps} and "
            f"{n_windows}: filters that reach over time learn in one step, from windows that "
            "follow each other."
        )
    return found


def read_persons(
    X: Any, net: DynamicsUNet, image_size: tuple[int, int], outcome: str
) -> list[list[NDArray[np.uint8]]]:
    """Read samples as lists of clips with frames; warn about samples that have none.

    Parameters
    ----------
    X : array-like of n_samples persons
        Each a clip or a list of clips; also a column of a table, or a table of one column. The
        pieces of a `FaceClip` are clips; those that are too short are left out.
    net : DynamicsUNet
        Its windows must fit into every clip.
    image_size : tuple of (height, width)
        Faces must be at least as large.
    outcome : str
        What happens to samples without a face, for the warning.

    Returns
    -------
    list of list of ndarray of shape (T, H, W, 3), uint8

    Raises
    ------
    InvalidImageError
        If X is no collection, or a sample is not a face clip, or has one that is too short or too
        small.
    """
    if isinstance(X, np.ndarray) and X.dtype != np.object_ and X.ndim != 5:
        raise InvalidImageError(
            f"X has shape {X.shape} and type {X.dtype}, not (n, T, H, W, 3) of uint8. Dynamics "
            "need clips: an array of face clips, as FaceAligner returns, or a 5-D array."
        )
    samples = list_samples(X)
    persons = [list(_read_clips(sample, i, net, image_size)) for i, sample in enumerate(samples)]
    faceless = [i for i, clips in enumerate(persons) if not clips]
    if faceless:
        warn_user(f"{name_samples(faceless)} no face; {outcome}.", NoFaceWarning)
    return persons


def check_faces(faces: Any, owner: str, size: tuple[int, int]) -> None:
    """Check that `faces` are uint8 pixels (T, H, W, 3), of at least `size` if there are any.

    Raises
    ------
    InvalidImageError
        If not; the message begins with `owner`.
    """
    if not isinstance(faces, np.ndarray) or faces.dtype != np.uint8:
        what = getattr(faces, "dtype", type(faces).__name__)
        raise InvalidImageError(
            f"{owner} holds {what}, not uint8 pixels. Give face clips (T, H, W, 3), or a list of "
            "them a sample; FaceAligner makes them from videos."
        )
    if faces.ndim != 4 or faces.shape[-1] != 3:
        raise InvalidImageError(f"{owner} has a clip of shape {faces.shape}, not (T, H, W, 3).")
    if len(faces) and (faces.shape[1] < size[0] or faces.shape[2] < size[1]):
        raise InvalidImageError(
            f"{owner} has faces of {faces.shape[1]}x{faces.shape[2]} pixels, smaller than "
            f"image_size={size}. Give larger faces, or lower it."
        )


def prepare_clip(clip: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """Resize faces, and subtract the clip's mean face.

    Look, light and background stay the same in a clip, and have no information about its dynamics.
    If they were kept, the network would have to learn from few persons to ignore them, and the
    gradients of the filters would contain them.

    Parameters
    ----------
    clip : ndarray of shape (T, H, W, 3), uint8
    size : tuple of (h, w)
        At most (H, W); faces are averaged over areas.

    Returns
    -------
    torch.Tensor of shape (T, 3, h, w), float32
        In units of 32 grey levels.
    """
    return subtract_mean_face(resize_faces(clip, size))


def resize_faces(faces: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """Resize faces (T, H, W, 3) by averages over areas; (T, 3, h, w) in grey levels."""
    parts = [
        functional.adaptive_avg_pool2d(
            torch.from_numpy(faces[i : i + _FRAMES_AT_ONCE]).movedim(3, 1).float(), size
        )
        for i in range(0, len(faces), _FRAMES_AT_ONCE)
    ]
    return torch.cat(parts)


def subtract_mean_face(frames: Tensor) -> Tensor:
    """Subtract the mean of frames (T, 3, h, w), and change the unit to 32 grey levels."""
    return (frames - frames.mean(0)) / _UNIT


def hold_out(
    persons: list[Person], fraction: float | None, rng: np.random.RandomState
) -> tuple[list[Person], list[Person]]:
    """Split persons for early stopping, into training and validation.

    Parameters
    ----------
    persons : list
    fraction : float or None
        Fraction for validation, at least one person; None for no validation.
    rng : RandomState

    Raises
    ------
    ValueError
        If one side would be empty.
    """
    if not persons:
        raise ValueError("Nothing to train on: no sample has a face.")
    if fraction is None:
        return persons, []
    if len(persons) < 2:
        raise ValueError(
            "early_stopping holds out samples, but only 1 has a face; set early_stopping=False."
        )
    n_held_out = min(max(1, round(fraction * len(persons))), len(persons) - 1)
    splitter = ShuffleSplit(1, test_size=n_held_out, random_state=rng)
    kept, held_out = next(splitter.split(persons))
    return [persons[i] for i in np.sort(kept)], [persons[i] for i in held_out]


def _read_clips(
    sample: Any, index: int, net: DynamicsUNet, size: tuple[int, int]
) -> Iterator[NDArray[np.uint8]]:
    several = isinstance(sample, (list, tuple)) or (
        isinstance(sample, np.ndarray) and sample.dtype == np.object_
    )
    needed = 2 * net.margin + 1
    for clip in sample if several else [sample]:
        check_faces(clip, f"Sample {index}", size)
        if not len(clip):
            continue
        pieces = split_pieces(clip)
        longest = max(map(len, pieces))
        if longest < needed:
            lost = f" between losses of the face ({len(pieces)})" if len(pieces) > 1 else ""
            raise InvalidImageError(
                f"Sample {index} has a clip of {longest} frames{lost}; scales={net.scales}, "
                f"context={net.context} and spacing={net.spacing!r} need {needed} or more. "
                "Give longer clips, or leave out the largest scale."
            )
        yield from (piece for piece in pieces if len(piece) >= needed)


def _are_ints(values: Any, low: float) -> bool:
    return len(values) > 0 and all(
        isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v >= low for v in values
    )
