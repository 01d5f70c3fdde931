"""Threads that share out work on the processor, each running torch on its own."""

from __future__ import annotations

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


@contextmanager
def workers(device: str) -> Iterator[Share]:
    """Give a `map` that keeps as many threads busy as torch may use.

    Torch itself splits single operations. On the small pieces of work here that gains little, and
    leaves all that is not torch to one thread; so whole pieces are shared among threads in which
    torch is serial. On other devices than the processor, this is plain `map`.
    """
    n_threads = torch.get_num_threads()
    if n_threads == 1 or torch.device(device).type != "cpu":
        yield map
        return
    with ThreadPoolExecutor(n_threads) as pool:
        _make_torch_serial(pool, n_threads)
        yield pool.map


def _make_torch_serial(pool: ThreadPoolExecutor, n_threads: int) -> None:
    """Have torch use one thread inside each of the pool's threads, and nowhere else."""
    met = threading.Barrier(n_threads)

    def settle(_: int) -> None:
        torch.set_num_threads(1)
        # That also set the default for new threads, which each thread looks up once: this one now.
        torch.get_num_threads()
        # No thread takes a second of these calls before every thread has had one.
        met.wait()

    with _setting_up:
        try:
            list(pool.map(settle, range(n_threads)))
        finally:
            torch.set_num_threads(n_threads)
