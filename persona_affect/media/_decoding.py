"""Video files through FFmpeg: what is in them, and their frames in order.

A file that breaks off, or is damaged on the way, gives the frames before: what happened is appended
to a list of notes, so that a batch can warn once. What cannot be opened at all raises.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from ..exceptions import InvalidImageError, MediaLimitError, MediaReadError
from ._formats import SIGNATURE_SIZE, name_photo_format
from ._photos import advise, check_file, reason

# Containers that hold videos. FFmpeg knows more formats, some of which (playlists, scripts, text
# drawn as pictures) open other files or take anything for a video.
_CONTAINERS = (
    "asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,"
    "mpegvideo,mxf,nut,ogg,rm,wtv"
)

# Containers without an index: after a jump, frames come with the times of their neighbours.
_INEXACT = frozenset({"mpeg", "mpegts"})

#: Index, seconds from the first frame, frame.
TimedFrame = tuple[int, float, av.VideoFrame]


@dataclass(frozen=True)
class Timeline:
    """The frames of a video, read from its packets without decoding them.

    Attributes
    ----------
    times : list of int
        When each frame is shown, rising, in the stream's unit; their numbers where `timed` is
        false, because the packets carry no times (raw streams, some AVI files).
    keys : list of int
        Those of the times at which decoding may start.
    timed : bool
    """

    times: list[int]
    keys: list[int]
    timed: bool


def read_timeline(source: Any, max_pixels: int, max_duration: float, notes: list[str]) -> Timeline:
    """Read which frames there are, which costs little; headers are often silent on it, or wrong."""
    times: list[int | None] = []
    keys: list[int | None] = []
    with _open_video(source, max_pixels, max_duration) as (container, stream):
        for packet in _packets(container, stream, notes, whole=True):
            if packet.size == 0 or packet.is_discard:
                continue
            times.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
            if packet.pts is not None and times[0] is not None:
                _check_duration((packet.pts - times[0]) * _tick(stream), max_duration)
    known = sorted({time for time in times if time is not None})
    if len(known) == len(times):
        return Timeline(known, sorted({key for key in keys if key is not None}), timed=True)
    return Timeline(list(range(len(times))), [], timed=False)


def decode_all(
    source: Any, max_pixels: int, max_duration: float, notes: list[str]
) -> Iterator[TimedFrame]:
    """Decode every frame, up to the end or to the first damage."""
    with _open_video(source, max_pixels, max_duration) as (container, stream):
        rate = float(stream.average_rate or stream.base_rate or 25)
        start: float | None = None
        for index, frame in enumerate(_frames(container, stream, notes, whole=True)):
            time = index / rate if frame.time is None else frame.time
            start = time if start is None else start
            _check_duration(time - start, max_duration)
            yield index, time - start, frame


def read_clock(source: Any, max_pixels: int) -> tuple[float, float]:
    """Read when the first frame is shown, in seconds of the file's clock, and frames a second."""
    with _open_video(source, max_pixels, float("inf")) as (container, stream):
        first = next(_frames(container, stream, []), None)
        start = 0.0 if first is None or first.time is None else first.time
        return start, float(stream.average_rate or stream.base_rate or 25)


def decode_at(
    source: Any, timeline: Timeline, targets: list[int], max_pixels: int, notes: list[str]
) -> Iterator[TimedFrame]:
    """Decode the frames of the given numbers, which rise, seeking where that skips work."""
    with _open_video(source, max_pixels, float("inf")) as (container, stream):
        exact = timeline.timed and container.format.name not in _INEXACT
        reader = (_Seeker if exact else _Counter)(container, stream, timeline, notes)
        unit = _tick(stream) if timeline.timed else 1 / float(stream.average_rate or 25)
        for place, target in enumerate(targets):
            frame = reader.frame_at(target)
            if frame is None:
                if not notes:
                    notes.append(f"the video breaks off: {place} of {len(targets)} frames found.")
                return
            yield target, (timeline.times[target] - timeline.times[0]) * unit, frame


class _Counter:
    """Walks through the frames and counts them."""

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        timeline: Timeline,
        notes: list[str],
    ) -> None:
        self._container, self._stream = container, stream
        self._timeline, self._notes = timeline, notes
        self._frames = _frames(container, stream, notes)
        self._current: av.VideoFrame | None = None
        self._now = -1

    def frame_at(self, target: int) -> av.VideoFrame | None:
        """Return frame number `target`, or None if the video ends before it."""
        while self._now < target:
            self._current = next(self._frames, None)
            if self._current is None:
                return None
            self._now += 1
        return self._current


