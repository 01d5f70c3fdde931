"""Limits of the web page, and its answers to bad input."""

import functools
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import gradio as gr
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from persona_affect.exceptions import MediaLimitError, PersonaAffectError
from persona_affect.media import count_frames

from ._visitors import VisitorGoneError

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Parameters
    ----------
    upload_bytes : int, default=200 MiB
        Size of one upload, counted while it arrives.
    message_bytes : int, default=2 MiB
        Size of any other request, at most `upload_bytes`.
    stored_bytes : int, default=2 GiB
        Size of all uploads that wait or arrive, and of all annotated clips.
    photo_pixels, clip_pixels : int, default=2**25, 2**22
        Pixels of a photo (32 megapixels), and of a clip's frames (2560 x 1440 fits).
    clip_seconds : float, default=60
        Duration of a clip.
    clip_frames : int, default=3600
        Number of frames of a clip.
    search_pixels : int, default=2**22
        Of a photo in which faces are looked for as small as the model can; in larger photos, the
        smallest face is larger in proportion, so that the search takes no longer.
    faces : int, default=100
        Faces in a photo or a frame.
    work_seconds : float, default=600
        Time for one clip.
    queue : int, default=200
        Requests that may wait; further ones are refused and may be sent again later.
    at_once : int, default=2
        Photos worked on at once, and webcams served at once.
    webcam_seconds : float, default=600
        After this time, a webcam must wait in the queue again.
    sessions : int, default=16
        Visitors whose last answer is kept in memory until they leave.
    pause_seconds : float, default=30
        The longest pause while a request arrives, or while an answer is read.
    request_seconds : float, default=600
        The longest time for a request to arrive.
    kept_seconds : int, default=3600
        Annotated clips, and uploads that were never used, are deleted after this time.

    Examples
    --------
    >>> from persona_affect.app.web import Limits
    >>> Limits(clip_seconds=10).clip_seconds
    10
    """

    upload_bytes: int = 200 * 2**20
    message_bytes: int = 2 * 2**20
    stored_bytes: int = 2 * 2**30
    photo_pixels: int = 2**25
    clip_pixels: int = 2**22
    clip_seconds: float = 60.0
    clip_frames: int = 3600
    search_pixels: int = 2**22
    faces: int = 100
    work_seconds: float = 600.0
    queue: int = 200
    at_once: int = 2
    webcam_seconds: float = 600.0
    sessions: int = 16
    pause_seconds: float = 30.0
    request_seconds: float = 600.0
    kept_seconds: int = 3600

    def check_clip(self, path: Path) -> int:
        """Count a clip's frames without decoding them.

        Parameters
        ----------
        path : Path
            The uploaded file.

        Returns
        -------
        int
            The number of frames.

        Raises
        ------
        MediaReadError, MediaLimitError
            If it is not a clip, or above a limit.
        """
        frames = count_frames(path, max_pixels=self.clip_pixels, max_duration=self.clip_seconds)
        if frames > self.clip_frames:
            raise MediaLimitError(f"the video has {frames} frames, more than {self.clip_frames}.")
        return frames


def with_face_size(model: Pipeline, size: float) -> Pipeline:
    """Copy a model, to look for faces of at least `size` pixels."""
    aligner = clone(model[0])
    aligner.set_params(min_face_size=max(aligner.min_face_size, size))
    return Pipeline([("aligner", aligner), *model.steps[1:]])


def readable(work: Callable[P, T]) -> Callable[P, T]:
    """Show visitors what was wrong with their file, and nothing about the server."""

    @functools.wraps(work)
    def answer(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        except PersonaAffectError as error:
            message = without_paths(str(error))
            raise gr.Error(f"This file cannot be used: {message}", print_exception=False) from None
        except VisitorGoneError:
            raise gr.Error("The request was taken back.", print_exception=False) from None

    return answer


def without_paths(message: str) -> str:
    """Replace each path on the server by "the file"."""
    folder = tempfile.gettempdir()
    folders = "|".join(map(re.escape, {folder, os.path.realpath(folder)}))
    return re.sub(rf"(?:{folders})[^\s:'\",]*", "the file", message)
