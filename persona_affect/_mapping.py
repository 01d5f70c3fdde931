"""Memory-mapped files as arrays, and reading frames of such arrays from the files themselves."""

from __future__ import annotations

import math
import mmap
import os
import weakref
from collections.abc import Sequence
from os import PathLike
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .exceptions import FaceStoreError

#: Windows does not have it; there, frames are copied from the map.
_CAN_READ: Final = hasattr(os, "preadv")
#: Frames that are read in one call; the system allows at least as many places in memory.
_MOST_PARTS: Final = 512


class FileMap(mmap.mmap):
    """A file mapped for reading, that knows its file and where it lies in memory."""

    file: int
    address: int


def map_bytes(path: str | PathLike[str]) -> NDArray[np.uint8]:
    """Map a file that is not empty as a read-only array of bytes."""
    with open(path, "rb") as file:
        mapped = FileMap(file.fileno(), 0, access=mmap.ACCESS_READ)
        mapped.file = os.dup(file.fileno())
    weakref.finalize(mapped, os.close, mapped.file)
    content = np.frombuffer(mapped, np.uint8)
    mapped.address = content.__array_interface__["data"][0]
    return content


class FrameReader:
    """Copies frames of clips into new arrays.

    Frames of arrays that :func:`map_bytes` made are read from their files. Copying them from the
    map takes two to three times as long, because each page has to be mapped first, and it leaves
    all pages that were ever used in memory.

    Parameters
    ----------
    clips : sequence of ndarray of shape (n_frames, ...)
        Of one type, and one shape of a frame.
    """

    def __init__(self, clips: Sequence[NDArray[Any]]) -> None:
        self.clips = clips
        places = np.array([_place(clip) for clip in clips], np.int64).reshape(len(clips), 2)
        #: By clip: the descriptor of its file, -1 for an array in memory; and its first byte there.
        self._files, self._starts = places.T.copy()
        self.any_mapped = bool((self._files >= 0).any())

    def read_rows(
        self,
        clip_of: NDArray[np.intp],
        frames: NDArray[np.intp],
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Copy frames.

        Parameters
        ----------
        clip_of, frames : ndarray of shape (n,), int
            For each frame, the number of its clip, and its number in it.
        out : ndarray of shape (n, ...), optional
            Where to copy them to, contiguous; by default a new array.

        Returns
        -------
        ndarray of shape (n, ...)

        Raises
        ------
        FaceStoreError
            If a file is shorter than it was when it was mapped, or cannot be read.
        """
        like = self.clips[clip_of[0] if len(clip_of) else 0]
        if out is None:
            out = np.empty((len(frames), *like.shape[1:]), like.dtype)
        if not self.any_mapped or not len(out):
            for at, (clip, frame) in enumerate(zip(clip_of, frames, strict=True)):
                out[at] = self.clips[clip][frame]
            return out
        files = self._files[clip_of]
        n_bytes = like.dtype.itemsize * math.prod(like.shape[1:])
        starts = self._starts[clip_of] + frames * n_bytes
        # Frames that lie beside each other in a file are read in one call, wherever they go.
        order = np.lexsort((starts, files))
        files, starts = files[order], starts[order]
        follows = (starts[1:] - starts[:-1] == n_bytes) & (files[1:] == files[:-1])
        follows[_MOST_PARTS - 1 :: _MOST_PARTS] = False
        heads = np.concatenate([[0], np.flatnonzero(~follows) + 1])
        ends = np.append(heads[1:], len(order))
        memory = out.data.cast("B")
        parts = [memory[row * n_bytes : (row + 1) * n_bytes] for row in order.tolist()]
        table = zip(*(a.tolist() for a in (files[heads], starts[heads], heads, ends)), strict=True)
        for file, start, first, end in table:
            if file >= 0:
                _read_into(parts[first:end], file, start)
        for row in order[files < 0].tolist():
            out[row] = self.clips[clip_of[row]][frames[row]]
        return out


def read_array(array: NDArray[Any]) -> NDArray[Any]:
    """Copy a whole array as `FrameReader` copies frames; the array itself if it is in memory."""
    file, start = _place(array)
    if file < 0:
        return array
    out = np.empty(array.shape, array.dtype)
    _read_into([out.data.cast("B")], file, start)
    return out


def _read_into(parts: list[memoryview], file: int, start: int) -> None:
    """Fill parts of memory with bytes that follow each other in a file."""
    try:
        done = os.preadv(file, parts, start)
    except OSError as error:
        raise FaceStoreError(f"stored faces cannot be read: {error}.") from error
    if done == sum(map(len, parts)):
        return
    if done == 0:
        raise FaceStoreError(
            "a file of stored faces became shorter while it was read: do not change the folder of "
            "cache= while it is used. Call again, and its faces are checked."
        )
    # One call reads two gigabytes at most.
    for part in parts:
        if done < len(part):
            _read_into([part[done:]], file, start + done)
        start += len(part)
        done = max(done - len(part), 0)


def _place(clip: NDArray[Any]) -> tuple[int, int]:
    """Return the file of a clip and its first byte there; -1 for an array in memory."""
    found = _map_of(clip) if _CAN_READ and clip.flags.c_contiguous and clip.size else None
    if found is None:
        return -1, 0
    return found.file, clip.__array_interface__["data"][0] - found.address


def _map_of(array: Any) -> FileMap | None:
    while isinstance(array, np.ndarray):
        array = array.base
    owner = array.obj if isinstance(array, memoryview) else array
    return owner if isinstance(owner, FileMap) else None