class _Seeker(_Counter):
    """Finds frames by their times, jumping to a key frame where one lies ahead."""

    def frame_at(self, target: int) -> av.VideoFrame | None:
        """Return frame number `target`, or None if the video ends before it."""
        times, keys = self._timeline.times, self._timeline.keys
        time = times[target]
        place = bisect_right(keys, time) - 1
        fresh = self._current is None
        if place > 0 and (fresh or self._now < keys[place]):
            # Should that land one key frame late, ask for an earlier one.
            second = int(1 / _tick(self._stream))
            for goal in (keys[place], keys[place - 1], times[0] - second):
                self._container.seek(goal, stream=self._stream)
                self._frames = _frames(self._container, self._stream, self._notes)
                self._step()
                if self._current is None or self._now <= time:
                    break
        elif fresh:
            self._step()
        while self._current is not None and self._now < time:
            self._step()
        return self._current

    def _step(self) -> None:
        """Go on to the next frame that has a time."""
        self._current = next((frame for frame in self._frames if frame.pts is not None), None)
        if self._current is not None and self._current.pts is not None:
            self._now = self._current.pts


def is_video(path: str | os.PathLike[str]) -> bool:
    """Tell whether FFmpeg finds a video in a file, of which the header is read."""
    try:
        with open_container(path) as container:
            return len(container.streams.video) > 0
    except (MediaReadError, OSError, av.FFmpegError):
        return False


@contextmanager
def open_container(source: Any) -> Iterator[av.container.InputContainer]:
    """Open a file of sound and pictures; nothing that it names is opened."""
    if isinstance(source, bytes | bytearray | memoryview):
        if len(source) == 0:
            raise MediaReadError("the video is empty: 0 bytes.")
        file: Any = io.BytesIO(source)
        head = bytes(source[:SIGNATURE_SIZE])
    elif isinstance(source, str | os.PathLike):
        path = check_file(source)
        file = f"file:{path}"
        head = _read_head(path)
    else:
        raise InvalidImageError(
            f"cannot read a clip from {type(source).__name__}: {advise(source)}"
        )
    photo = name_photo_format(head)
    if photo not in (None, "GIF"):
        # FFmpeg would show a tile of it.
        raise MediaReadError(f"it is not a clip, but a photo ({photo}).")
    options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
    try:
        container = av.open(file, options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaReadError(f"it is not a video that FFmpeg reads: {reason(error)}.") from error
    with container:
        yield container


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SIGNATURE_SIZE)
    except OSError as error:
        raise MediaReadError(f"the file cannot be read: {reason(error)}.") from error


@contextmanager
def _open_video(
    source: Any, max_pixels: int, max_duration: float
) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a file, and take a look at what its header promises before anything is decoded."""
    with open_container(source) as container:
        # Cover art of music files is stored as a video stream of one picture.
        streams = [
            stream
            for stream in container.streams.video
            if not stream.disposition & stream.disposition.attached_pic
        ]
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
        yield container, stream


def _packets(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    notes: list[str],
    *,
    whole: bool,
) -> Iterator[av.Packet]:
    """Read packets, and note where a `whole` file has fewer than its header promises."""
    count = 0
    try:
        for packet in container.demux(stream):
            count += packet.size > 0
            yield packet
    except (av.FFmpegError, OSError) as error:
        notes.append(f"the video breaks off after {count} frames: {reason(error)}.")
        return
    if whole and count < stream.frames:
        notes.append(f"the video breaks off after {count} of {stream.frames} frames.")


def _frames(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    notes: list[str],
    *,
    whole: bool = False,
) -> Iterator[av.VideoFrame]:
    """Decode from here on, up to the first damage."""
    count = 0
    for packet in _packets(container, stream, notes, whole=whole):
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError, OSError) as error:
            notes.append(f"the video is damaged after {count} frames: {reason(error)}.")
            return
        for frame in frames:
            if isinstance(frame, av.VideoFrame):
                count += 1
                yield frame


def _check_duration(seconds: float, max_duration: float) -> None:
    if seconds > max_duration:
        raise MediaLimitError(
            f"the video lasts {seconds:,.0f} s, more than max_duration={max_duration:,.0f} s."
        )


def _tick(stream: av.VideoStream) -> float:
    """Return the unit of the stream's times, in seconds."""
    return float(stream.time_base or 1)
