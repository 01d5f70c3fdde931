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
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._mapping import FrameReader

Item = TypeVar("Item")
Rows = tuple[NDArray[np.intp], NDArray[np.intp]]

#: Groups of batches that a worker has been asked for, and are not used yet.
_AHEAD: Final = 2
#: Batches are asked for in groups, because a message and its answer cost as much time as reading
#: ten faces or more, and frames of a group that lie beside each other are read in one call: so many
#: batches, or equal parts of them of no more than so many bytes.
GROUP: Final = 8
_GROUP_BYTES: Final = 5 * 2**22
_DONE: Final = b"\1"
_FAILED: Final = b"\0"


def can_read_ahead() -> bool:
    """Return whether processes can be forked here: a copy of this one has the files open."""
    return sys.platform == "linux" and not multiprocessing.current_process().daemon


@dataclass(eq=False)
class _Group(Generic[Item]):
    """Batches that a worker is asked for together; `slot` is None if they are read here."""

    batches: list[tuple[Item, Rows]]
    reader: int
    slot: int | None = None
    worker: _Worker | None = None
    done: bool = False


@dataclass(eq=False)
class _Worker:
    """A process, and the groups that it has not answered yet, in order."""

    process: Any
    connection: Connection
    asked: deque[_Group[Any]] = field(default_factory=deque)
    lost: bool = False

    def collect(self, wanted: _Group[Any] | None = None) -> None:
        """Take the answers that are there; wait for that of a group which is wanted."""
        while self.asked and (wanted in self.asked or self.connection.poll()):
            group = self.asked.popleft()
            try:
                group.done = self.connection.recv_bytes() == _DONE
            except (EOFError, OSError):
                self.lost = True


class ReadAhead:
    """Processes that read batches of frames, a few ahead, until the context ends.

    They are processes and not threads, because each call to read is short, and threads would wait
    for Python's lock after each. They compute nothing, and do not import or use torch.

    Parameters
    ----------
    readers : sequence of FrameReader
        All that the processes will use: of one type, and one shape of a frame.
    n_workers : int
    n_rows : int
        Frames of the largest batch; larger ones are read here.
    """

    def __init__(self, readers: Sequence[FrameReader], n_workers: int, n_rows: int) -> None:
        self._readers = readers
        like = readers[0].clips[0]
        self._shape, self._dtype = like.shape[1:], like.dtype
        batch = max(n_rows * like.dtype.itemsize * math.prod(like.shape[1:]), 1)
        self._group = max(GROUP // -(-batch * GROUP // _GROUP_BYTES), 1)
        self._n_rows = n_rows * self._group
        # Two more: of the group that is used, and of the one before, which may still be in use.
        self._memory = [mmap.mmap(-1, batch * self._group) for _ in range(n_workers * _AHEAD + 2)]
        self._free = deque(range(len(self._memory)))
        self._workers: list[_Worker] = []
        fork = multiprocessing.get_context("fork")
        for _ in range(n_workers):
            ours, theirs = fork.Pipe()
            process = fork.Process(target=self._work, args=(theirs, ours), daemon=True)
            with warnings.catch_warnings():
                # Python warns of locks that other threads hold; a worker takes none.
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.connection.close()
            worker.process.kill()
            worker.asked.clear()
        for worker in self._workers:
            worker.process.join()

    def read(
        self, reader: FrameReader, batches: Iterable[tuple[Item, Rows]]
    ) -> Generator[tuple[Item, NDArray[Any]]]:
        """Read batches.

        Parameters
        ----------
        reader : FrameReader
            One of those that were given at the start.
        batches : iterable of (object, (clip_of, frames))
            Anything, and the rows that :meth:`FrameReader.read_rows` takes.

        Yields
        ------
        object
            As given, in the same order.
        frames : ndarray of shape (n, ...)
            In shared memory that is used again as soon as nothing refers to this array, and to
            those beside it.
        """
        ahead: deque[_Group[Item]] = deque()
        coming, number = iter(batches), self._readers.index(reader)
        try:
            while batches_of_group := list(itertools.islice(coming, self._group)):
                ahead.append(group := _Group(batches_of_group, number))
                self._ask(group)
                if len(ahead) > len(self._workers) * _AHEAD:
                    yield from self._take(ahead.popleft())
            while ahead:
                yield from self._take(ahead.popleft())
        finally:
            # Nobody uses the others, if this ends early; their memory is free when they are read.
            for group in ahead:
                self._wait(group)
                self._release(group)

    def _ask(self, group: _Group[Item]) -> None:
        """Ask the worker that has least to do, unless memory is not free or too small."""
        for worker in self._workers:
            worker.collect()
        workers = [worker for worker in self._workers if not worker.lost]
        n_rows = sum(len(frames) for _, (_, frames) in group.batches)
        if not workers or not self._free or n_rows > self._n_rows:
            return
        clip_of, frames = (
            np.concatenate(part) for part in zip(*(rows for _, rows in group.batches), strict=True)
        )
        worker = min(workers, key=lambda worker: len(worker.asked))
        slot = self._free.pop()
        try:
            head = [slot, group.reader]
            worker.connection.send_bytes(np.concatenate([head, clip_of, frames]).tobytes())
        except OSError:
            self._free.append(slot)
            worker.lost = True
        else:
            group.slot, group.worker = slot, worker
            worker.asked.append(group)

    def _take(self, group: _Group[Item]) -> Iterator[tuple[Item, NDArray[Any]]]:
        self._wait(group)
        if group.slot is None or not group.done:
            self._release(group)
            # Here an error is raised as if there were no worker.
            for item, rows in group.batches:
                yield item, self._readers[group.reader].read_rows(*rows)
            return
        ends = list(itertools.accumulate(len(frames) for _, (_, frames) in group.batches))
        memory = self._view(group.slot, ends[-1])
        # What all parts refer to.
        weakref.finalize(memory.base, self._free.append, group.slot).atexit = False
        parts = [memory[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        del memory
        for (item, _), frames in zip(group.batches, parts, strict=True):
            yield item, frames

    def _wait(self, group: _Group[Any]) -> None:
        if group.worker is not None:
            group.worker.collect(wanted=group)

    def _release(self, group: _Group[Any]) -> None:
        if group.slot is not None:
            self._free.append(group.slot)

    def _view(self, slot: int, n_rows: int) -> NDArray[Any]:
        flat = np.frombuffer(self._memory[slot], self._dtype, n_rows * math.prod(self._shape))
        return flat.reshape(n_rows, *self._shape)

    def _work(self, connection: Connection, other_end: Connection) -> None:
        """Read what is asked for, until the other process closes the connection or ends."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.disable()
        # Copies of the other process's ends: a worker must notice when that process ends.
        other_end.close()
        for other in self._workers:
            other.connection.close()
        with suppress(EOFError, OSError):
            while True:
                asked = np.frombuffer(connection.recv_bytes(), np.int64)
                slot, number, rows = int(asked[0]), int(asked[1]), asked[2:].reshape(2, -1)
                try:
                    memory = self._view(slot, rows.shape[1])
                    self._readers[number].read_rows(rows[0], rows[1], memory)
                    result = _DONE
                except Exception:
                    result = _FAILED
                connection.send_bytes(result)
