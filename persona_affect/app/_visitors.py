"""Visitors who wait for an answer; work for visitors who have left is stopped."""

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class VisitorGoneError(Exception):
    """The visitor no longer waits."""


class Visitors:
    """Sessions that listen for answers.

    Parameters
    ----------
    grace_seconds : float, default=30
        Programs ask first and listen then: the longest time between the two.
    """

    def __init__(self, grace_seconds: float = 30.0) -> None:
        self._grace = grace_seconds
        self._lock = threading.Lock()
        self._listening: Counter[str] = Counter()
        self._joined: dict[str, float] = {}

    def join(self, session: str) -> None:
        """Note that a session has asked for something."""
        now = time.monotonic()
        with self._lock:
            self._joined = {
                name: then for name, then in self._joined.items() if now - then < self._grace
            }
            self._joined[session] = now

    @contextmanager
    def listening(self, session: str) -> Iterator[None]:
        """Count a session as there while it listens, and as gone afterwards."""
        with self._lock:
            self._listening[session] += 1
            self._joined.pop(session, None)
        try:
            yield
        finally:
            with self._lock:
                self._listening[session] -= 1
                if not self._listening[session]:
                    del self._listening[session]

    def is_listening(self, session: str) -> bool:
        """Return whether a session listens."""
        with self._lock:
            return session in self._listening

    def check(self, session: str) -> None:
        """Wait until a session that has just asked listens.

        An answer that nobody takes would stay in memory.

        Raises
        ------
        VisitorGoneError
            If it does not listen.
        """
        while not self.is_listening(session):
            with self._lock:
                joined = self._joined.get(session, -math.inf)
            if time.monotonic() - joined > self._grace:
                raise VisitorGoneError(session)
            time.sleep(0.02)
