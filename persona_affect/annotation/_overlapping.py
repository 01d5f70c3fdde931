"""Reading, detection, prediction and output of one stream at the same time."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import torch

from persona_affect._threads import make_torch_serial
from persona_affect.media import Frame

from ._session import Boxes, Row, Seen, Session

#: Most batches that are examined at once: each holds its frames in memory.
_MOST: Final = 4


@dataclass
class _Batch:
    """A batch on its way: its frames, the boxes of its last frame, and all that was found."""

    frames: Future[list[Frame]]
    boxes: Future[Boxes] = field(default_factory=Future)
    seen: Future[Seen | None] | None = None


def annotate_overlapping(
    frames: Iterator[Frame], session: Session, batch_size: int, *, ahead: bool = True
) -> Iterator[tuple[Frame, list[Row]]]:
    """Annotate frames, in threads that read and examine the next batches meanwhile.

    One thread reads. Others examine whole batches, and compute with one thread each: this keeps
    all processors busy, and results are those of one batch after the other. Rows are made, and
    used, in the caller's thread.

    No thread waits for the caller: new work begins only when the caller takes a batch. Therefore
    the threads always end by themselves, also when the caller is interrupted or stops early.

    Parameters
    ----------
    frames : iterator of Frame
        It is read in another thread.
    session : Session
    batch_size : int
        At most six such batches are in memory.
    ahead : bool, default=True
        If False, a batch is read when the one before is used: for comparison, and where memory is
        scarce.

    Yields
    ------
    frame : Frame
    rows : list of dict

    Raises
    ------
    Exception
        The error of the first batch that failed, after all rows before it.
    """
    n_workers = min(torch.get_num_threads(), _MOST) if ahead else 1
    n_coming = n_workers + 1 if ahead else 1
    reader = ThreadPoolExecutor(1, "reader")
    pool = ThreadPoolExecutor(n_workers, "examiner", initializer=make_torch_serial)

    def read() -> list[Frame]:
        return list(islice(frames, batch_size))

    def examine(batch: _Batch, place: int, before: Future[Boxes]) -> Seen | None:
        try:
            taken = batch.frames.result()
            if not taken:
                return None
            return session.examine(taken, place, before.result, batch.boxes.set_result)
        except BaseException as error:
            # The next batch may be waiting.
            if not batch.boxes.done():
                batch.boxes.set_exception(error)
            raise

    coming: deque[_Batch] = deque()
    place, last = session.n_seen, Future[Boxes]()
    last.set_result(session.boxes)
    try:
        while True:
            while len(coming) < n_coming:
                batch = _Batch(reader.submit(read))
                batch.seen = pool.submit(examine, batch, place, last)
                place += batch_size
                last = batch.boxes
                coming.append(batch)
            first = coming.popleft()
            taken = first.frames.result()
            assert first.seen is not None
            seen = first.seen.result()
            if seen is None:
                return
            yield from zip(taken, session.make_rows(taken, seen), strict=True)
    finally:
        reader.shutdown(cancel_futures=True)
        pool.shutdown(cancel_futures=True)
