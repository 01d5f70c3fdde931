"""Frames of clips: a few, spread over the clip, or all of them one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .._warnings import warn_user
from ..exceptions import InvalidImageError, MediaLimitError, MediaReadError, MediaWarning
from ._arrays import check_depth, check_pixels, to_rgb
from ._decoding import (
    DecodedFrame,
    decode_all,
    read_clock,
    read_timeline,
)
from ._geometry import display_matrix, shown_size, upright
from ._paths import printable
from ._photos import open_photo
from ._samples import FrameSequence
from ._sampling import decode_centres
from ._wide_colours import is_wide, wide_to_srgb

#: Videos with larger frames are refused before a frame is decoded (8192 x 4320 fits).
MAX_FRAME_PIXELS = 2**26
#: Videos longer than this many seconds are refused (four hours).
MAX_DURATION = 4 * 3600.0
#: `open_clip` refuses to return more than this many bytes of pixels (4 GiB).
MAX_CLIP_BYTES = 2**32
#: More frames are never sampled from one clip: each takes time, also where a clip is shorter.
MAX_SAMPLED_FRAMES = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of a video.

    Attributes
    ----------
    index : int
        Position in the video, from 0.
    time : float
        Seconds from the first frame; NaN if the source has no times (an array).
    image : ndarray of uint8, shape (H, W, 3)
        sRGB, upright, with square pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.media import iter_frames
    >>> first = next(iter_frames(np.zeros((9, 4, 6, 3), np.uint8)))
    >>> first.index, first.image.shape
    (0, (4, 6, 3))
    """

    index: int
    time: float
    image: npt.NDArray[np.uint8]


def open_clip(
    source: Any,
    n_frames: int | None = None,
    *,
    max_pixels: int = MAX_FRAME_PIXELS,
    max_duration: float = MAX_DURATION,
    max_bytes: int = MAX_CLIP_BYTES,
) -> npt.NDArray[np.uint8]:
    """Open a clip, or a few frames spread over it, as one RGB array.

    The clip is divided into `n_frames` segments of equal duration, and the frame at the centre of
    each is returned: always the same frames of the same clip. Only what is needed is decoded.

    Parameters
    ----------
    source : str, os.PathLike, bytes, FrameSequence or ndarray
        A path, the bytes of a video file, image files, or a uint8 array (T, H, W, 3).
    n_frames : int or None, default=None
        How many frames, 10,000 at most; None for all. If the clip has fewer frames, some are
        repeated.
    max_pixels : int, default=2**26
        Videos with larger frames are refused.
    max_duration : float, default=14400.0
        Longer videos are refused; seconds.
    max_bytes : int, default=2**32
        Larger results are refused.

    Returns
    -------
    ndarray of uint8, shape (n_frames, H, W, 3)
        sRGB, as it is shown: upright, and with square pixels. Fewer than `n_frames` if the video
        is truncated, with a `MediaWarning`.

    Raises
    ------
    MediaReadError
        The file is missing, empty, damaged, or has no video stream that can be decoded.
    MediaLimitError
        One of the limits is exceeded.
    InvalidImageError
        The array is not a clip.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.media import open_clip
    >>> clip = np.arange(9, dtype=np.uint8).reshape(9, 1, 1, 1).repeat(3, axis=-1)
    >>> open_clip(clip, n_frames=3)[:, 0, 0, 0]
    array([1, 4, 7], dtype=uint8)
    """
    notes: list[str] = []
    frames: list[npt.NDArray[np.uint8]] = []
    n_bytes = 0
    for frame in sample_frames(
        source, n_frames, notes, max_pixels=max_pixels, max_duration=max_duration
    ):
        frames.append(frame.image)
        n_bytes += frame.image.nbytes
        if n_bytes > max_bytes:
            raise MediaLimitError(
                f"the frames take more than max_bytes={max_bytes:,}: ask for fewer with n_frames, "
                "or read them one by one with iter_frames."
            )
    for note in notes:
        warn_user(note, MediaWarning)
    return np.stack(frames)


