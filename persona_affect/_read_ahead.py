"""Processes that read frames of mapped files into memory that they share with this one."""

from __future__ import annotations

import gc
import itertools
import math
import mmap
import multiprocessing
import signal
import sys
import warnings
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._mapping import FrameReader

Item = TypeVar("Item")
Rows = tuple[NDArray[np.intp], NDArray[np.intp]]

#: Batches that a worker has been asked for, and are not used yet.
_AHEAD: Final = 2
_DONE: Final = b"\1"
_FAILED: Final = b"\0"


def can_read_ahead() -> bool:
    """Return whether processes can be forked here: a copy of this one has the files open."""
    return sys.platform == "linux" and not multiprocessing.current_process().daemon


class ReadAhead:
    """Processes that read batches of frames, a few ahead.

    They are processes and not threads, because each frame is a call of its own, and threads would
    wait for Python's lock after each. They compute nothing, and do not import or use torch.

    Parameters
    ----------
    reader : FrameReader
    n_workers : int
    n_rows : int
        Frames of the largest batch; larger ones are read here.
    """

    def __init__(self, reader: FrameReader, n_workers: int, n_rows: int) -> None:
        self.reader = reader
        like = reader.clips[0]
        self._shape, self._dtype, self._n_rows = like.shape[1:], like.dtype, n_rows
        slot = n_rows * like.dtype.itemsize * math.prod(like.shape[1:])
        # Two more: of the batch that is used, and of the one before, which may still be in use.
        self._memory = [mmap.mmap(-1, max(slot, 1)) for _ in range(n_workers * _AHEAD + 2)]
        self._free = deque(range(len(self._memory)))
        self._workers: list[tuple[Any, Connection]] = []
        fork = multiprocessing.get_context("fork")
        for _ in range(n_workers):
            ours, theirs = fork.Pipe()
            process = fork.Process(target=self._work, args=(theirs, ours), daemon=True)
            with warnings.catch_warnings():
                # Python warns of locks that other threads hold; a worker takes none.
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            theirs.close()
            self._workers.append((process, ours))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process, connection in self._workers:
            connection.close()
            process.kill()
        for process, _ in self._workers:
            process.join()

    def read(self, batches: Iterable[tuple[Item, Rows]]) -> Iterator[tuple[Item, NDArray[Any]]]:
        """Read batches.

        Parameters
        ----------
        batches : iterable of (object, (clip_of, frames))
            Anything, and the rows that :meth:`FrameReader.read_rows` takes.

        Yields
        ------
        object
            As given, in the same order.
        frames : ndarray of shape (n, ...)
            In shared memory that is used again as soon as nothing refers to this array.
        """
        ahead: deque[tuple[Item, Rows, int | None, Connection]] = deque()
        turns = itertools.cycle([connection for _, connection in self._workers])
        for (item, rows), connection in zip(batches, turns, strict=False):
            ahead.append((item, rows, self._ask(connection, rows), connection))
            if len(ahead) > len(self._workers) * _AHEAD:
                yield self._take(*ahead.popleft())
        while ahead:
            yield self._take(*ahead.popleft())

    def _ask(self, connection: Connection, rows: Rows) -> int | None:
        """Ask for a batch; None if it is read here, because memory is not free or too small."""
        if not self._free or len(rows[0]) > self._n_rows:
            return None
        slot = self._free.popleft()
        try:
            connection.send_bytes(np.array([slot, *rows[0], *rows[1]], np.int64).tobytes())
        except OSError:
            return None
        return slot

    def _take(
        self, item: Item, rows: Rows, slot: int | None, connection: Connection
    ) -> tuple[Item, NDArray[Any]]:
        try:
            done = slot is not None and connection.recv_bytes() == _DONE
        except (EOFError, OSError):
            done = False
        if slot is None or not done:
            # Here an error is raised as if there were no worker.
            return item, self.reader.read_rows(*rows)
        frames = self._view(slot, len(rows[0]))
        weakref.finalize(frames, self._free.append, slot).atexit = False
        return item, frames

    def _view(self, slot: int, n_rows: int) -> NDArray[Any]:
        count = n_rows * math.prod(self._shape)
        flat = np.frombuffer(self._memory[slot], self._dtype, count)
        return flat.reshape(n_rows, *self._shape)

    def _work(self, connection: Connection, other_end: Connection) -> None:
        """Read what is asked for, until the other process closes the connection or ends."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.disable()
        # Copies of the other process's ends: a worker must notice when that process ends.
        other_end.close()
        for _, others in self._workers:
            others.close()
        while True:
            try:
                asked = np.frombuffer(connection.recv_bytes(), np.int64)
            except (EOFError, OSError):
                return
            slot, rows = int(asked[0]), asked[1:].reshape(2, -1)
            try:
                self.reader.read_rows(rows[0], rows[1], self._view(slot, rows.shape[1]))
                result = _DONE
            except Exception:
                result = _FAILED
            connection.send_bytes(result)
