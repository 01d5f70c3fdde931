"""Who still waits for an answer: work for those who have left stops."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class VisitorGoneError(Exception):
    """The visitor does not wait any longer."""


class Visitors:
    """Sessions that listen for answers.

    A program asks first and listens then, so that who has just asked counts as listening.

    Parameters
    ----------
    grace_seconds : float, default=10
        Between a question and listening.
    """

    def __init__(self, grace_seconds: float = 10.0) -> None:
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

    def is_there(self, session: str) -> bool:
        """Say whether a session listens, or has just asked."""
        with self._lock:
            joined = self._joined.get(session, -float("inf"))
            return session in self._listening or time.monotonic() - joined < self._grace

    def check(self, session: str) -> None:
        """Raise unless a session still waits.

        Raises
        ------
        VisitorGoneError
        """
        if not self.is_there(session):
            raise VisitorGoneError(session)
