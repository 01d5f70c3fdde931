"""Checking stored faces by their checksums: many at once, and not again while files are unchanged.

A file whose faces were all checked gets a note beside it (``.checked``) of its size, its times and
its number in the file system, and of those of its index. As long as they are the same, nobody has
written to either, and its faces are not read again for their checksums. Removing the note has them
checked again.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .._files import atomic_write
from .._mapping import read_array
from ..exceptions import OutputError, OutputPathError
from ._store_index import Places

#: Frames that are read at once.
_FRAMES: Final = 64
#: A file that was written to in the last seconds may be written to again in the same tick of the
#: file system's clock, so that its times would not tell.
_SETTLED: Final = 2.0

Stamp = list[int]


def stamp(file: Path | int) -> Stamp:
    """Return what changes when a file is written to, as far as the system notes it."""
    status = os.stat(file)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def check_faces(
    faces: NDArray[np.uint8], places: Places, rows: Iterable[int], n_threads: int | None = None
) -> None:
    """Note in `places.checked` which faces of one file are those of their checksums.

    Parameters
    ----------
    faces : ndarray of shape (n_frames, height, width, 3)
        All frames of the file, mapped.
    places : Places
    rows : iterable of int
        Rows of `places` in that file.
    n_threads : int, optional
        By default as many as there are processors.
    """
    blocks: list[list[int]] = []
    end, n_frames = -1, 0
    for row in sorted(rows, key=places.first.__getitem__):
        first, n = places.first[row], places.n_frames[row]
        if first != end or n_frames + n > _FRAMES:
            blocks.append([])
            n_frames = 0
        blocks[-1].append(row)
        end, n_frames = first + n, n_frames + n

    def check(block: list[int]) -> None:
        start = places.first[block[0]]
        last = places.first[block[-1]] + places.n_frames[block[-1]]
        together = read_array(faces[start:last])
        for row in block:
            at = places.first[row] - start
            frames = together[at : at + places.n_frames[row]]
            if len(frames) == places.n_frames[row] and (
                zlib.crc32(np.ascontiguousarray(frames).data) == places.checksum[row]
            ):
                places.checked[row] = 1

    # Both reading and the checksum release Python's lock.
    with ThreadPoolExecutor(n_threads or os.cpu_count()) as pool:
        list(pool.map(check, blocks))


def note_checked(path: Path, stamps: tuple[Stamp, Stamp]) -> None:
    """Note that all faces of a file were checked, if it was not written to just now."""
    latest = max(max(one[1:3]) for one in stamps)
    if time.time() - latest / 1e9 < _SETTLED:
        return
    # In a folder that cannot be written to, faces are checked each time.
    with suppress(OutputPathError, OutputError, OSError), atomic_write(path) as draft:
        draft.write_text(json.dumps(stamps))


def is_checked(path: Path, stamps: tuple[Stamp, Stamp]) -> bool:
    """Return whether the faces of a file were checked, and the file is the same as then."""
    try:
        noted: Any = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return bool(noted == list(stamps))
