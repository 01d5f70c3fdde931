"""Video files read by FFmpeg: their properties, and their frames in order.

A file that is truncated or damaged gives the frames before the damage. The problem is appended to a
list of notes, so that a batch can warn once. A file that cannot be opened raises an error.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from ..exceptions import InvalidImageError, MediaLimitError, MediaReadError
from ._formats import SIGNATURE_SIZE, name_photo_format
from ._geometry import pixel_aspect
from ._packed import find_packed
from ._paths import check_file, reason
from ._photos import advise

#: Metadata that are no UTF-8 do not cost the video; PyAV needs no option for this from 19 on.
_METADATA: Final[dict[str, Any]] = (
    {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
)

# Containers that hold videos. FFmpeg knows more formats, some of which (playlists, scripts, text
# drawn as pictures) open other files, or accept any file as a video.
_CONTAINERS = (
    "asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,"
    "mpegvideo,mxf,nut,ogg,rm,wtv"
)

#: Frames whose times do not increase are put half a frame apart, at most this many seconds.
_SHORTEST: Final = 0.02

#: A time between two frames of more than this many usual ones is a gap.
_GAP: Final = 1.75

# Containers that support seeking by time, and codecs whose key frames depend on no frame before.
# In all others, seeking may find another frame or damaged ones, so that they are read in order.
_SEEKABLE_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
_SEEKABLE_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg"})


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrame:
    """A decoded frame.

    Attributes
    ----------
    index : int
        Position in the video.
    seconds : float
        From the first frame.
    picture : av.VideoFrame
    aspect : float
        Width of a pixel divided by its height.
    colours : tuple of two ints
        Primaries and transfer function, as ITU-T H.273 numbers them.
    """

    index: int
    seconds: float
    picture: av.VideoFrame
    aspect: float
    colours: tuple[int, int]


@dataclass(frozen=True)
class Timeline:
    """When the frames of a video are shown.

    Attributes
    ----------
    times : list of float
        Rising; in units of `tick`.
    tick : float
        Seconds.
    keys : list of int
        Those of the times at which decoding can start, if seeking is possible; empty if the video
        is read in order.
    """

    times: list[float]
    tick: float
    keys: list[int]


def read_timeline(source: Any, max_pixels: int, max_duration: float, notes: list[str]) -> Timeline:
    """Read the times of all frames from the packets, without decoding them.

    This is fast; headers often do not have the number of frames, or it is wrong. If packets have no
    times (raw streams, some AVI files), they are counted.
    """
    times: list[int | None] = []
    keys: list[int] = []
    with open_video(source, max_pixels, max_duration) as (container, stream):
        tick = float(stream.time_base or 1)
        for packet in _packets(container, stream, notes, whole=True):
            if packet.size == 0 or packet.is_discard:
                continue
            times.append(packet.pts)
            if packet.pts is not None:
                if packet.is_keyframe:
                    keys.append(packet.pts)
                if times[0] is not None:
                    _check_duration((packet.pts - times[0]) * tick, max_duration)
        searchable = (
            container.format.name in _SEEKABLE_CONTAINERS
            and stream.codec_context.codec.canonical_name in _SEEKABLE_CODECS
        )
        rate = _rate(stream)
    known = sorted({time for time in times if time is not None})
    if len(known) == len(times):
        # Where each frame is a key frame, none depends on one that is missing.
        searchable = searchable and (len(keys) == len(known) or not _has_gap(known))
        return Timeline(list(known), tick, sorted(keys) if searchable else [])
    return Timeline(list(range(len(times))), 1 / rate, [])


def _has_gap(times: list[int]) -> bool:
    """Return whether a frame seems to be missing: which others it costs, only decoding shows."""
    steps = np.diff(times)
    return len(steps) > 0 and bool(steps.max() > _GAP * np.median(steps))


def decode_all(
    source: Any, max_pixels: int, max_duration: float, notes: list[str]
) -> Iterator[DecodedFrame]:
    """Decode every frame, up to the end or the first damage; their times increase."""
    with open_video(source, max_pixels, max_duration) as (container, stream):
        aspect = pixel_aspect(stream)
        start, last = 0.0, -inf
        rate = _rate(stream)
        shortest = min(0.5 / rate, _SHORTEST)
        for index, frame in enumerate(decode_from(container, stream, notes, whole=True)):
            time = index / rate if frame.time is None else frame.time
            start = time if index == 0 else start
            _check_duration(time - start, max_duration)
            # Damaged files, and AVI files with B-frames, repeat times or go back.
            last = time - start if time - start > last else last + shortest
            yield DecodedFrame(index, last, frame, aspect, colours_of(stream))


def read_clock(source: Any, max_pixels: int) -> tuple[float, float]:
    """Read when the first frame is shown, in seconds of the file's clock, and frames a second."""
    with open_video(source, max_pixels, float("inf")) as (container, stream):
        first = next(decode_from(container, stream, []), None)
        start = 0.0 if first is None or first.time is None else first.time
        return start, _rate(stream)


def is_video(path: str | os.PathLike[str]) -> bool:
    """Return whether FFmpeg finds a video in a file; only the header is read."""
    try:
        with open_container(path) as container:
            return len(container.streams.video) > 0
    except (MediaReadError, OSError, av.FFmpegError):
        return False


@contextmanager
def open_container(source: Any) -> Iterator[av.container.InputContainer]:
    """Open a file of sound and pictures; nothing that it names is opened."""
    packed = find_packed(source) if isinstance(source, str | os.PathLike) else None
    if packed is not None:
        source = packed.read()
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
        container = av.open(file, options=options, **_METADATA)
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
def open_video(
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
        width = round(context.width * max(pixel_aspect(stream), 1))
        if width * context.height > max_pixels:
            raise MediaLimitError(
                f"the video's frames have {width} x {context.height} pixels, more than "
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
) -> Iterator[av.Packet[Any]]:
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


def decode_from(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    notes: list[str],
    *,
    whole: bool = False,
) -> Iterator[av.VideoFrame]:
    """Decode from the current position up to the first damage."""
    count = 0
    for packet in _packets(container, stream, notes, whole=whole):
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError, OSError) as error:
            frames = _remaining(stream)
            n_good = count + len(frames)
            notes.append(f"the video is damaged after {n_good} frames: {reason(error)}.")
            yield from frames
            return
        for frame in frames:
            if isinstance(frame, av.VideoFrame):
                count += 1
                yield frame


def _remaining(stream: av.VideoStream) -> list[av.VideoFrame]:
    """Return the frames that a decoder still holds when it finds damage."""
    try:
        return stream.codec_context.decode(None)
    except (av.FFmpegError, ValueError, OSError):
        return []


def _check_duration(seconds: float, max_duration: float) -> None:
    if seconds > max_duration:
        raise MediaLimitError(
            f"the video lasts {seconds:,.0f} s, more than max_duration={max_duration:,.0f} s."
        )


def colours_of(stream: av.VideoStream) -> tuple[int, int]:
    """Read the primaries and transfer function of a stream, as ITU-T H.273 numbers them."""
    context = stream.codec_context
    return int(context.color_primaries), int(context.color_trc)


def _rate(stream: av.VideoStream) -> float:
    """Return frames a second, as the header says."""
    return float(stream.average_rate or stream.base_rate or 25)
