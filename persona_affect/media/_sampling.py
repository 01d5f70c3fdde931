"""A few frames of a video, spread over it, decoding no more than that needs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from math import inf
from typing import Any, Final

import av
import numpy as np
from av.video.frame import PictureType

from ._decoding import (
    DecodedFrame,
    Timeline,
    colours_of,
    decode_all,
    decode_from,
    open_video,
    read_timeline,
)
from ._geometry import pixel_aspect

#: Pixels of frames that are held until it is known which are wanted.
_HELD_PIXELS: Final = 2**27


def decode_centres(
    source: Any, n_frames: int, max_pixels: int, max_duration: float, notes: list[str]
) -> Iterator[DecodedFrame]:
    """Decode the frames shown at the centres of `n_frames` segments of equal duration."""
    timeline = read_timeline(source, max_pixels, max_duration, notes)
    if not timeline.times:
        return
    if timeline.keys:
        yield from _decode_by_seeking(source, timeline, n_frames, max_pixels, notes)
    else:
        yield from _decode_in_order(source, timeline, n_frames, max_pixels, max_duration, notes)


def _find_centres(timeline: Timeline, n_frames: int) -> list[int]:
    """Return the index of the frame shown at the centre of each segment."""
    times = timeline.times
    # The last frame is shown as long as the others are on average.
    duration = (times[-1] - times[0]) * len(times) / max(len(times) - 1, 1)
    centres = times[0] + (np.arange(n_frames) + 0.5) * duration / n_frames
    # A little later, so that rounding does not miss a frame that begins right at a centre.
    later = 1e-9 / timeline.tick
    return [max(bisect_right(times, centre + later) - 1, 0) for centre in centres]


def _decode_in_order(
    source: Any,
    timeline: Timeline,
    n_frames: int,
    max_pixels: int,
    max_duration: float,
    notes: list[str],
) -> Iterator[DecodedFrame]:
    """Decode the whole video; once more if its packets have other times than its frames."""
    likely = set(_find_centres(timeline, n_frames))
    held: dict[int, DecodedFrame] = {}
    times = []
    # Both passes find the same damage.
    for frame in decode_all(source, max_pixels, max_duration, [] if notes else notes):
        times.append(frame.seconds)
        if len(likely) * frame.picture.width * frame.picture.height > _HELD_PIXELS:
            likely.clear()
            held.clear()
        elif frame.index in likely:
            held[frame.index] = frame
    if not times:
        return
    targets = _find_centres(Timeline(times, 1.0, []), n_frames)
    if held.keys() >= set(targets):
        yield from (held[target] for target in targets)
        return
    held.clear()
    for frame in decode_all(source, max_pixels, max_duration, []):
        yield from [frame] * targets.count(frame.index)
        if frame.index == targets[-1]:
            return


def _decode_by_seeking(
    source: Any, timeline: Timeline, n_frames: int, max_pixels: int, notes: list[str]
) -> Iterator[DecodedFrame]:
    targets = _find_centres(timeline, n_frames)
    times = [(timeline.times[i] - timeline.times[0]) * timeline.tick for i in targets]
    found = 0
    try:
        with open_video(source, max_pixels, inf) as (container, stream):
            seeker, aspect = _Seeker(container, stream, timeline, notes), pixel_aspect(stream)
            for target, seconds in zip(targets, times, strict=True):
                picture = seeker.frame_at(timeline.times[target])
                if picture is None:
                    if not notes:
                        notes.append(f"the video breaks off: {found} of {n_frames} frames found.")
                    return
                found += 1
                yield DecodedFrame(target, seconds, picture, aspect, colours_of(stream))
    except _NoKeyFrameError:
        if found == 0:
            yield from _decode_in_order(source, timeline, n_frames, max_pixels, inf, notes)
        else:
            yield from _frames_at(decode_all(source, max_pixels, inf, notes), times[found:])


def _frames_at(frames: Iterator[DecodedFrame], times: list[float]) -> Iterator[DecodedFrame]:
    """Yield the frame that is shown at each time."""
    shown: DecodedFrame | None = None
    place = 0
    for frame in frames:
        while shown is not None and place < len(times) and times[place] + 1e-9 < frame.seconds:
            yield shown
            place += 1
        if place == len(times):
            return
        shown = frame
    if shown is not None:
        yield from [shown] * (len(times) - place)


class _NoKeyFrameError(Exception):
    """Decoding started where the file claims a key frame, at a picture that needs others."""


class _Seeker:
    """Finds frames by their times, jumping to a key frame where one lies ahead."""

    def __init__(
        self,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        timeline: Timeline,
        notes: list[str],
    ) -> None:
        self._container, self._stream = container, stream
        self._timeline, self._notes = timeline, notes
        self._frames = decode_from(container, stream, notes)
        self._current: av.VideoFrame | None = None
        self._next: av.VideoFrame | None = None
        self._reached = self._due = -inf

    def frame_at(self, time: float) -> av.VideoFrame | None:
        """Return the frame that is shown at a time of the timeline; None if there is none left."""
        keys = self._timeline.keys
        place = bisect_right(keys, time) - 1
        if self._due == -inf:
            self._step()
            if self._due not in (self._timeline.times[0], inf):
                raise _NoKeyFrameError
            self._check_key()
        if place > 0 and self._due < keys[place]:
            # Should that land one key frame late, ask for an earlier one, and then for the first.
            second = int(1 / self._timeline.tick)
            for goal in (keys[place], keys[place - 1], int(self._timeline.times[0]) - second):
                self._container.seek(goal, stream=self._stream)
                self._frames = decode_from(self._container, self._stream, self._notes)
                self._current, self._next, self._due = None, None, -inf
                self._step()
                self._check_key()
                if self._due <= time:
                    break
        while self._due <= time:
            self._step()
        if self._due == inf and self._notes and self._reached < time:
            return None
        return self._current

    def _check_key(self) -> None:
        # x264's periodic refresh marks pictures as key frames that are none.
        if self._next is not None and self._next.pict_type != PictureType.I:
            raise _NoKeyFrameError

    def _step(self) -> None:
        """Go on to the next frame that has a time; one at infinity ends the video."""
        self._current, self._reached = self._next, self._due
        self._next, self._due = None, inf
        for frame in self._frames:
            if frame.pts is not None:
                self._next, self._due = frame, frame.pts
                return