def iter_frames(
    source: Any, *, max_pixels: int = MAX_FRAME_PIXELS, max_duration: float = MAX_DURATION
) -> Iterator[Frame]:
    """Read a clip frame by frame, holding one frame in memory at a time.

    Parameters
    ----------
    source, max_pixels, max_duration
        As for :func:`open_clip`.

    Yields
    ------
    Frame
        Its index, time in seconds, and image.

    Raises
    ------
    MediaReadError, MediaLimitError, InvalidImageError
        As for :func:`open_clip`. If a video is truncated after at least one frame, the frames
        before are yielded, with a `MediaWarning` at the end.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.media import iter_frames
    >>> clip = np.zeros((3, 4, 6, 3), np.uint8)
    >>> [frame.index for frame in iter_frames(clip)]
    [0, 1, 2]
    """
    notes: list[str] = []
    yield from sample_frames(source, None, notes, max_pixels=max_pixels, max_duration=max_duration)
    for note in notes:
        warn_user(note, MediaWarning)


def count_frames(
    source: Any, *, max_pixels: int = MAX_FRAME_PIXELS, max_duration: float = MAX_DURATION
) -> int:
    """Count the frames of a video file without decoding them.

    Parameters
    ----------
    source : str, os.PathLike or bytes
        As for :func:`open_clip`.
    max_pixels, max_duration
        As for :func:`open_clip`.

    Returns
    -------
    int
        For a truncated video, the number of frames that can be read.

    Raises
    ------
    MediaReadError
        As for :func:`open_clip`; also if there is no frame.
    MediaLimitError, InvalidImageError
        As for :func:`open_clip`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from persona_affect.media import VideoWriter, count_frames
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "grey.mp4")
    ...     with VideoWriter(path, rate=25, size=(64, 48)) as video:
    ...         for _ in range(5):
    ...             video.write(np.full((48, 64, 3), 128, np.uint8))
    ...     count_frames(path)
    5
    """
    notes: list[str] = []
    n_frames = len(read_timeline(source, max_pixels, max_duration, notes).times)
    if not n_frames:
        raise MediaReadError(" ".join(notes) or "the video has no frames.")
    return n_frames


def frame_rate(source: Any) -> float:
    """Read how many frames a second a video shows on average, as its header says.

    Parameters
    ----------
    source : str, os.PathLike or bytes
        As for :func:`open_clip`.

    Returns
    -------
    float
        25 if the file does not say.

    Raises
    ------
    MediaReadError, MediaLimitError, InvalidImageError
        As for :func:`open_clip`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from persona_affect.media import VideoWriter, frame_rate
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "grey.mp4")
    ...     with VideoWriter(path, rate=25, size=(64, 48)) as video:
    ...         for _ in range(5):
    ...             video.write(np.full((48, 64, 3), 128, np.uint8))
    ...     frame_rate(path)
    25.0
    """
    return read_clock(source, MAX_FRAME_PIXELS)[1]


