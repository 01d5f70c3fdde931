"""Frames with times, from a clip, a camera or any iterable."""

import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from persona_affect.exceptions import MediaReadError
from persona_affect.media import Frame, frame_rate, iter_frames, open_photo

#: Frames a second of a clip that is an array; nominal for streams.
ARRAY_RATE = 25.0


def read_frames(source: Any) -> Iterator[Frame]:
    """Read frames one by one, each with a time.

    Parameters
    ----------
    source : path, bytes, ndarray (T, H, W, 3), int, or iterable of frames
        As for :meth:`persona_affect.FrameAnnotator.annotate`.

    Yields
    ------
    Frame
    """
    if isinstance(source, int):
        return _timed(open_camera(source))
    if isinstance(source, np.ndarray):
        return (Frame(f.index, f.index / ARRAY_RATE, f.image) for f in iter_frames(source))
    if is_file(source):
        return iter_frames(source)
    return _timed(source)


def is_file(source: Any) -> bool:
    """Tell whether a source is a video file, on disk or in memory."""
    return isinstance(source, str | bytes | bytearray | memoryview | os.PathLike)


def rate_of(source: Any) -> float:
    """Read how many frames a second a source has; nominal where it does not say."""
    return frame_rate(source) if is_file(source) else ARRAY_RATE


def open_camera(index: int) -> Iterator[NDArray[np.uint8]]:
    """Read RGB frames from a camera, which is free again when the iterator is closed.

    Raises
    ------
    MediaReadError
        If the camera does not open.
    """
    import cv2

    camera = cv2.VideoCapture(index)
    try:
        if not camera.isOpened():
            raise MediaReadError(f"camera {index} does not open; is it connected and free?")
        while True:
            ok, image = camera.read()
            if not ok:
                return
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    finally:
        camera.release()


def _timed(images: Iterable[NDArray[Any]]) -> Iterator[Frame]:
    start = time.monotonic()
    for index, image in enumerate(images):
        yield Frame(index, time.monotonic() - start, open_photo(image))
