"""Frames of a clip that are needed to show it at a fixed rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from ._videos import Frame, sample_frames

#: Frames this close to a time, as a share of the interval, are shown at that time.
_CLOSE: Final = 0.02


def sample_around_times(source: Any, rate: float, notes: list[str]) -> Iterator[Frame]:
    """Yield the frames on either side of each of the times 0, 1 / rate, 2 / rate, ... of a clip.

    A frame that is shown at such a time is enough for it. Frames between two times that are needed
    for neither are left out. Sources without times (arrays, image files) are taken to have `rate`.

    Parameters
    ----------
    source : object
        As for :func:`open_clip`.
    rate : float
        Frames a second.
    notes : list of str
        Problems are appended.

    Yields
    ------
    Frame
        Its time is never NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.media import sample_around_times
    >>> clip, notes = np.zeros((4, 8, 8, 3), np.uint8), []
    >>> [frame.time for frame in sample_around_times(clip, 25, notes)]
    [0.0, 0.04, 0.08, 0.12]
    """
    yield from _choose(_timed(sample_frames(source, None, notes), rate), rate)


def _timed(frames: Iterable[Frame], rate: float) -> Iterator[Frame]:
    for frame in frames:
        yield replace(frame, time=frame.index / rate) if math.isnan(frame.time) else frame


def _choose(frames: Iterable[Frame], rate: float) -> Iterator[Frame]:
    before: Frame | None = None
    is_used = False
    for frame in frames:
        place = frame.time * rate
        crosses = False
        if before is not None:
            crosses = math.floor(before.time * rate + _CLOSE) + 1 < place - _CLOSE
            if crosses and not is_used:
                yield before
        is_used = crosses or abs(place - round(place)) <= _CLOSE
        if is_used:
            yield frame
        before = frame
