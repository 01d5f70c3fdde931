"""`persona-affect live`: annotate a camera while it runs."""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_affect.app._errors import error_console
from persona_affect.app._options import (
    EngineOption,
    MirrorOption,
    ModelOption,
    PrecisionOption,
    StreamDetectorOption,
    load_stream_model,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from persona_affect.annotation import Session

    Picture = NDArray[np.uint8]

#: Seconds over which latency and rate are averaged.
_WINDOW = 2.0
_TITLE = "persona-affect live"


def live(
    camera: Annotated[int, typer.Option(min=0, help="Number of the camera, from 0.")] = 0,
    model: ModelOption = None,
    detect_every: Annotated[
        int, typer.Option(min=1, help="Look for new faces in every k-th frame that is annotated.")
    ] = 5,
    smooth: Annotated[
        float,
        typer.Option(
            min=0.0, metavar="SECONDS", help="Time of smoothing along each track; 0 for none."
        ),
    ] = 0.3,
    detector: StreamDetectorOption = "yunet",
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    mirror: MirrorOption = False,
) -> None:
    """Annotate a camera in a window, live.

    The newest frame is always annotated: if prediction is slower than the camera, frames are
    dropped, not delayed. The window shows the age of the picture, the predictions a second, and
    the number of dropped frames. Press q or Esc to quit.

    [bold]Example[/]

      persona-affect live --camera 1 --smooth 0.5
    """
    from persona_affect.annotation import CAVEAT, FrameAnnotator, open_camera, target_ranges

    check_display()
    pipeline = load_stream_model(
        model, detector=detector, engine=engine, precision=precision, mirror=mirror
    )
    annotator = FrameAnnotator(
        pipeline, detect_every=detect_every, smooth=smooth or None, batch_size=1
    )
    session = annotator.session()
    error_console().print(f"{CAVEAT} Press q or Esc to quit.", style="dim")
    newest = NewestFrame()
    newest.read(open_camera(camera))
    try:
        annotate_live(newest, session, target_ranges(pipeline), _show)
    finally:
        newest.stop()


class NewestFrame:
    """Holds the newest frame of a stream; a frame that was not taken in time is dropped.

    Parameters
    ----------
    clock : callable, default=time.monotonic
        Seconds.

    Attributes
    ----------
    n_read, n_dropped : int
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.n_read = self.n_dropped = 0
        self._clock = clock
        self._changed = threading.Condition()
        self._held: tuple[float, Picture] | None = None
        self._ended = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def read(self, frames: "Iterator[Picture]") -> None:
        """Read a stream in its own thread, to its end or until `stop`."""

        def run() -> None:
            try:
                for image in frames:
                    self.put(image)
                    if self._ended:
                        break
            except Exception as error:
                # `take` raises it in the thread that waits for frames.
                self._error = error
            finally:
                close = getattr(frames, "close", None)
                if close is not None:
                    close()
                self.end()

        self._thread = threading.Thread(target=run, name="camera", daemon=True)
        self._thread.start()

    def put(self, image: "Picture") -> None:
        """Replace the stored frame."""
        with self._changed:
            self.n_read += 1
            self.n_dropped += self._held is not None
            self._held = self._clock(), image
            self._changed.notify_all()

    def end(self) -> None:
        """Mark the end of the stream."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def take(self) -> "tuple[float, Picture] | None":
        """Wait for a new frame, and return its time and image; None at the end of the stream.

        Raises
        ------
        Exception
            The error that ended the stream, if there was one.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._held is not None or self._ended)
            held, self._held = self._held, None
            if held is None and self._error is not None:
                raise self._error
            return held

    def stop(self) -> None:
        """Stop reading, and wait until the stream is closed."""
        self.end()
        if self._thread is not None:
            self._thread.join(timeout=5)


class Meter:
    """Latency and rate over the last two seconds."""

    def __init__(self) -> None:
        self._shown: deque[tuple[float, float]] = deque()

    def add(self, came: float, shown: float) -> None:
        """Add a frame, with the times when it came and when it was shown."""
        self._shown.append((came, shown))
        while self._shown[0][1] < shown - _WINDOW:
            self._shown.popleft()

    @property
    def latency(self) -> float:
        """Mean seconds between the arrival and the display of a frame; 0 before the first."""
        return sum(shown - came for came, shown in self._shown) / max(len(self._shown), 1)

    @property
    def rate(self) -> float:
        """Frames shown a second; 0 before the second."""
        span = self._shown[-1][1] - self._shown[0][1] if self._shown else 0.0
        return (len(self._shown) - 1) / span if span > 0 else 0.0


def annotate_live(
    newest: NewestFrame,
    session: "Session",
    ranges: dict[str, tuple[float, float]],
    show: "Callable[[Picture], bool]",
    clock: Callable[[], float] = time.monotonic,
) -> Meter:
    """Annotate the newest frames, until the stream ends or `show` returns False.

    Parameters
    ----------
    newest : NewestFrame
    session : Session
    ranges : dict
        As of :func:`persona_affect.annotation.target_ranges`.
    show : callable
        Takes an RGB picture, and returns whether to continue.
    clock : callable
        The one of `newest`.

    Returns
    -------
    Meter
    """
    from persona_affect.annotation import draw_faces
    from persona_affect.media import Frame

    meter = Meter()
    index = 0
    while (taken := newest.take()) is not None:
        came, image = taken
        (rows,) = session.annotate([Frame(index, came, image)])
        index += 1
        caption = (
            f"apparent impressions | {1000 * meter.latency:.0f} ms | {meter.rate:.1f} a second | "
            f"{newest.n_dropped} of {newest.n_read} frames dropped"
        )
        is_open = show(draw_faces(image, rows, ranges, caption=caption))
        meter.add(came, clock())
        if not is_open:
            break
    return meter


def check_display() -> None:
    """Check that a window can open; otherwise OpenCV's toolkit ends the whole process.

    Raises
    ------
    OSError
        If there is no display.
    """
    graphical = sys.platform != "linux" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not graphical:
        raise OSError(
            "there is no display to open a window on. Run this on a desktop, or use "
            "`persona-affect serve` and its page's webcam."
        )


def _show(picture: "Picture") -> bool:
    import cv2

    try:
        cv2.imshow(_TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        key: Any = cv2.waitKey(1) & 0xFF
        closed = cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1
    except cv2.error as error:
        raise OSError(
            f"OpenCV cannot open a window ({error}); was opencv-python-headless installed over it?"
        ) from error
    return not closed and key not in (27, ord("q"))
