"""Frames with times, from a clip, a camera or any iterable."""

import math
import operator
import os
import time
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from persona_affect.exceptions import InvalidImageError, MediaReadError
from persona_affect.media import Frame, FrameSequence, frame_rate, open_photo, sample_frames

#: Frames a second of a source without times, if `rate` is not given.
DEFAULT_RATE: Final = 25.0
#: Shortest time between two frames of a camera, in seconds.
_SHORTEST: Final = 1e-3


def read_frames(
    source: Any, rate: float | None = None, notes: list[str] | None = None
) -> Iterator[Frame]:
    """Read frames one by one, with increasing times.

    Parameters
    ----------
    source : path, bytes, ndarray, FrameSequence, int, or iterable
        As for :meth:`persona_affect.FrameAnnotator.annotate`.
    rate : float, optional
        Frames a second of a source that has no times; 25 by default.
    notes : list of str, optional
        Problems after which there still are frames are appended to it.

    Yields
    ------
    Frame
        Its time is never NaN.

    Raises
    ------
    InvalidImageError
        If the source is of another kind, if an item is not a frame, or if times do not increase.
    ValueError
        If `rate` is not positive, or the source has times of its own.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.annotation import read_frames
    >>> [frame.time for frame in read_frames(np.zeros((3, 8, 8, 3), np.uint8), rate=10)]
    [0.0, 0.1, 0.2]
    """
    notes = [] if notes is None else notes
    if rate is not None and not 0 < rate < math.inf:
        raise ValueError(f"rate={rate!r} must be positive: frames a second.")
    camera = _camera_index(source)
    if rate is not None and (camera is not None or is_file(source)):
        kind = "a camera" if camera is not None else "a video file"
        raise ValueError(f"rate={rate!r} is for frames without times; {kind} has its own.")
    if camera is not None:
        return _timed_by_arrival(open_camera(camera))
    if is_file(source):
        return sample_frames(source, None, notes)
    if isinstance(source, np.ndarray | FrameSequence):
        clip = sample_frames(source, None, notes)
        return (Frame(f.index, f.index / (rate or DEFAULT_RATE), f.image) for f in clip)
    if not isinstance(source, Iterable):
        raise InvalidImageError(
            f"cannot read frames from {type(source).__name__}: give a path, bytes, an array "
            "(T, H, W, 3), the index of a camera, or an iterable of frames."
        )
    return _checked(_handed_over(source, rate))


def is_at_rest(source: Any) -> bool:
    """Return whether all frames of a source are there, so that they can be read ahead."""
    return is_file(source) or isinstance(source, np.ndarray | FrameSequence | list | tuple)


def is_file(source: Any) -> bool:
    """Return whether a source is a video file, on disk or in memory."""
    return isinstance(source, str | bytes | bytearray | memoryview | os.PathLike)


def read_files(source: Any) -> tuple[Any, ...]:
    """Return the paths of the files that a source is read from."""
    return source.paths if isinstance(source, FrameSequence) else (source,)


def rate_of(source: Any, rate: float | None = None) -> float:
    """Return the frames a second of a source; 25 if it does not say."""
    return frame_rate(source) if is_file(source) else rate or DEFAULT_RATE


def open_camera(index: int) -> Iterator[NDArray[np.uint8]]:
    """Read RGB frames from a camera, which is released when the iterator is closed.

    Parameters
    ----------
    index : int
        Number of the camera, from 0.

    Yields
    ------
    ndarray of shape (height, width, 3), uint8
        RGB, in the resolution that the camera has by default, until it gives no more frames.

    Raises
    ------
    MediaReadError
        If the camera cannot be opened.

    Examples
    --------
    >>> from persona_affect.annotation import open_camera
    >>> from persona_affect.exceptions import MediaReadError
    >>> try:
    ...     frame = next(open_camera(99))
    ... except MediaReadError:
    ...     print("no such camera")
    no such camera
    """
    import cv2

    camera = cv2.VideoCapture(index)
    try:
        if not camera.isOpened():
            raise MediaReadError(
                f"camera {index} cannot be opened; is it connected, and not in use?"
            )
        while True:
            ok, image = camera.read()
            if not ok:
                return
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    finally:
        camera.release()


def _camera_index(source: Any) -> int | None:
    """Return a whole number as a Python int, also one of NumPy's."""
    if isinstance(source, bool | np.bool_ | np.ndarray):
        return None
    try:
        return operator.index(source)
    except TypeError:
        return None


def _timed_by_arrival(images: Iterable[NDArray[Any]]) -> Iterator[Frame]:
    start, last = time.monotonic(), -_SHORTEST
    for index, image in enumerate(images):
        last = max(time.monotonic() - start, last + _SHORTEST)
        yield Frame(index, last, open_photo(image))


def _handed_over(items: Iterable[Any], rate: float | None) -> Iterator[Frame]:
    """Read frames, pairs of a time and a frame, or `Frame` objects."""
    for index, item in enumerate(items):
        if isinstance(item, Frame):
            seconds, image = item.time, item.image
        elif isinstance(item, tuple | list) and len(item) == 2 and isinstance(item[0], Real):
            seconds, image = float(item[0]), item[1]
        else:
            yield Frame(index, index / (rate or DEFAULT_RATE), _open(index, item))
            continue
        if rate is not None:
            raise ValueError(f"rate={rate!r} is for frames without times; frame {index} has one.")
        yield Frame(index, seconds, _open(index, image))


def _open(index: int, image: Any) -> NDArray[np.uint8]:
    try:
        return open_photo(image)
    except (InvalidImageError, MediaReadError) as error:
        raise type(error)(f"frame {index}: {error}") from error


def _checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    last = -math.inf
    for frame in frames:
        if not last < frame.time < math.inf:
            raise InvalidImageError(
                f"frame {frame.index}: its time, {frame.time} s, must be after that of the frame "
                f"before, {last} s."
            )
        last = frame.time
        yield frame
