"""Paths of files: checks before they are opened, and their names in messages."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..exceptions import MediaLimitError, MediaReadError

#: Photo files above this many bytes are refused before they are read (512 MiB).
MAX_PHOTO_BYTES = 2**29


def check_file(source: str | os.PathLike[str]) -> Path:
    """Return `source` as the path of a file that exists and is not empty, or raise.

    Raises
    ------
    MediaReadError
        The message shows no folders that the caller did not name.
    """
    name = os.fsdecode(source)
    try:
        status = os.stat(name)
    except (FileNotFoundError, NotADirectoryError) as error:
        message = f"there is no such file: {printable(name)}{_remedy(name)}"
        raise MediaReadError(message) from error
    except (OSError, ValueError) as error:
        # Names too long for the system, null characters, no permission.
        raise MediaReadError(f"the path cannot be used: {reason(error)}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise MediaReadError("it is a folder, not a file.")
    if not stat.S_ISREG(status.st_mode):
        # Reading a pipe or a device may never end.
        raise MediaReadError("it is not a regular file.")
    if status.st_size == 0:
        raise MediaReadError("the file is empty.")
    return Path(name)


def stamp(archive: str) -> tuple[int, int]:
    """Return the size of a file and the time of its last change, in nanoseconds."""
    status = check_file(archive).stat()
    return status.st_size, status.st_mtime_ns


def check_packed_size(size: int) -> None:
    """Raise `MediaLimitError` if a packed file has too many bytes to be read."""
    if size > MAX_PHOTO_BYTES:
        raise MediaLimitError(
            f"the packed file has {size:,} bytes, more than {MAX_PHOTO_BYTES:,}: unpack it."
        )


def printable(name: str) -> str:
    """Escape a file's name for messages: no control characters, valid UTF-8."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in name
    )


def reason(error: Exception) -> str:
    """Return the message of the system or of FFmpeg, without a path."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _remedy(name: str) -> str:
    # pathlib makes one slash of two.
    if name.partition(":")[0].lower() in ("http", "https", "ftp", "s3", "gs", "data"):
        return " (an address; nothing is fetched: download it first)."
    return "."
