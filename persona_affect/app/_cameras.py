"""Cameras of visitors: their pictures are predicted one by one, and at most one waits."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_affect._threads import share_processors
from persona_affect.annotation import Session
from persona_affect.media import Frame

#: Seconds without a picture after which a camera has stopped.
SILENCE = 5.0
#: Pictures of a camera at the server: one is predicted while the next arrives.
PICTURES = 2


class CameraBusyError(Exception):
    """The camera must wait; the message says why."""


@dataclass
class _Camera:
    """One visitor's camera: what is needed to follow faces from picture to picture."""

    session: Session
    started: float
    latest: float
    n_seen: int = 0
    turn: threading.Lock = field(default_factory=threading.Lock)
    coming: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(PICTURES)
    )


class Cameras:
    """The cameras that are served at the moment. No picture is kept.

    Parameters
    ----------
    start : callable
        Starts an annotation.
    at_once : int
        Cameras that are served; others are refused until one stops.
    seconds : float
        After this time a camera is stopped, so that others get its place.
    clock : callable, default=time.monotonic
        Seconds.
    """

    def __init__(
        self,
        start: Callable[[], Session],
        *,
        at_once: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start = start
        self._at_once = at_once
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._cameras: dict[str, _Camera] = {}
        #: When cameras that had their time may start again.
        self._rest: dict[str, float] = {}

    def see(self, name: str, image: NDArray[np.uint8]) -> dict[str, Any]:
        """Predict the next picture of a camera.

        Parameters
        ----------
        name : str
            Of the camera; only its visitor knows it.
        image : ndarray of uint8, shape (H, W, 3)

        Returns
        -------
        dict
            ``n_seen``, the number of pictures; ``faces``, a row for each face.

        Raises
        ------
        CameraBusyError
            If all places are taken, or two pictures before are not predicted yet.
        MediaLimitError
            If there are too many faces.
        """
        camera = self._find(name)
        if not camera.coming.acquire(blocking=False):
            raise CameraBusyError("The pictures before are not predicted yet.")
        try:
            with camera.turn:
                share_processors(self._at_once)
                now = self._clock() - camera.started
                (rows,) = camera.session.annotate([Frame(camera.n_seen, now, image)])
                camera.n_seen += 1
                camera.latest = self._clock()
                n_seen = camera.n_seen
        finally:
            camera.coming.release()
        faces = [row for row in rows if not np.isnan(row["face"])]
        return {"n_seen": n_seen, "faces": faces}

    def stop(self, name: str) -> None:
        """Forget a camera."""
        with self._lock:
            self._cameras.pop(name, None)

    def _find(self, name: str) -> _Camera:
        now = self._clock()
        with self._lock:
            for other, camera in list(self._cameras.items()):
                if now - camera.latest > SILENCE and not camera.turn.locked():
                    del self._cameras[other]
                elif now - camera.started > self._seconds:
                    del self._cameras[other]
                    self._rest[other] = now + SILENCE
            self._rest = {other: until for other, until in self._rest.items() if until > now}
            if name in self._rest:
                raise CameraBusyError("Your camera has had its time. It goes on in a moment.")
            if name not in self._cameras:
                if len(self._cameras) >= self._at_once:
                    raise CameraBusyError("Other cameras are on. Yours is next when one stops.")
                self._cameras[name] = _Camera(self._start(), now, now)
            return self._cameras[name]
