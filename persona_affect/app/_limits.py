"""What the web page accepts, and how its answers to bad input read."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import gradio as gr

from persona_affect.exceptions import MediaLimitError, PersonaAffectError
from persona_affect.media import count_frames

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What a server accepts.

    Parameters
    ----------
    upload_bytes : int, default=200 MiB
        Of one request's uploads; checked before they are read.
    photo_pixels, clip_pixels : int, default=2**25, 2**22
        Of a photo (32 megapixels), and of a clip's frames (2560 x 1440 fits).
    clip_seconds : float, default=60
    clip_frames : int, default=3600
    queue : int, default=200
        Requests that may wait for each kind of work; more are told to come back later.
    at_once : int, default=2
        Photos worked on at once, and webcams served at once.
    webcam_seconds : float, default=600
        After which a webcam makes room for the next in the queue.
    kept_seconds : int, default=3600
        After which annotated clips, and uploads that were never used, are deleted.
    """

    upload_bytes: int = 200 * 2**20
    photo_pixels: int = 2**25
    clip_pixels: int = 2**22
    clip_seconds: float = 60.0
    clip_frames: int = 3600
    queue: int = 200
    at_once: int = 2
    webcam_seconds: float = 600.0
    kept_seconds: int = 3600

    def check_clip(self, path: Path) -> int:
        """Count a clip's frames without decoding them.

        Raises
        ------
        MediaReadError, MediaLimitError
            If it is no clip, or above a limit.
        """
        frames = count_frames(path, max_pixels=self.clip_pixels, max_duration=self.clip_seconds)
        if frames > self.clip_frames:
            raise MediaLimitError(f"the video has {frames} frames, more than {self.clip_frames}.")
        return frames


def readable(work: Callable[P, T]) -> Callable[P, T]:
    """Let visitors read what was wrong with their file, and nothing of the server."""

    @functools.wraps(work)
    def answer(*args: P.args, **kwargs: P.kwargs) -> T:
        with _readable():
            return work(*args, **kwargs)

    return answer


def readable_each(work: Callable[P, Iterator[T]]) -> Callable[P, Iterator[T]]:
    """Do the same for work that yields."""

    @functools.wraps(work)
    def answer(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        with _readable():
            yield from work(*args, **kwargs)

    return answer


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except PersonaAffectError as error:
        raise gr.Error(f"This file cannot be used: {error}", print_exception=False) from None
