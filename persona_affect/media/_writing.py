"""Writing videos frame by frame, as H.264 in MP4, which browsers can play."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace

from .._files import atomic_write, check_output
from .._warnings import warn_user
from ..exceptions import InvalidImageError, MediaWarning, MediaWriteError, OutputPathError
from ._paths import reason
from ._sound import Sound, open_sound

#: Unit of time: fine enough for every usual frame rate.
_TICK = Fraction(1, 90000)
#: In FFmpeg's tables, the colours of high definition (ITU-R BT.709).
_BT709 = 1


class VideoWriter:
    """Write a video frame by frame, in constant memory: H.264 (yuv420p, BT.709) in MP4.

    The index is at the beginning of the file, so that it plays while it loads. The file appears
    when it is complete; if the block ends with an error, no file is left.

    Parameters
    ----------
    path : path-like
        The file to make or replace; it ends in ``.mp4``.
    rate : float
        Frames a second: the time of frames without one, and how long the last is shown.
    size : tuple of two ints
        Width and height in pixels. H.264 needs even numbers: an odd side gets one more pixel, a
        copy of its last.
    audio_from : path or bytes, optional
        A clip whose sound is added, in sync with its first frame, up to the end of the last
        written frame. AAC is copied packet by packet; other sound is encoded as AAC.
    quality : int, default=20
        x264's constant rate factor: 18 looks like the original; 6 more halve the file size.

    Raises
    ------
    MediaWriteError
        If the file cannot be written, or is `audio_from`; also at the end of a block without a
        frame.
    MediaReadError, MediaLimitError
        If `audio_from` cannot be read, on entering the block.
    ValueError
        If `rate` is not positive.

    Warns
    -----
    MediaWarning
        If the sound is damaged, and ends before the frames do.

    See Also
    --------
    iter_frames : Its inverse.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from pathlib import Path
    >>> from persona_affect.media import VideoWriter, iter_frames
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "grey.mp4")
    ...     with VideoWriter(path, rate=25, size=(64, 48)) as video:
    ...         for time in (0.0, 0.04, 0.5):  # any rising times
    ...             video.write(np.full((48, 64, 3), 128, dtype=np.uint8), time)
    ...     [round(frame.time, 3) for frame in iter_frames(path)]
    [0.0, 0.04, 0.5]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        rate: float,
        size: tuple[int, int],
        audio_from: Any = None,
        quality: int = 20,
    ) -> None:
        try:
            self.path = check_output(path, inputs=(audio_from,), suffixes=(".mp4",))
        except OutputPathError as error:
            raise MediaWriteError(str(error)) from error
        if not rate > 0:
            raise ValueError(f"rate={rate!r} must be positive: frames a second.")
        self.rate = rate
        self.size = size
        self.audio_from = audio_from
        self.quality = quality
        self._sound: Sound | None = None
        self._last = -1

    def __enter__(self) -> Self:
        """Open the file."""
        with ExitStack() as stack:
            draft = stack.enter_context(atomic_write(self.path))
            stack.enter_context(self._named())
            options = {"movflags": "faststart"}
            file = av.open(f"file:{draft}", "w", format="mp4", options=options)
            self._container = stack.enter_context(file)
            # No B-frames: with them, MP4 loses the duration of the last frames if the frame rate is
            # variable.
            speed = {"preset": "veryfast", "bf": "0", "crf": str(self.quality)}
            self._stream = self._container.add_stream("libx264", options=speed)
            context = self._stream.codec_context
            context.width, context.height = (side + side % 2 for side in self.size)
            context.pix_fmt = "yuv420p"
            context.framerate = Fraction(self.rate).limit_denominator(1001)
            context.time_base = _TICK
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = ColorRange.MPEG
            if self.audio_from is not None:
                self._sound = stack.enter_context(open_sound(self.audio_from, self._container))
            stack.push(self._finish)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file, or remove it if there was an error."""
        self._stack.__exit__(kind, error, trace)

    def write(self, image: npt.NDArray[np.uint8], time: float | None = None) -> None:
        """Write the next frame.

        Parameters
        ----------
        image : ndarray of uint8, shape (height, width, 3)
            RGB.
        time : float, optional
            Seconds from the start at which it is shown; by default 1 / `rate` after the frame
            before. One that is not later than the frame before is shown 1/90000 s after it.

        Raises
        ------
        InvalidImageError
            If the image has another size or type.
        """
        width, height = self.size
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise InvalidImageError(
                f"a frame of {self.path} is a uint8 array {(height, width, 3)}, not {image.dtype} "
                f"{image.shape}."
            )
        if time is None:
            time = 0.0 if self._last < 0 else float(self._last * _TICK) + 1 / self.rate
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        self._last = max(round(time / _TICK), self._last + 1)
        frame.pts, frame.time_base = self._last, _TICK
        with self._named():
            self._mux(frame)
            if self._sound is not None:
                # In turns with the pictures: otherwise the container would buffer them.
                self._sound.write_until(float(self._last * _TICK))

    def _mux(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            # Only the duration of the last frame matters; the others last until the next frame.
            packet.duration = round(1 / self.rate / _TICK)
            self._container.mux(packet)

    def _finish(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            return
        if self._last < 0:
            raise MediaWriteError(f"{self.path}: there was no frame to write.")
        self._mux(None)
        if self._sound is not None:
            self._sound.write_until(float(self._last * _TICK) + 1 / self.rate)
            self._sound.close()
            for note in self._sound.notes:
                warn_user(f"{self.path}: {note}", MediaWarning)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except av.FFmpegError as error:
            raise MediaWriteError(f"{self.path} cannot be written: {reason(error)}.") from error
