"""Photos as RGB arrays, whatever they were stored as."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ..exceptions import InvalidImageError, MediaLimitError, MediaReadError

#: Photos above this many pixels are refused before they are decoded (8192 x 8192).
MAX_PHOTO_PIXELS = 2**26
#: Photo files above this many bytes are refused before they are read (512 MiB).
MAX_PHOTO_BYTES = 2**29


def open_photo(source: Any, *, max_pixels: int = MAX_PHOTO_PIXELS) -> npt.NDArray[np.uint8]:
    """Open a photo as an upright 8-bit RGB array.

    Parameters
    ----------
    source : str, os.PathLike, bytes, PIL.Image.Image or ndarray
        A path, the bytes of an encoded file, a PIL image, or an array: uint8 or uint16 of
        shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). The EXIF orientation is applied. Grey,
        palette, CMYK and 16-bit pictures become 8-bit RGB, transparency is laid over white, and
        of an animation the first frame is taken.
    max_pixels : int, default=2**26
        Encoded photos that declare more pixels are refused before they are decoded.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        Red, green, blue. It shares memory with `source` where that is such an array already.

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
        return _photo_from_array(source)
    if isinstance(source, Image.Image):
        _check_pixels(source.size, max_pixels)
        return _photo_from_pil(source)
    if isinstance(source, bytes | bytearray | memoryview):
        if len(source) == 0:
            raise MediaReadError("the photo is empty: 0 bytes.")
        return _decode(io.BytesIO(source), max_pixels)
    if isinstance(source, str | os.PathLike):
        path = check_file(source)
        if path.stat().st_size > MAX_PHOTO_BYTES:
            raise MediaLimitError(
                f"the photo file has {path.stat().st_size:,} bytes, more than {MAX_PHOTO_BYTES:,}."
            )
        with path.open("rb") as file:
            return _decode(file, max_pixels)
    raise InvalidImageError(
        f"cannot read a photo from {type(source).__name__}: give a path, bytes, a PIL image or a "
        "uint8 array (H, W, 3)."
    )


def check_file(source: str | os.PathLike[str]) -> Path:
    """Return `source` as the path of a file that exists and is not empty, or raise."""
    try:
        path = Path(os.fspath(source))
        if path.is_dir():
            raise MediaReadError("it is a folder, not a file.")
        if not path.exists():
            raise MediaReadError("there is no such file.")
        if not path.is_file():
            # A pipe or a device could block for ever.
            raise MediaReadError("it is not a regular file.")
        if path.stat().st_size == 0:
            raise MediaReadError("the file is empty.")
    except MediaReadError:
        raise
    except (OSError, ValueError) as error:
        # Names too long for the system, null characters, no permission.
        raise MediaReadError(f"the path cannot be used: {error}.") from error
    return path


def check_clip_or_photo_array(array: npt.NDArray[Any], what: str, channels_axis: int) -> None:
    """Raise InvalidImageError unless `array` holds pixels: 8 or 16 bits, channels last."""
    if array.size == 0:
        raise InvalidImageError(f"the {what} is empty: its shape is {array.shape}.")
    channels = (1, 3, 4)
    if array.shape[-1] not in channels and array.shape[channels_axis] in channels:
        raise InvalidImageError(
            f"the {what} has its channels first, {array.shape}: move them to the end with "
            f"np.moveaxis(array, {channels_axis}, -1)."
        )
    if array.shape[-1] not in channels:
        raise InvalidImageError(
            f"the {what} has {array.shape[-1]} channels, in shape {array.shape}: 1, 3 or 4 are "
            "understood, and come last."
        )
    if array.dtype in (np.uint8, np.uint16):
        return
    raise InvalidImageError(f"the {what} holds {array.dtype}, not uint8: {_advice(array)}")


def _advice(array: npt.NDArray[Any]) -> str:
    if array.dtype.kind not in "biuf":
        return "give numbers from 0 to 255 as uint8."
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return "it contains NaN or infinity; give numbers from 0 to 255 as uint8."
    low, high = array.min(), array.max()
    if low < 0:
        return f"it contains negative numbers (down to {low:g}); undo any normalisation first."
    if array.dtype.kind == "f" and high <= 1:
        return "numbers from 0 to 1 become pixels with (255 * array).round().astype(np.uint8)."
    if high <= 255:
        return "convert it with array.astype(np.uint8)."
    return f"its numbers reach {high:g}; scale them to 0..255 and convert to uint8."


def to_rgb(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Turn (..., 1), (..., 3) or (..., 4) pixels of 8 or 16 bits into 8-bit RGB."""
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.shape[-1] == 1:
        array = np.repeat(array, 3, axis=-1)
    elif array.shape[-1] == 4:
        alpha = array[..., 3:].astype(np.uint16)
        array = ((array[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(array)


def _photo_from_array(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.ndim == 2:
        array = array[..., np.newaxis]
    if array.ndim != 3:
        raise InvalidImageError(
            f"a photo has shape (H, W, 3) or (H, W); this array has {array.ndim} dimensions, "
            f"{array.shape}."
        )
    check_clip_or_photo_array(array, "photo", channels_axis=0)
    return to_rgb(array)


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise MediaLimitError(
            f"the photo declares {width} x {height} pixels, more than max_pixels={max_pixels:,}."
        )


def _decode(file: Any, max_pixels: int) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            _check_pixels(image.size, max_pixels)
            return _photo_from_pil(image)
    except (MediaLimitError, InvalidImageError):
        raise
    except Image.DecompressionBombError as error:
        raise MediaLimitError(
            f"{error} (Pillow's own limit, PIL.Image.MAX_IMAGE_PIXELS)."
        ) from error
    except UnidentifiedImageError as error:
        raise MediaReadError("it is not a photo in a format that Pillow reads.") from error
    except Exception as error:
        # Pillow's decoders fail on damaged files with errors of any class.
        raise MediaReadError(f"the photo is damaged: {type(error).__name__}: {error}.") from error


def _photo_from_pil(image: Image.Image) -> npt.NDArray[np.uint8]:
    if 0 in image.size:
        raise InvalidImageError(f"the photo is empty: {image.size[0]} x {image.size[1]} pixels.")
    # Decoded first: Pillow turns a TIFF upright while it decodes it, and then forgets the tag.
    image.load()
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F"):
        # 32-bit greys have no agreed range, but for 16-bit PNGs that older Pillows open so.
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535 or image.mode == "F":
            raise InvalidImageError(
                f"the photo holds 32-bit numbers ({grey.min():g} to {grey.max():g}) of unknown "
                "range: save it with 8 or 16 bits."
            )
        rgb = to_rgb(grey.astype(np.uint16)[..., np.newaxis])
    elif image.mode.startswith("I;16"):
        rgb = to_rgb(np.asarray(image).astype(np.uint16)[..., np.newaxis])
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgb = to_rgb(np.asarray(image.convert("RGBA")))
    else:
        rgb = np.asarray(image.convert("RGB"))
    return np.ascontiguousarray(rgb)
