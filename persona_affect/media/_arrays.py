"""Arrays as pictures: checks, and conversion to 8-bit RGB."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .._warnings import warn_user
from ..exceptions import InvalidImageError, MediaWarning

# Numbers of 16 bits below this are not really 16 bits: read as such, they would be black.
_FEWEST: Final = 2**12
# Cameras of 14 bits use a quarter of the range, as dark photos may do.
_FEW: Final = 2**14


def check_pixels(array: npt.NDArray[Any], what: str, channels_axis: int) -> None:
    """Raise InvalidImageError unless `array` holds pixels: 8 or 16 bits, channels last."""
    if array.size == 0:
        raise InvalidImageError(f"the {what} is empty: its shape is {array.shape}.")
    channels = (1, 3, 4)
    # Few rows are possible, but not fewer pixels than channels.
    is_first = array.shape[channels_axis] in channels and min(array.shape[channels_axis + 1 :]) > 5
    if array.shape[-1] not in channels and is_first:
        raise InvalidImageError(
            f"the {what} has its channels first, {array.shape}: move them to the end with "
            f"np.moveaxis(array, {channels_axis}, -1)."
        )
    if array.shape[-1] not in channels:
        raise InvalidImageError(
            f"the {what} has {array.shape[-1]} channels, in shape {array.shape}: 1, 3 or 4 are "
            "understood, and come last."
        )
    # Either byte order.
    if array.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise InvalidImageError(f"the {what} holds {array.dtype}, not uint8: {_advice(array)}")


def photo_from_array(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Turn (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) pixels into 8-bit RGB."""
    if array.ndim == 2:
        array = array[..., np.newaxis]
    if array.ndim != 3:
        raise InvalidImageError(
            f"a photo has shape (H, W, 3) or (H, W); this array has {array.ndim} dimensions, "
            f"{array.shape}."
        )
    check_pixels(array, "photo", channels_axis=0)
    return to_rgb(to_8_bits(array, "photo"))


def to_8_bits(
    array: npt.NDArray[Any], what: str, n_bits: int | None = None
) -> npt.NDArray[np.uint8]:
    """Turn whole numbers of 8 or 16 bits into 8 bits.

    Parameters
    ----------
    array : ndarray of int
        Of type uint8, or with numbers from 0 to 65535.
    what : str
        Name of the array in messages.
    n_bits : int, optional
        How many of the 16 bits are used, the lower ones, if the source says so.

    Raises
    ------
    InvalidImageError
        If all numbers are below 4096, and the source does not declare fewer bits.

    Warns
    -----
    MediaWarning
        If all numbers are below 16384, so that the picture is dark, or has 14 bits.
    """
    if array.dtype == np.uint8:
        return array
    highest = int(array.max())
    if n_bits is not None and highest < 2**n_bits:
        array = array.astype(np.uint32) * 65535 // (2**n_bits - 1)
    else:
        check_depth(highest, what)
    return (array >> 8).astype(np.uint8)


def check_depth(highest: int, what: str) -> None:
    """Raise or warn if numbers of 16 bits use only the lower bits; see `to_8_bits`."""
    if 0 < highest < _FEWEST:
        advice = (
            "convert an array with array.astype(np.uint8), or save a file with 8 bits"
            if highest < 256
            else "scale them to 0..65535, or to 0..255 and 8 bits"
        )
        raise InvalidImageError(
            f"the {what} holds numbers of 16 bits that only reach {highest} of 65535, and would "
            f"be black: {advice}."
        )
    if 0 < highest < _FEW:
        warn_user(
            f"the {what} holds numbers of 16 bits that only reach {highest} of 65535, and is very "
            "dark; if it has fewer bits than 16, scale them to 0..65535.",
            MediaWarning,
        )


def to_rgb(array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Turn (..., 1), (..., 3) or (..., 4) pixels into RGB; transparency becomes white."""
    if array.shape[-1] == 1:
        array = np.repeat(array, 3, axis=-1)
    elif array.shape[-1] == 4:
        alpha = array[..., 3:].astype(np.uint16)
        array = ((array[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(array)


def _advice(array: npt.NDArray[Any]) -> str:
    if array.dtype.kind not in "biuf":
        return "give numbers from 0 to 255 as uint8."
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "it contains NaN or infinity; give numbers from 0 to 255 as uint8."
    if array.dtype.kind == "b":
        return "black and white become pixels with 255 * array.astype(np.uint8)."
    low, high = array.min(), array.max()
    if low < 0:
        return f"it contains negative numbers (down to {low:g}); undo any normalisation first."
    if array.dtype.kind == "f" and high <= 1:
        return "numbers from 0 to 1 become pixels with (255 * array).round().astype(np.uint8)."
    if high <= 255:
        return "convert it with array.astype(np.uint8)."
    return f"its numbers reach {high:g}; scale them to 0..255 and convert to uint8."
