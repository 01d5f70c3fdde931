"""Photos of all kinds as RGB arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from ..exceptions import (
    InvalidImageError,
    MediaLimitError,
    MediaReadError,
    MediaWarning,
    PersonaAffectError,
)
from ._arrays import photo_from_array
from ._colours import photo_to_srgb
from ._declared import Declared, read_declared
from ._formats import DECODED_FORMATS, BoundedFile, check_scans, open_encoded
from ._orientation import turn_upright
from ._packed import find_packed
from ._paths import MAX_PHOTO_BYTES, check_file, reason

#: Photos above this many pixels are refused before they are decoded (8192 x 8192).
MAX_PHOTO_PIXELS = 2**26


def open_photo(source: Any, *, max_pixels: int = MAX_PHOTO_PIXELS) -> npt.NDArray[np.uint8]:
    """Open a photo as an upright 8-bit RGB array.

    Parameters
    ----------
    source : str, os.PathLike, bytes, PIL.Image.Image or ndarray
        A path, the bytes of an encoded file, a PIL image, or an array: uint8 or uint16 of
        shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). Arrays are RGB; one of OpenCV, which is
        BGR, becomes RGB with ``array[..., ::-1]``. The EXIF orientation is applied, and colours
        become sRGB. Grey, palette, CMYK and 16-bit pictures become 8-bit RGB, transparency
        becomes white, and the first frame of an animation is used.
    max_pixels : int, default=2**26
        Encoded photos that declare more pixels are refused before they are decoded.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        Red, green, blue. It shares memory with `source` if that is such an array already.

    Raises
    ------
    MediaReadError
        The file is missing, empty, damaged, or not a photo.
    MediaLimitError
        The photo has more than `max_pixels` pixels, or its file more than 512 MiB.
    InvalidImageError
        The array is not an image (floats, negative numbers, channels first), or `source` is of
        an unknown kind.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.media import open_photo
    >>> open_photo(np.zeros((4, 6), dtype=np.uint8)).shape
    (4, 6, 3)
    """
    if isinstance(source, np.ndarray):
        return photo_from_array(source)
    if isinstance(source, Image.Image):
        with _named_errors():
            return _photo_from_pil(source, max_pixels)
    if isinstance(source, str | os.PathLike):
        source = _read_file(source)
    if isinstance(source, bytes | bytearray | memoryview):
        if len(source) == 0:
            raise MediaReadError("the photo is empty: 0 bytes.")
        data = bytes(source)
        check_scans(data)
        with _named_errors(), open_encoded(BoundedFile(data)) as image:
            return _photo_from_pil(image, max_pixels)
    raise InvalidImageError(f"cannot read a photo from {type(source).__name__}: {advise(source)}")


def advise(source: Any) -> str:
    """Say how to convert an object that is not a sample."""
    if hasattr(source, "read"):
        return "give its content, source.read(), as bytes."
    if type(source).__module__.partition(".")[0] in ("torch", "jax", "jaxlib", "tensorflow"):
        return (
            "give a uint8 array (H, W, 3): tensor.permute(1, 2, 0).cpu().numpy() where the "
            "channels come first, from 0 to 255."
        )
    return "give a path, bytes, a PIL image or a uint8 array (H, W, 3)."


def _read_file(source: str | os.PathLike[str]) -> bytes:
    packed = find_packed(source)
    if packed is not None:
        return packed.read()
    path = check_file(source)
    try:
        size = path.stat().st_size
        if size > MAX_PHOTO_BYTES:
            raise MediaLimitError(
                f"the photo file has {size:,} bytes, more than {MAX_PHOTO_BYTES:,}."
            )
        with path.open("rb") as file:
            # The file may grow while it is read.
            return file.read(MAX_PHOTO_BYTES)
    except OSError as error:
        # No permission, deleted after the check, a disk that fails.
        raise MediaReadError(f"the file cannot be read: {reason(error)}.") from error


@contextmanager
def _named_errors() -> Iterator[None]:
    """Turn all errors of decoders into errors of this package."""
    try:
        yield
    except (PersonaAffectError, MediaWarning):
        raise
    except Image.DecompressionBombError as error:
        raise MediaLimitError(
            f"{error} (Pillow's own limit, PIL.Image.MAX_IMAGE_PIXELS)."
        ) from error
    except Exception as error:
        # Pillow's decoders fail on damaged files, and closed pictures, with errors of any class.
        raise MediaReadError(
            f"the photo is damaged: {type(error).__name__}: {reason(error)}."
        ) from error


def _photo_from_pil(image: Image.Image, max_pixels: int) -> npt.NDArray[np.uint8]:
    width, height = image.size
    if width * height > max_pixels:
        raise MediaLimitError(
            f"the photo declares {width} x {height} pixels, more than max_pixels={max_pixels:,}."
        )
    if width * height == 0:
        raise InvalidImageError(f"the photo is empty: {width} x {height} pixels.")
    declared = Declared()
    if isinstance(image, ImageFile.ImageFile):
        if image.format not in DECODED_FORMATS:
            raise InvalidImageError(
                f"a PIL image of the format {image.format} is not decoded here: give "
                "image.convert('RGB')."
            )
        declared = read_declared(image)
    # Decoded first: Pillow applies the orientation of a TIFF while decoding, and removes the tag.
    image.load()
    return photo_to_srgb(turn_upright(image), declared)
