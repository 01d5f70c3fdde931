"""Threads that share work on the processor; each runs torch in a single thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


class Share(Protocol):
    """`map`, or something that does the same in several threads."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]: ...


_setting_up = threading.Lock()
# Without this, a child forked while another thread holds the lock would never continue.
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(
        before=_setting_up.acquire,
        after_in_parent=_setting_up.release,
        after_in_child=_setting_up.release,
    )


@contextmanager
def workers(device: str) -> Iterator[Share]:
    """Yield a `map` that uses as many threads as torch may use.

    Torch itself divides single operations among threads. For small pieces of work this saves little
    time, and everything outside torch runs in one thread. Therefore complete pieces are shared
    among threads in which torch is serial. On other devices than the processor, this is `map`.

    After an interrupt (Ctrl-C), the current pieces are finished: no thread waits for another.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1 or torch.device(device).type != "cpu":
        yield map
        return
    pool = ThreadPoolExecutor(n_threads, initializer=make_torch_serial)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def make_torch_serial(n_threads: int = 1) -> None:
    """Make torch use one thread, or a few, inside the calling thread, and nowhere else."""
    with _setting_up:
        # A thread reads the default once: later changes have no effect on this thread.
        default = torch.get_num_threads()
        torch.set_num_threads(n_threads)
        # This has changed the default for new threads too: restore it, from a thread that then
        # ends.
        restoring = threading.Thread(target=torch.set_num_threads, args=(default,))
        restoring.start()
        restoring.join()


_calling = threading.local()


def share_processors(n_callers: int) -> None:
    """Make torch use its share of the processors inside the calling thread.

    For threads that others made, such as those of a server: each calls this before it computes.
    Several threads that each use all processors wait for each other.

    Parameters
    ----------
    n_callers : int
        Threads that may compute at the same time.
    """
    if getattr(_calling, "n_callers", None) != n_callers:
        make_torch_serial(max(1, _processors() // n_callers))
        _calling.n_callers = n_callers


def _processors() -> int:
    """Return the number of threads that torch uses in a new thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()
