"""Where the faces of a store lie: the lines of its indexes, in columns."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: Lines of an index that are parsed together.
_LINES: Final = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a sample's faces: file, first frame, number of frames; and their CRC-32.

    `starts` are those of a `FaceClip`.
    """

    shard: str
    first: int
    n_frames: int
    checksum: int
    starts: tuple[int, ...] = (0,)
    remarks: tuple[str, ...] = ()


class AlteredIndexError(ValueError):
    """An index contains something that this package does not write."""


class Places:
    """The places of samples by their keys, in columns: some 250 bytes a sample, key included.

    Attributes
    ----------
    rows : dict of str to int
        By key, the row of a sample.
    shards : dict of str to int
        Names of files, and their numbers.
    shard, first, n_frames, checksum : array.array
        By row, the number of the file, and the fields of `Place`.
    checked : bytearray
        By row, whether the pixels are known to be those of the checksum; there may be none.
    """

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.shards: dict[str, int] = {}
        self.shard, self.first = array("i"), array("q")
        self.n_frames, self.checksum = array("q"), array("q")
        self.checked = bytearray()
        self._names: list[str] = []
        self._extras: dict[int, tuple[tuple[int, ...], tuple[str, ...]]] = {}

    def __getitem__(self, key: str) -> Place:
        row = self.rows[key]
        starts, remarks = self._extras.get(row, ((0,), ()))
        name, first = self._names[self.shard[row]], self.first[row]
        return Place(name, first, self.n_frames[row], self.checksum[row], starts, remarks)

    def add(self, key: str, place: Place) -> None:
        """Add a sample, or replace it."""
        self._append(key, self._number(place.shard), place.first, place.n_frames, place.checksum)
        if len(place.starts) > 1 or place.remarks:
            self._extras[self.rows[key]] = (place.starts, place.remarks)

    def read(self, shard: str, lines: Sequence[bytes], n_frames: int) -> None:
        """Add the lines of an index whose pixels exist.

        Parameters
        ----------
        shard : str
            Name of the file of pixels.
        lines : sequence of bytes
            As `format_line` makes them.
        n_frames : int
            Frames in that file.

        Raises
        ------
        AlteredIndexError
            If a line is not such a line.
        """
        number = self._number(shard)
        try:
            for key, first, n, checksum, starts, *remarks in _parse(lines):
                if (
                    not type(first) is type(n) is type(checksum) is int
                    or min(first, n, checksum) < 0
                ):
                    raise AlteredIndexError
                if type(key) is not str:
                    raise AlteredIndexError
                if starts != [0] or remarks:
                    _check_extras(starts, remarks)
                    if first + n <= n_frames:
                        self.add(
                            key, Place(shard, first, n, checksum, tuple(starts), tuple(remarks))
                        )
                elif first + n <= n_frames:
                    self._append(key, number, first, n, checksum)
        except (TypeError, ValueError, OverflowError) as error:
            raise AlteredIndexError from error

    def _number(self, shard: str) -> int:
        if shard not in self.shards:
            self.shards[shard] = len(self._names)
            self._names.append(shard)
        return self.shards[shard]

    def _append(self, key: str, number: int, first: int, n_frames: int, checksum: int) -> None:
        self.rows[key] = len(self.checked)
        self.shard.append(number)
        self.first.append(first)
        self.n_frames.append(n_frames)
        self.checksum.append(checksum)
        self.checked.append(n_frames == 0)


def format_line(key: str, place: Place) -> str:
    """Return the line of an index."""
    values = [key, place.first, place.n_frames, place.checksum, place.starts, *place.remarks]
    return json.dumps(values) + "\n"


def _parse(lines: Sequence[bytes]) -> Iterator[Any]:
    """Parse many lines at once: a call for each takes most of the time otherwise."""
    for start in range(0, len(lines), _LINES):
        some = lines[start : start + _LINES]
        try:
            values = json.loads(b"[" + b",".join(some) + b"]")
        except ValueError as error:
            raise AlteredIndexError from error
        if len(values) != len(some):
            raise AlteredIndexError
        yield from values


def _check_extras(starts: Any, remarks: list[Any]) -> None:
    if not (
        all(type(start) is int for start in starts)
        and list(starts) == sorted({0, *starts})
        and all(isinstance(text, str) for text in remarks)
    ):
        raise AlteredIndexError
