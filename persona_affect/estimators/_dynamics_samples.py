"""What comes into the dynamics encoder: persons as clips, and parameters, checked."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from persona_affect._warnings import warn_user
from persona_affect.exceptions import InvalidImageError, NoFaceWarning
from persona_affect.networks import LEVELS

from ._inference import name_samples

if TYPE_CHECKING:
    from ._dynamics import PersonDynamicsEncoder


def check_shapes(encoder: "PersonDynamicsEncoder") -> None:
    """Check what names and intervals of the parameters alone do not say."""
    scales, widths, image_size = encoder.scales, encoder.widths, encoder.image_size
    if not _whole(scales, 1) or len(set(scales)) != len(scales):
        raise ValueError(f"scales must be different ints, 1 or more; got {scales!r}.")
    if encoder.context % 2 == 0:
        raise ValueError(f"context must be odd; got {encoder.context}.")
    if not _whole(image_size, 8) or len(image_size) != 2:
        raise ValueError(f"image_size must be two ints, 8 or more; got {image_size!r}.")
    multiples = _whole(widths, 8) and not any(width % 8 for width in widths)
    if not multiples or len(widths) != 3:
        raise ValueError(f"widths must be three multiples of 8; got {widths!r}.")
    unknown = [level for level in encoder.filter_levels if level not in LEVELS]
    if unknown or not len(encoder.filter_levels):
        raise ValueError(
            f"filter_levels must be names among {LEVELS}; got {encoder.filter_levels!r}."
        )


def read_persons(
    encoder: "PersonDynamicsEncoder", X: Any, margin: int, outcome: str
) -> list[list[NDArray[np.uint8]]]:
    """Read samples as lists of clips with frames; warn of samples that have none.

    Parameters
    ----------
    encoder : PersonDynamicsEncoder
        Whose parameters the clips must fit.
    X : array-like of n_samples persons
        Each a clip or several.
    margin : int
        Frames that a window needs on either side of its centre.
    outcome : str
        What becomes of samples without a face, for the warning.

    Returns
    -------
    list of list of ndarray of shape (T, H, W, 3), uint8

    Raises
    ------
    InvalidImageError
        If a sample is no face clip, or has one too short or too small.
    """
    if isinstance(X, np.ndarray) and X.dtype != np.object_ and X.ndim != 5:
        raise InvalidImageError(
            f"X has shape {X.shape} and type {X.dtype}, not (n, T, H, W, 3) of uint8. Dynamics "
            "need clips: an array of face clips, as FaceAligner returns, or a 5-D array."
        )
    persons = [list(_clips_of(encoder, sample, i, margin)) for i, sample in enumerate(X)]
    faceless = [i for i, clips in enumerate(persons) if not clips]
    if faceless:
        warn_user(f"{name_samples(faceless)} no face; {outcome}.", NoFaceWarning)
    return persons


def hold_out(
    encoder: "PersonDynamicsEncoder", persons: list[list[Tensor]], rng: np.random.RandomState
) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """Split persons for early stopping: those to train on, and those to judge by, if any."""
    if not persons:
        raise ValueError("Nothing to train on: no sample has a face.")
    if not encoder.early_stopping:
        return persons, []
    if len(persons) < 2:
        raise ValueError(
            "early_stopping holds out samples, but only 1 has a face; set early_stopping=False."
        )
    n_held = min(max(1, round(encoder.validation_fraction * len(persons))), len(persons) - 1)
    order = rng.permutation(len(persons))
    held, kept = order[:n_held], np.sort(order[n_held:])
    return [persons[i] for i in kept], [persons[i] for i in held]


def _clips_of(
    encoder: "PersonDynamicsEncoder", sample: Any, index: int, margin: int
) -> Iterator[NDArray[np.uint8]]:
    several = isinstance(sample, (list, tuple)) or (
        isinstance(sample, np.ndarray) and sample.dtype == np.object_
    )
    needed = 2 * margin + 1
    size = encoder.image_size
    for clip in sample if several else [sample]:
        if not isinstance(clip, np.ndarray) or clip.dtype != np.uint8:
            what = getattr(clip, "dtype", type(clip).__name__)
            raise InvalidImageError(
                f"Sample {index} holds {what}, not uint8 pixels. Give face clips (T, H, W, 3), "
                "or a list of them a sample."
            )
        if clip.ndim != 4 or clip.shape[-1] != 3:
            raise InvalidImageError(
                f"Sample {index} has a clip of shape {clip.shape}, not (T, H, W, 3)."
            )
        if not len(clip):
            continue
        if len(clip) < needed:
            raise InvalidImageError(
                f"Sample {index} has a clip of {len(clip)} frames; scales={tuple(encoder.scales)}, "
                f"context={encoder.context} and spacing={encoder.spacing!r} need {needed} or more. "
                "Give longer clips, or leave out the largest scale."
            )
        if clip.shape[1] < size[0] or clip.shape[2] < size[1]:
            raise InvalidImageError(
                f"Sample {index} has faces of {clip.shape[1]}x{clip.shape[2]} pixels, smaller "
                f"than image_size={size}. Give larger faces, or lower it."
            )
        yield clip


def _whole(values: Any, low: int) -> bool:
    return len(values) > 0 and all(
        isinstance(v, (int, np.integer)) and not isinstance(v, bool) and v >= low for v in values
    )
