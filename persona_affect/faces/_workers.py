"""Threads that share out work on the processor, each running torch on its own."""

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
# A child that is forked while another thread holds the lock would wait for ever.
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(
        before=_setting_up.acquire,
        after_in_parent=_setting_up.release,
        after_in_child=_setting_up.release,
    )


@contextmanager
def workers(device: str) -> Iterator[Share]:
    """Give a `map` that keeps as many threads busy as torch may use.

    Torch itself splits single operations. On the small pieces of work here that gains little, and
    leaves all that is not torch to one thread; so whole pieces are shared among threads in which
    torch is serial. On other devices than the processor, this is plain `map`.

    An interrupt (Ctrl-C) ends it after the pieces at work: no thread waits for another.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1 or torch.device(device).type != "cpu":
        yield map
        return
    pool = ThreadPoolExecutor(n_threads, initializer=_make_torch_serial)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _make_torch_serial() -> None:
    """Have torch use one thread inside the calling thread, and nowhere else."""
    with _setting_up:
        # A thread looks the default up once: what is done to it below no longer reaches this one.
        default = torch.get_num_threads()
        torch.set_num_threads(1)
        # That set the default for new threads too: put it back, from a thread that then ends.
        restoring = threading.Thread(target=torch.set_num_threads, args=(default,))
        restoring.start()
        restoring.join()
