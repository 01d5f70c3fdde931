"""Frames of video files: a few, spread over the clip, or all of them one by one."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from ..exceptions import InvalidImageError, MediaLimitError, MediaReadError, MediaWarning
from ._photos import check_clip_or_photo_array, check_file, to_rgb

#: Videos with larger frames are refused before a frame is decoded (8192 x 4320 fits).
MAX_FRAME_PIXELS = 2**26
#: Videos longer than this many seconds are refused (four hours).
MAX_DURATION = 4 * 3600.0
#: `open_clip` refuses to return more than this many bytes of pixels (4 GiB).
MAX_CLIP_BYTES = 2**32

# Containers that hold videos. FFmpeg knows more formats, some of which (playlists, scripts, text
# drawn as pictures) open other files or take anything for a video.
_CONTAINERS = (
    "asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,"
    "mpegvideo,mxf,nut,ogg,rm,wtv"
)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame of a video.

    Attributes
    ----------
    index : int
        Its place in the video, from 0.
    time : float
        Seconds from the first frame; NaN where the source has no clock (an array).
    image : ndarray of uint8, shape (H, W, 3)
        RGB, upright.
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

    The clip is cut into `n_frames` segments of equal duration, and the frame shown at the centre
    of each is taken: always the same frames of the same clip. Only what is needed is decoded.

    Parameters
    ----------
    source : str, os.PathLike, bytes or ndarray
        A path, the bytes of a video file, or a uint8 array (T, H, W, 3).
    n_frames : int or None, default=None
        How many frames; None takes them all. A clip with fewer frames repeats some.
    max_pixels : int, default=2**26
        Videos with larger frames are refused.
    max_duration : float, default=14400.0
        Longer videos are refused; seconds.
    max_bytes : int, default=2**32
        Larger results are refused.

    Returns
    -------
    ndarray of uint8, shape (n_frames, H, W, 3)
        RGB, upright (the rotation that phones record is applied). Fewer than `n_frames` where
        the video breaks off; a `MediaWarning` says so.

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
        warnings.warn(note, MediaWarning, stacklevel=2)
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
        As for :func:`open_clip`. Where a video breaks off after at least one frame, the frames
        before are yielded and a `MediaWarning` is issued at the end.
    """
    notes: list[str] = []
    yield from sample_frames(source, None, notes, max_pixels=max_pixels, max_duration=max_duration)
    for note in notes:
        warnings.warn(note, MediaWarning, stacklevel=2)


def sample_frames(
    source: Any,
    n_frames: int | None,
    notes: list[str],
    *,
    max_pixels: int = MAX_FRAME_PIXELS,
    max_duration: float = MAX_DURATION,
) -> Iterator[Frame]:
    """Yield `n_frames` segment centres of a clip, or every frame; append to `notes` what broke.

    Batches use this: they hold no clip in memory, and gather the notes of many clips into one
    warning.
    """
    if isinstance(source, np.ndarray):
        yield from _sample_array(source, n_frames)
        return
    with _open_container(source) as container:
        stream = _video_stream(container, max_pixels, max_duration)
        count = 0
        if n_frames is None:
            frames = _decode_all(container, stream, notes, max_duration)
        else:
            frames = _decode_some(container, stream, n_frames, notes, max_duration)
        for frame in frames:
            count += 1
            yield frame
    if count == 0:
        reason = f": {notes[0]}" if notes else "."
        raise MediaReadError(f"no frame of the video can be decoded{reason}")


def segment_centres(n_frames: int, n_segments: int) -> npt.NDArray[np.intp]:
    """Return the index of the centre frame of each of `n_segments` equal parts of a clip."""
    return ((np.arange(n_segments) + 0.5) * n_frames / n_segments).astype(np.intp)


def _sample_array(clip: npt.NDArray[Any], n_frames: int | None) -> Iterator[Frame]:
    if clip.ndim != 4:
        raise InvalidImageError(
            f"a clip has shape (T, H, W, 3); this array has {clip.ndim} dimensions, {clip.shape}."
        )
    check_clip_or_photo_array(clip, "clip", channels_axis=1)
    indices = range(len(clip)) if n_frames is None else segment_centres(len(clip), n_frames)
    for index in indices:
        yield Frame(int(index), float("nan"), to_rgb(clip[index]))


