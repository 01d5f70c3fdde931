"""Files as arrays that take no memory for longer than they are looked at."""

import mmap
from collections.abc import Iterable
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Absent on Windows, where the system itself trims what a process has mapped.
_DONT_NEED = getattr(mmap, "MADV_DONTNEED", None)


class FileMap(mmap.mmap):
    """A file mapped for reading; its pages can be given back, and come again when touched."""


def map_bytes(path: str | PathLike[str]) -> NDArray[np.uint8]:
    """Map a file that is not empty as an array of bytes, which cannot be written to."""
    with open(path, "rb") as file:
        return np.frombuffer(FileMap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


def release(arrays: Iterable[NDArray[Any]]) -> None:
    """Give back what of these arrays' files is in memory; others, in memory by nature, stay.

    The arrays stay valid: what is touched again is read again, from the system's cache if need be.
    Without this, a training that has seen every face of a mapped file holds all of it.
    """
    if _DONT_NEED is None:
        return
    maps = {id(found): found for array in arrays if (found := _map_of(array)) is not None}
    for found in maps.values():
        # Only maps of ours, read-only: in other kinds this would drop what was written.
        found.madvise(_DONT_NEED)


def _map_of(array: Any) -> FileMap | None:
    while isinstance(array, np.ndarray):
        array = array.base
    owner = array.obj if isinstance(array, memoryview) else array
    return owner if isinstance(owner, FileMap) else None