def sample_frames(
    source: Any,
    n_frames: int | None,
    notes: list[str],
    *,
    max_pixels: int = MAX_FRAME_PIXELS,
    max_duration: float = MAX_DURATION,
) -> Iterator[Frame]:
    """Yield `n_frames` segment centres of a clip, or every frame; append problems to `notes`.

    For batches: no clip is held in memory, and the notes of many clips become one warning.

    Parameters
    ----------
    source : object
        As for :func:`open_clip`.
    n_frames : int or None
        Number of segments; None for every frame.
    notes : list of str
        Problems are appended.
    max_pixels, max_duration
        As for :func:`open_clip`.

    Yields
    ------
    Frame
        In the order of time.

    Raises
    ------
    MediaReadError, MediaLimitError, InvalidImageError
        As for :func:`open_clip`.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.media import sample_frames
    >>> clip, notes = np.zeros((9, 4, 6, 3), np.uint8), []
    >>> [frame.index for frame in sample_frames(clip, 3, notes)]
    [1, 4, 7]
    """
    if n_frames is not None and n_frames > MAX_SAMPLED_FRAMES:
        raise MediaLimitError(
            f"n_frames={n_frames:,} is more than {MAX_SAMPLED_FRAMES:,}: ask for fewer, or for all "
            "with n_frames=None."
        )
    if isinstance(source, np.ndarray):
        yield from _sample_array(source, n_frames)
        return
    if isinstance(source, FrameSequence):
        yield from _sample_files(source, n_frames, notes, max_pixels)
        return
    if n_frames is None:
        frames = decode_all(source, max_pixels, max_duration, notes)
    else:
        frames = decode_centres(source, n_frames, max_pixels, max_duration, notes)
    size: tuple[int, int] | None = None
    for frame in frames:
        # If the size changes within the video, later frames are resized to that of the first.
        size = size or shown_size(frame.picture, frame.aspect)
        image = _to_rgb(frame, size)
        yield Frame(frame.index, frame.seconds, upright(image, display_matrix(frame.picture)))
    if size is None:
        reason = f": {notes[0]}" if notes else "."
        raise MediaReadError(f"no frame of the video can be decoded{reason}")


def _to_rgb(frame: DecodedFrame, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    wide = is_wide(*frame.colours)
    image: npt.NDArray[Any] = frame.picture.to_ndarray(
        format="rgb48le" if wide else "rgb24", width=size[0], height=size[1]
    )
    return wide_to_srgb(image, *frame.colours) if wide else image


def segment_centres(n_frames: int, n_segments: int) -> npt.NDArray[np.intp]:
    """Return the index of the centre frame of each of `n_segments` equal parts of a clip.

    Parameters
    ----------
    n_frames : int
        Length of the clip, 1 or more.
    n_segments : int
        Number of parts, 1 or more; frames are repeated if the clip has fewer.

    Returns
    -------
    ndarray of intp, shape (n_segments,)
        Indices from 0, which do not fall.

    Examples
    --------
    >>> from persona_affect.media import segment_centres
    >>> segment_centres(9, 3)
    array([1, 4, 7])
    """
    return ((np.arange(n_segments) + 0.5) * n_frames / max(n_segments, 1)).astype(np.intp)


def _sample_array(clip: npt.NDArray[Any], n_frames: int | None) -> Iterator[Frame]:
    if clip.ndim != 4:
        raise InvalidImageError(
            f"a clip has shape (T, H, W, 3); this array has {clip.ndim} dimensions, {clip.shape}."
        )
    check_pixels(clip, "clip", channels_axis=1)
    if clip.dtype != np.uint8:
        check_depth(int(clip.max()), "clip")
    indices = range(len(clip)) if n_frames is None else segment_centres(len(clip), n_frames)
    for index in indices:
        image = clip[index] if clip.dtype == np.uint8 else (clip[index] >> 8).astype(np.uint8)
        yield Frame(int(index), float("nan"), to_rgb(image))


def _sample_files(
    clip: FrameSequence, n_frames: int | None, notes: list[str], max_pixels: int
) -> Iterator[Frame]:
    """Yield frames that are files; files that cannot be read are noted and skipped."""
    n = len(clip.paths)
    indices = range(n) if n_frames is None or n == 0 else segment_centres(n, n_frames)
    size: tuple[int, int] | None = None
    for index in indices:
        try:
            image = open_photo(clip.paths[index], max_pixels=max_pixels)
        except (MediaReadError, MediaLimitError, InvalidImageError) as error:
            notes.append(f"{printable(clip.paths[index])}: {error}")
            continue
        size = size or (image.shape[1], image.shape[0])
        if size != (image.shape[1], image.shape[0]):
            image = np.asarray(Image.fromarray(image).resize(size))
        yield Frame(int(index), float("nan"), image)
    if size is None:
        raise MediaReadError(f"none of the clip's {n} frames can be read.")
