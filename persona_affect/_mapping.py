"""Memory-mapped files as arrays, whose memory can be released after use."""

import mmap
from collections.abc import Iterable
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Windows does not have it; there, the system itself releases mapped pages.
_DONT_NEED = getattr(mmap, "MADV_DONTNEED", None)


class FileMap(mmap.mmap):
    """A file mapped for reading. Its pages can be released, and are read again when used."""


def map_bytes(path: str | PathLike[str]) -> NDArray[np.uint8]:
    """Map a file that is not empty as a read-only array of bytes."""
    with open(path, "rb") as file:
        return np.frombuffer(FileMap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def release(arrays: Iterable[NDArray[Any]]) -> None:
    """Release the memory of arrays that are mapped from files; other arrays are left alone.

    The arrays remain valid: when they are used again, they are read again. Without this, a training
    that has used every face of a mapped file would hold the whole file in memory.
    """
    if _DONT_NEED is None:
        return
    maps = {id(found): found for array in arrays if (found := _map_of(array)) is not None}
    for found in maps.values():
        # Only our read-only maps: in other maps, this would discard what was written.
        found.madvise(_DONT_NEED)


def _map_of(array: Any) -> FileMap | None:
    while isinstance(array, np.ndarray):
        array = array.base
    owner = array.obj if isinstance(array, memoryview) else array
    return owner if isinstance(owner, FileMap) else None
