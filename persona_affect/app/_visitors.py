"""Visitors who wait for an answer; work for visitors who have left is stopped."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class VisitorGoneError(Exception):
    """The visitor no longer waits."""


class Visitors:
    """Sessions that listen for answers.

    A program asks first and listens afterwards, so that a session that has just asked counts too.

    Parameters
    ----------
    grace_seconds : float, default=10
        Time between a request and listening.
    """

    def __init__(self, grace_seconds: float = 10.0) -> None:
        self._grace = grace_seconds
        self._lock = threading.Lock()
        self._listening: Counter[str] = Counter()
        self._joined: dict[str, float] = {}

    def join(self, session: str) -> None:
        """Record a request of a session."""
        now = time.monotonic()
        with self._lock:
            self._joined = {
                name: then for name, then in self._joined.items() if now - then < self._grace
            }
            self._joined[session] = now

    @contextmanager
    def listening(self, session: str) -> Iterator[None]:
        """Count a session as present while it listens, and as gone afterwards."""
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

    def is_there(self, session: str) -> bool:
        """Return whether a session listens, or has just sent a request."""
        with self._lock:
            joined = self._joined.get(session, -float("inf"))
            return session in self._listening or time.monotonic() - joined < self._grace

    def check(self, session: str) -> None:
        """Raise an error unless a session still waits.

        Raises
        ------
        VisitorGoneError
        """
        if not self.is_there(session):
            raise VisitorGoneError(session)
