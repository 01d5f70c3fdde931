"""Threads that share out work on the processor, each running torch on its own."""

from __future__ import annotations

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
    with ThreadPoolExecutor(n_threads, initializer=_make_torch_serial) as pool:
        try:
            yield pool.map
        finally:
            # `_make_torch_serial` also set the default for threads to come.
            torch.set_num_threads(n_threads)


def _make_torch_serial() -> None:
    torch.set_num_threads(1)
    # A thread takes the default of the moment when it first asks: now, while it is 1.
    torch.get_num_threads()
