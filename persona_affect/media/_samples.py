"""Kinds of samples: photos and clips."""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..exceptions import InvalidImageError, MediaReadError
from ._decoding import is_video
from ._formats import SIGNATURE_SIZE, name_photo_format
from ._packed import find_packed
from ._paths import check_file, printable, reason
from ._photos import advise

# fmt: off
#: Suffixes of video files, in lower case.
VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
    ".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv",
})
#: Suffixes of photo files, in lower case.
PHOTO_SUFFIXES = frozenset({
    ".apng", ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jp2", ".jpe", ".jpeg",
    ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
})
# fmt: on


@dataclass(frozen=True)
class FrameSequence:
    """A clip whose frames are image files. It is a reference: files are read when they are used.

    Attributes
    ----------
    paths : tuple of str
        In the order of time.

    Examples
    --------
    >>> from persona_affect.media import FrameSequence
    >>> FrameSequence(("clip/000.jpg", "clip/001.jpg")).paths[0]
    'clip/000.jpg'
    """

    paths: tuple[str, ...]


def is_clip(source: Any) -> bool:
    """Return whether a sample is a clip or a photo.

    Parameters
    ----------
    source : str, os.PathLike, bytes, PIL.Image.Image, FrameSequence or ndarray
        For arrays the number of dimensions decides, for files and bytes the content. Animated
        pictures are photos. If the content is neither, or cannot be read, the suffix decides.

    Returns
    -------
    bool
        True for a clip, False for a photo.

    Raises
    ------
    InvalidImageError
        The source is of none of these kinds, or an array has neither 2, 3 nor 4 dimensions.
    MediaReadError
        A file without a known suffix cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.media import is_clip
    >>> is_clip(np.zeros((4, 6, 3), np.uint8)), is_clip(np.zeros((9, 4, 6, 3), np.uint8))
    (False, True)
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
        return name_photo_format(bytes(source[:SIGNATURE_SIZE])) is None
    if isinstance(source, str | os.PathLike):
        return _is_clip_file(source)
    raise InvalidImageError(f"a sample is not a {type(source).__name__}: {advise(source)}")


def _is_clip_file(source: str | os.PathLike[str]) -> bool:
    suffix = os.path.splitext(os.fsdecode(source))[1].lower()
    known = suffix in PHOTO_SUFFIXES or suffix in VIDEO_SUFFIXES
    try:
        packed = find_packed(source)
        if packed is not None:
            head = packed.read(SIGNATURE_SIZE)
        else:
            with check_file(source).open("rb") as file:
                head = file.read(SIGNATURE_SIZE)
    except (MediaReadError, OSError) as error:
        # `open_photo` or `open_clip` will raise the error, with its own message.
        if known:
            return suffix in VIDEO_SUFFIXES
        if isinstance(error, MediaReadError):
            raise
        raise MediaReadError(f"the file cannot be read: {reason(error)}.") from error
    if name_photo_format(head) is not None:
        return False
    return suffix not in PHOTO_SUFFIXES or is_video(source)


def list_samples(X: Any) -> list[Any]:
    """Return a collection of samples as a list.

    Parameters
    ----------
    X : sequence, Series, DataFrame or ndarray
        Samples: a list, a column of a table, a table of one column (as a `ColumnTransformer` gives
        it), an array of objects, or numbers of shape (n, H, W, 3) for photos and (n, T, H, W, 3)
        for clips.

    Returns
    -------
    list
        Each sample as it is, or as an array of shape (H, W, 3) or (T, H, W, 3).

    Raises
    ------
    InvalidImageError
        If X is a single sample, a table of several columns, or no collection.

    Examples
    --------
    >>> import pandas as pd
    >>> from persona_affect.media import list_samples
    >>> list_samples(pd.Series(["ann.jpg", "bob.mp4"]))
    ['ann.jpg', 'bob.mp4']
    """
    single = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, FrameSequence)
    if isinstance(X, single) or hasattr(X, "read"):
        raise InvalidImageError(f"X is a single sample, {describe(X)!r}: put it into a list, [X].")
    if hasattr(X, "columns") and hasattr(X, "shape"):
        return _only_column(X)
    if isinstance(X, np.ndarray):
        return _samples_of_array(X)
    if isinstance(X, Mapping | Set):
        raise InvalidImageError(
            f"X is a {type(X).__name__}, which has no order: give a list of photos and clips."
        )
    try:
        return _items(X)
    except TypeError:
        raise InvalidImageError(
            f"X must be a sequence of photos and clips, not {type(X).__name__}."
        ) from None


def _only_column(table: Any) -> list[Any]:
    # The columns of a table of pyarrow have no names themselves.
    names = list(table.column_names if hasattr(type(table), "column_names") else table.columns)
    if len(names) != 1:
        example = f"X[{str(names[0]) if names else 'path'!r}]"
        raise InvalidImageError(
            f"X is a table of {len(names)} columns: give the one that holds the photos and clips, "
            f"such as {example}, or choose it in a ColumnTransformer: ('faces', "
            "make_pipeline(FaceAligner(), FaceEmbedder()), 'path')."
        )
    return _items(table[names[0]])


def _items(column: Any) -> list[Any]:
    """Return a column as a list; one of pyarrow holds its values in objects of its own."""
    return list(column.to_pylist() if hasattr(type(column), "to_pylist") else column)


def _samples_of_array(X: np.ndarray) -> list[Any]:
    if X.dtype.kind in "biuf":
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
    elif X.ndim == 2 and X.shape[1] == 1:
        return list(X[:, 0])
    elif X.ndim != 1:
        raise InvalidImageError(
            f"X as an array of {X.dtype} has shape (n,) or (n, 1), a sample a row, not {X.shape}."
        )
    return list(X)


def describe(source: Any) -> str:
    """Name a sample in a message: its path, or its kind and size.

    Parameters
    ----------
    source : object
        A sample, as :func:`open_photo` and :func:`open_clip` take it.

    Returns
    -------
    str
        Short, for a message; a sample of no known kind is named by its type.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.media import describe
    >>> describe("people/ann.jpg"), describe(np.zeros((4, 6, 3), np.uint8))
    ('people/ann.jpg', 'array (4, 6, 3)')
    """
    if isinstance(source, str | os.PathLike):
        return printable(os.fsdecode(source))
    if isinstance(source, FrameSequence):
        where = f" of {printable(os.path.dirname(source.paths[0]))}" if source.paths else ""
        return f"{len(source.paths)} frames{where}"
    if isinstance(source, np.ndarray):
        return f"array {source.shape}"
    if isinstance(source, bytes | bytearray | memoryview):
        return f"{len(source)} bytes"
    return type(source).__name__
