"""Face clips that know where the face was lost, and faces at equal times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, SupportsIndex, cast

import numpy as np
import numpy.typing as npt

#: Frames further apart, in seconds, are not joined: the video has a gap of its own.
_LONGEST: Final = 0.2
#: Frames this close to a time, as a share of the interval, are taken as they are.
CLOSE: Final = 0.02


class FaceClip(np.ndarray):
    """A face clip with gaps: an array, and the frames at which its pieces start.

    Within a piece, each frame follows the one before. Between pieces, the face was lost, or the
    video has no frames. For everything that looks at single frames it is an ordinary face clip.
    Slices of frames keep their gaps; a selection of single frames is a plain array.

    Parameters
    ----------
    faces : ndarray of shape (n_frames, height, width, 3), uint8
        Aligned faces, in the order of time.
    starts : sequence of int
        Frames at which pieces start, increasing; the first is 0.

    Attributes
    ----------
    starts : tuple of int
        The first frame of each piece.

    Raises
    ------
    ValueError
        If `starts` does not increase from 0.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.faces import FaceClip
    >>> clip = FaceClip(np.zeros((5, 112, 96, 3), np.uint8), starts=(0, 3))
    >>> [len(piece) for piece in clip.pieces()], clip[2:].starts
    ([3, 2], (0, 1))
    """

    starts: tuple[int, ...]

    def __new__(cls, faces: npt.NDArray[np.uint8], starts: Sequence[int]) -> FaceClip:
        """Make a clip that shares the memory of `faces`."""
        if list(starts) != sorted({0, *starts}):
            raise ValueError(f"starts={starts!r} must increase from 0.")
        clip = np.asarray(faces).view(cls)
        clip.starts = tuple(int(start) for start in starts)
        return clip

    def __array_finalize__(self, source: Any) -> None:
        """Keep the pieces in copies and views of the same frames."""
        same = isinstance(source, FaceClip) and self.shape[:1] == source.shape[:1]
        self.starts = getattr(source, "starts", (0,)) if same else (0,)

    def __getitem__(self, key: Any) -> Any:
        """Select frames."""
        found = super().__getitem__(key)
        if isinstance(key, slice) and key.indices(len(self))[2] == 1:
            first, last, _ = key.indices(len(self))
            later = [start - first for start in self.starts if first < start < last]
            return FaceClip(found, (0, *later))
        return np.asarray(found) if isinstance(found, FaceClip) else found

    def __reduce__(self) -> tuple[Any, ...]:
        reduced = cast("tuple[Any, Any, tuple[Any, ...]]", super().__reduce__())
        rebuild, arguments, state = reduced
        return rebuild, arguments, (*state, self.starts)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return self.__reduce__()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        super().__setstate__(state[:-1])
        self.starts = state[-1]

    def pieces(self) -> list[npt.NDArray[np.uint8]]:
        """Return the pieces as plain arrays, without copying.

        Returns
        -------
        list of ndarray of shape (n_frames, height, width, 3), uint8
            Views of this clip.
        """
        return np.split(np.asarray(self), self.starts[1:])


def split_pieces(clip: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    """Split a face clip where the face was lost.

    Parameters
    ----------
    clip : ndarray of shape (n_frames, height, width, 3)
        A :class:`FaceClip`, or a plain array.

    Returns
    -------
    list of ndarray of shape (., height, width, 3)
        Its pieces; the clip alone if it is a plain array.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.faces import FaceClip, split_pieces
    >>> clip = FaceClip(np.zeros((5, 112, 96, 3), np.uint8), starts=(0, 3))
    >>> [len(piece) for piece in split_pieces(clip)]
    [3, 2]
    """
    return clip.pieces() if isinstance(clip, FaceClip) else [clip]


def join_faces(
    faces: Sequence[npt.NDArray[np.uint8]], numbers: Sequence[int], size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Stack aligned faces of all frames of a clip; a `FaceClip` if frames are missing between.

    Parameters
    ----------
    faces : sequence of ndarray of shape (height, width, 3), uint8
    numbers : sequence of int
        Numbers of their frames.
    size : tuple of (height, width)
        Of a clip without faces.
    """
    if not faces:
        return np.empty((0, *size, 3), np.uint8)
    starts = np.flatnonzero(np.diff(numbers) != 1) + 1
    clip = np.stack(faces)
    return FaceClip(clip, (0, *starts)) if len(starts) else clip


def resample_faces(
    faces: Sequence[npt.NDArray[np.uint8]],
    numbers: Sequence[int],
    times: Sequence[float],
    rate: float,
    size: tuple[int, int],
) -> npt.NDArray[np.uint8]:
    """Return faces at the times 0, 1 / rate, 2 / rate, ...: mixtures of the faces before and after.

    Aligned faces move by less than a pixel or two from frame to frame, so that their weighted mean
    is close to the face between. Nothing is mixed across a gap.

    Parameters
    ----------
    faces : sequence of ndarray of shape (height, width, 3), uint8
    numbers : sequence of int
        Numbers of their frames among those looked at: where one is missing, the face was lost.
    times : sequence of float
        Seconds, increasing.
    rate : float
        Frames a second.
    size : tuple of (height, width)
        Of a clip without faces.
    """
    pieces = []
    longest = longest_step(rate)
    at = np.asarray(times) * rate
    gaps = (np.diff(numbers) != 1) | (np.diff(at) > longest * rate)
    for part in np.split(np.arange(len(faces)), np.flatnonzero(gaps) + 1):
        if not len(part):
            continue
        wanted = np.arange(np.ceil(at[part[0]] - CLOSE), np.floor(at[part[-1]] + CLOSE) + 1)
        places = np.interp(wanted, at[part], part)
        if len(places):
            pieces.append(np.stack([_mix(faces, place) for place in places]))
    if not pieces:
        return np.empty((0, *size, 3), np.uint8)
    starts = np.cumsum([0, *map(len, pieces[:-1])])
    clip = np.concatenate(pieces)
    return FaceClip(clip, starts.tolist()) if len(pieces) > 1 else clip


def longest_step(rate: float) -> float:
    """Return the seconds between two faces, at `rate` a second, above which there is a gap."""
    return max(_LONGEST, 1.5 / rate)


def _mix(faces: Sequence[npt.NDArray[np.uint8]], place: float) -> npt.NDArray[np.uint8]:
    nearest = round(place)
    if abs(place - nearest) <= CLOSE:
        return faces[nearest]
    before = int(place)
    share = place - before
    mixed = (1 - share) * faces[before] + share * faces[before + 1]
    return np.asarray(np.rint(mixed), np.uint8)
