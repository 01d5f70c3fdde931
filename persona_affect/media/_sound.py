"""Copying the sound of one clip to another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av

from ._decoding import open_container, read_clock
from ._paths import reason
from ._videos import MAX_FRAME_PIXELS

# Sample rates that AAC supports; other sound is resampled.
_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


class Sound:
    """The sound of a clip, which is written to an MP4 file step by step.

    AAC is copied packet by packet (about 20 ms each); other codecs are decoded and encoded.

    Parameters
    ----------
    clip : av.container.InputContainer
        With a sound stream.
    start : float
        Time of the clip's first frame, on the clock of its file.
    container : av.container.OutputContainer
        The file to write to, before anything is written.
    """

    def __init__(
        self,
        clip: av.container.InputContainer,
        start: float,
        container: av.container.OutputContainer,
    ) -> None:
        self.notes: list[str] = []
        self._clip, self._start, self._container = clip, start, container
        self._stream = clip.streams.audio[0]
        context = self._stream.codec_context
        self._copied = context.name == "aac" and bool(context.extradata)
        if self._copied:
            self._target = container.add_stream_from_template(self._stream)
        else:
            rate = context.sample_rate if context.sample_rate in _RATES else 48000
            layout = "mono" if context.channels == 1 else "stereo"
            self._target = container.add_stream("aac", rate=rate, layout=layout)
        self._pieces = self._copy() if self._copied else self._encode()
        self._next: tuple[float, list[av.Packet[Any]]] | None = next(self._pieces, None)

    def write_until(self, time: float) -> None:
        """Write what is heard before a time, in seconds from the first frame."""
        while self._next is not None and self._next[0] < time:
            self._container.mux(self._next[1])
            self._next = next(self._pieces, None)

    def close(self) -> None:
        """Write what the encoder still holds."""
        if not self._copied:
            self._container.mux(self._target.encode(None))

    def _copy(self) -> Iterator[tuple[float, list[av.Packet[Any]]]]:
        for packet in self._packets():
            if packet.pts is None or packet.time_base is None or packet.size == 0:
                continue
            packet.pts -= round(self._start / packet.time_base)
            packet.dts = packet.pts
            packet.stream = self._target
            # One packet before the start is kept: the decoder needs it, and players skip it.
            if packet.pts + 2 * (packet.duration or 0) > 0:
                yield float(packet.pts * packet.time_base), [packet]

    def _encode(self) -> Iterator[tuple[float, list[av.Packet[Any]]]]:
        context = self._target.codec_context
        resampler = av.AudioResampler(context.format, context.layout, context.rate)
        for packet in self._packets():
            try:
                decoded = self._stream.decode(packet)
                frames = [part for frame in decoded for part in resampler.resample(frame)]
            except (av.FFmpegError, ValueError) as error:
                self.notes.append(f"the sound is damaged and ends early: {reason(error)}.")
                return
            for frame in frames:
                if frame.pts is None or frame.time_base is None:
                    continue
                frame.pts -= round(self._start / frame.time_base)
                time = float(frame.pts * frame.time_base)
                if time + frame.samples / frame.sample_rate > 0:
                    yield time, self._target.encode(frame)

    def _packets(self) -> Iterator[av.Packet[Any]]:
        try:
            yield from self._clip.demux(self._stream)
        except (av.FFmpegError, OSError) as error:
            self.notes.append(f"the sound breaks off: {reason(error)}.")


@contextmanager
def open_sound(source: Any, container: av.container.OutputContainer) -> Iterator[Sound | None]:
    """Open a clip for its sound; None if it has none.

    Raises
    ------
    MediaReadError, MediaLimitError, InvalidImageError
        As for :func:`persona_affect.media.open_clip`.
    """
    with open_container(source) as clip:
        if not clip.streams.audio:
            yield None
            return
        start, _ = read_clock(source, MAX_FRAME_PIXELS)
        yield Sound(clip, start, container)
