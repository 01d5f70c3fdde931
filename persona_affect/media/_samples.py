"""What a sample is: a photo or a clip."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..exceptions import InvalidImageError
from ._photos import check_file

# fmt: off
#: Suffixes of video files, in lower case.
VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
    ".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv",
})
#: Suffixes of photo files, in lower case.
PHOTO_SUFFIXES = frozenset({
    ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp",
})
# fmt: on


@dataclass(frozen=True)
class FrameSequence:
    """A clip whose frames lie as image files: a reference, nothing is read before it is used.

    Attributes
    ----------
    paths : tuple of str
        In the order of time.
    """

    paths: tuple[str, ...]


def is_clip(source: Any) -> bool:
    """Tell whether a sample is a clip rather than a photo.

    Parameters
    ----------
    source : str, os.PathLike, bytes, PIL.Image.Image, FrameSequence or ndarray
        Arrays are told apart by their dimensions, files by their suffix, and bytes and files with
        no known suffix by their content. Animated pictures count as photos.

    Returns
    -------
    bool
        True for a clip, False for a photo.

    Raises
    ------
    InvalidImageError
        The source is of none of these kinds, or an array has neither 2, 3 nor 4 dimensions.
    MediaReadError
        A file with no known suffix cannot be read.
    """
    if isinstance(source, np.ndarray):
        if source.ndim not in (2, 3, 4):
            raise InvalidImageError(
                "a photo has shape (H, W, 3) or (H, W) and a clip (T, H, W, 3); this array has "
                f"{source.ndim} dimensions, {source.shape}."
            )
        return source.ndim == 4
    if isinstance(source, Image.Image):
        return False
    if isinstance(source, FrameSequence):
        return True
    if isinstance(source, bytes | bytearray | memoryview):
        return not _is_photo(io.BytesIO(source))
    if isinstance(source, str | os.PathLike):
        suffix = os.path.splitext(os.fspath(source))[1].lower()
        if suffix in PHOTO_SUFFIXES:
            return False
        return suffix in VIDEO_SUFFIXES or not _is_photo(check_file(source))
    raise InvalidImageError(
        f"a sample is a path, bytes, a PIL image, a FrameSequence or an array, not "
        f"{type(source).__name__}."
    )


def describe(source: Any) -> str:
    """Name a sample in a message: its path, or its kind and size."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, FrameSequence):
        where = f" of {os.path.dirname(source.paths[0])}" if source.paths else ""
        return f"{len(source.paths)} frames{where}"
    if isinstance(source, np.ndarray):
        return f"array {source.shape}"
    if isinstance(source, bytes | bytearray | memoryview):
        return f"{len(source)} bytes"
    return type(source).__name__


def _is_photo(file: Any) -> bool:
    try:
        with Image.open(file):
            return True
    except UnidentifiedImageError:
        return False
    except Exception:
        # The signature of a photo with a broken header: `open_photo` will say what is wrong.
        return True
