"""Checks whether a file can be read: its beginning and end, or all of it."""

from __future__ import annotations

import os
import warnings

from PIL import Image

from ..exceptions import MediaLimitError, MediaReadError
from ._decoding import read_timeline
from ._formats import open_encoded
from ._packed import open_file
from ._paths import reason
from ._photos import MAX_PHOTO_PIXELS, open_photo
from ._samples import is_clip
from ._videos import MAX_DURATION, MAX_FRAME_PIXELS, sample_frames

#: The end of a complete file, by Pillow's name of the format; some writers add a few bytes.
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_TAIL = 1024


def check_media(source: str | os.PathLike[str], *, decode: bool = False) -> None:
    """Raise if a photo or video file cannot be read.

    Parameters
    ----------
    source : path-like
        A photo or a video.
    decode : bool, default=False
        Decode the photo, or the video's middle frame. Otherwise a photo is opened, its end is
        searched for, and the packets of a video are counted: this finds files that are truncated
        or of another kind, but not damage inside the picture.

    Raises
    ------
    MediaReadError, MediaLimitError, InvalidImageError
        As for :func:`open_photo` and :func:`open_clip`; also if a video is truncated.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from persona_affect.exceptions import MediaReadError
    >>> from persona_affect.media import check_media
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "portrait.jpg")
    ...     _ = path.write_bytes(b"not a photo")
    ...     try:
    ...         check_media(path)
    ...     except MediaReadError as error:
    ...         print(type(error).__name__)
    MediaReadError
    """
    if is_clip(source):
        notes: list[str] = []
        if decode:
            for _ in sample_frames(source, 1, notes):
                pass
        elif not read_timeline(source, MAX_FRAME_PIXELS, MAX_DURATION, notes).times:
            notes.append("the video has no frames.")
        if notes:
            raise MediaReadError(" ".join(notes))
    else:
        _check_ends(source)
        if decode:
            open_photo(source)


def _check_ends(source: str | os.PathLike[str]) -> None:
    try:
        with warnings.catch_warnings(), open_file(source) as file:
            # Our own limit is below the one at which Pillow warns.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with open_encoded(file) as image:
                kind, pixels = image.format or "", image.size[0] * image.size[1]
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
            tail = file.read(_TAIL)
    except (MediaReadError, MediaLimitError):
        raise
    except Exception as error:
        # Pillow fails on damaged files with errors of any class.
        raise MediaReadError(f"the photo is damaged: {reason(error)}.") from error
    if pixels > MAX_PHOTO_PIXELS:
        raise MediaLimitError(f"the photo declares {pixels:,} pixels.")
    if _ENDS.get(kind, b"") not in tail:
        raise MediaReadError(f"the {kind} file breaks off.")