@contextlib.contextmanager
def _open_container(source: Any) -> Iterator[av.container.InputContainer]:
    if isinstance(source, bytes | bytearray | memoryview):
        if len(source) == 0:
            raise MediaReadError("the video is empty: 0 bytes.")
        file: Any = io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        file = f"file:{check_file(source)}"
    else:
        raise InvalidImageError(
            f"cannot read a clip from {type(source).__name__}: give a path, bytes or a uint8 array "
            "(T, H, W, 3)."
        )
    options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
    try:
        container = av.open(file, options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaReadError(f"it is not a video that can be opened: {error}.") from error
    with container:
        yield container


def _video_stream(
    container: av.container.InputContainer, max_pixels: int, max_duration: float
) -> av.VideoStream:
    """Return the stream to decode, after a look at what the header promises."""
    # Cover art of music files is stored as a video stream of one picture.
    streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
    if not streams:
        raise MediaReadError("the file has no video stream.")
    stream = streams[0]
    context = stream.codec_context
    if context is None:
        raise MediaReadError("the video's codec is unknown.")
    if context.width * context.height > max_pixels:
        raise MediaLimitError(
            f"the video's frames have {context.width} x {context.height} pixels, more than "
            f"max_pixels={max_pixels:,}."
        )
    if container.duration is not None:
        _check_duration(container.duration / av.time_base, max_duration)
    # A damaged stream may announce larger frames later on; the decoder then refuses them.
    context.options = {"max_pixels": str(max_pixels)}
    stream.thread_type = "AUTO"
    return stream


def _check_duration(seconds: float, max_duration: float) -> None:
    if seconds > max_duration:
        raise MediaLimitError(
            f"the video lasts {seconds:,.0f} s, more than max_duration={max_duration:,.0f} s."
        )


def _decode_all(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    notes: list[str],
    max_duration: float,
) -> Iterator[Frame]:
    """Yield every frame, up to the end or to the first damage."""
    start: float | None = None
    size: tuple[int, int] | None = None
    frames = container.decode(stream)
    index = 0
    while True:
        try:
            frame = next(frames, None)
        except (av.FFmpegError, ValueError, OSError) as error:
            notes.append(f"the video breaks off after {index} frames: {error}.")
            return
        if frame is None:
            return
        rate = float(stream.average_rate or stream.base_rate or 25)
        time = frame.time if frame.time is not None else index / rate
        start = time if start is None else start
        _check_duration(time - start, max_duration)
        size = size or (frame.width, frame.height)
        yield Frame(index, time - start, _to_image(frame, size))
        index += 1


def _decode_some(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    n_frames: int,
    notes: list[str],
    max_duration: float,
) -> Iterator[Frame]:
    """Yield the frames shown at the centres of `n_frames` segments of equal duration.

    Reading the packets without decoding them costs little, and tells exactly which frames there
    are and where one may start decoding; headers are often silent on it, or wrong.
    """
    times, keys = _read_timeline(container, stream, notes, max_duration)
    if not times:
        return
    ends = times[-1] + (times[-1] - times[0]) / max(len(times) - 1, 1)
    centres = times[0] + (np.arange(n_frames) + 0.5) * (ends - times[0]) / n_frames
    targets = [max(bisect_right(times, centre) - 1, 0) for centre in centres]

    decoder = _Decoder(container, stream, times, keys)
    size: tuple[int, int] | None = None
    for n_found, target in enumerate(targets):
        try:
            frame = decoder.frame_at(target)
        except (av.FFmpegError, ValueError, OSError) as error:
            notes.append(f"the video breaks off near frame {target} of {len(times)}: {error}.")
            return
        if frame is None:
            notes.append(f"{n_found} of {n_frames} frames could be read; the video breaks off.")
            return
        size = size or (frame.width, frame.height)
        seconds = (times[target] - times[0]) * _tick(stream)
        yield Frame(target, seconds, _to_image(frame, size))


def _read_timeline(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    notes: list[str],
    max_duration: float,
) -> tuple[list[int], list[int]]:
    """Return the frames' times, in order, and those among them where decoding may start.

    Where packets carry no times (raw streams, some AVI files) their order stands for the time, and
    decoding starts at the first.
    """
    times: list[int | None] = []
    keys: list[int | None] = []
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:
                continue
            times.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
            if packet.pts is not None and times[0] is not None:
                _check_duration((packet.pts - times[0]) * _tick(stream), max_duration)
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, MediaLimitError):
            raise
        notes.append(f"the video breaks off after {len(times)} frames: {error}.")
    known = sorted({time for time in times if time is not None})
    if len(known) == len(times):
        return known, sorted({key for key in keys if key is not None})
    return list(range(len(times))), []


def _tick(stream: av.VideoStream) -> float:
    """Return the unit of the stream's times, in seconds."""
    return float(stream.time_base or 1)


class _Decoder:
    """Decodes single frames in rising order, seeking where that skips work."""

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        times: list[int],
        keys: list[int],
    ) -> None:
        self._container, self._stream = container, stream
        self._times, self._keys = times, keys
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._current: av.VideoFrame | None = None
        self._now = -1

    def frame_at(self, target: int) -> av.VideoFrame | None:
        """Return frame number `target`, or None if the stream ends before it."""
        if not self._keys:
            return self._step_by_count(target)
        time = self._times[target]
        place = max(bisect_right(self._keys, time) - 1, 0)
        if self._current is None or self._now < self._keys[place]:
            # Some containers (MPEG-PS) land one key frame late: then ask for an earlier one.
            before_start = self._times[0] - int(1 / _tick(self._stream))
            earlier = self._keys[place - 1] if place > 0 else before_start
            for key in (self._keys[place], earlier, before_start):
                self._seek(key)
                if self._current is not None and self._now <= time:
                    break
        while self._current is not None and self._now < time:
            self._step()
        return self._current

    def _seek(self, time: int) -> None:
        self._container.seek(time, stream=self._stream)
        self._frames = self._container.decode(self._stream)
        self._step()

    def _step(self) -> None:
        """Go on to the next frame that has a time."""
        for frame in self._frames:
            if frame.pts is not None:
                self._current, self._now = frame, frame.pts
                return
        self._current = None

    def _step_by_count(self, target: int) -> av.VideoFrame | None:
        if self._now < 0:
            self._container.seek(0)
            self._frames = self._container.decode(self._stream)
        while self._now < target:
            self._current = next(self._frames, None)
            if self._current is None:
                return None
            self._now += 1
        return self._current


def _to_image(frame: av.VideoFrame, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the frame as upright RGB, at the size (width, height) of the first one."""
    image = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
    quarter_turns = round(frame.rotation / 90)
    return np.ascontiguousarray(np.rot90(image, quarter_turns))
