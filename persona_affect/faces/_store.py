"""Aligned faces on disk: written once, found by content, read through memory maps."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from .._files import atomic_write
from .._mapping import map_bytes, read_array
from ..exceptions import FaceStoreError
from ._face_clip import FaceClip

#: Format of the files; each format has its own folder.
_FORMAT = 3
#: A file of faces is closed at this size, and a new one is started.
_SHARD_BYTES = 2**30


#: A key, the frames (n, height, width, 3), and remarks that are repeated when they are read.
Entry = tuple[str, npt.NDArray[np.uint8], list[str]]


@dataclass(frozen=True, slots=True)
class _Place:
    """Position of a sample's faces: file, first frame, number of frames; and their CRC-32.

    `starts` are those of a `FaceClip`.
    """

    shard: str
    first: int
    n_frames: int
    checksum: int
    starts: tuple[int, ...]
    remarks: tuple[str, ...]


class FaceStore:
    """Stores aligned faces of samples, by a key of the sample's content.

    For each choice of settings there is a folder with files of pixels (``.faces``) that only grow,
    each with an index (``.jsonl``). A file has only one writer, so that processes that share a
    folder need no locks; a sample that two of them align at the same time is stored twice, which
    only takes space. A line of the index is written after its pixels are on disk: an interruption
    leaves pixels without a line, which are never read.

    Parameters
    ----------
    folder : path-like
        Created if it does not exist.
    settings : mapping
        Everything besides the sample that decides the pixels, as values that JSON can hold.
    size : tuple of (height, width)
        Size of the aligned faces.

    Raises
    ------
    FaceStoreError
        If the folder cannot be used.
    """

    def __init__(
        self, folder: str | PathLike[str], settings: Mapping[str, Any], size: tuple[int, int]
    ) -> None:
        manifest = {"format": _FORMAT, "size": list(size), "settings": dict(settings)}
        text = json.dumps(manifest, indent=1, sort_keys=True)
        self.size = size
        self.folder = Path(folder) / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._places: dict[str, _Place] = {}
        self._maps: dict[str, npt.NDArray[np.uint8]] = {}
        self._writer: _Shard | None = None
        self._n_read: dict[str, int] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / "manifest.json"
            if not path.exists():
                with atomic_write(path) as draft:
                    draft.write_text(text)
            found = path.read_text()
            self.refresh()
        except (OSError, ValueError) as error:
            raise FaceStoreError(
                f"cache={os.fspath(folder)!r} cannot hold aligned faces: {error}. Name a folder "
                "that you can write to."
            ) from error
        if found != text:
            raise self._altered(path)

    def refresh(self) -> None:
        """Read what other processes have stored since the last time.

        Raises
        ------
        FaceStoreError
            If an index was altered.
        """
        for index in sorted(self.folder.glob("*.jsonl")):
            with index.open("rb") as file:
                file.seek(self._n_read.get(index.name, 0))
                # A line without an end is being written, or its writer was stopped.
                lines, end, _ = file.read().rpartition(b"\n")
            self._n_read[index.name] = self._n_read.get(index.name, 0) + len(lines) + len(end)
            try:
                self._places.update(_read_index(index, lines.splitlines(), self.size))
            except _AlteredError as error:
                raise self._altered(index) from error

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, entries: Sequence[Entry]) -> None:
        """Write samples; when this returns, they are on disk.

        Raises
        ------
        FaceStoreError
            If they cannot be written; earlier faces are kept.
        """
        if not entries:
            return
        try:
            if self._writer is None or self._writer.n_bytes > _SHARD_BYTES:
                self.close()
                self._writer = _Shard(self.folder, self.size)
            self._places.update(self._writer.append(entries))
        except OSError as error:
            # Pixels of the failed writes have no line; nothing may be written after them.
            with suppress(OSError):
                self.close()
            raise FaceStoreError(
                f"{self.folder} cannot be written to: {error}. Faces stored before are kept; make "
                "space, and the same call continues from them."
            ) from error

    def get(self, key: str) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
        """Return the face clip (n_frames, height, width, 3), read-only and mapped, and remarks.

        Raises
        ------
        FaceStoreError
            If its pixels are not the ones that were written.
        """
        place = self._places[key]
        if place.n_frames == 0:
            return np.empty((0, *self.size, 3), np.uint8), place.remarks
        path, end = self.folder / f"{place.shard}.faces", place.first + place.n_frames
        if len(self._maps.get(place.shard, ())) < end:
            try:
                content = map_bytes(path)
            except OSError as error:
                raise self._altered(path) from error
            n_frames = len(content) // _frame_bytes(self.size)
            frames = content[: n_frames * _frame_bytes(self.size)]
            self._maps[place.shard] = frames.reshape(n_frames, *self.size, 3)
        faces = self._maps[place.shard][place.first : end]
        if len(faces) != place.n_frames or zlib.crc32(read_array(faces).data) != place.checksum:
            raise self._altered(path)
        return FaceClip(faces, place.starts) if len(place.starts) > 1 else faces, place.remarks

    def describe(self, key: str) -> tuple[int, list[str]]:
        """Return how many frames a sample has, and its remarks."""
        return self._places[key].n_frames, list(self._places[key].remarks)

    def close(self) -> None:
        """Close the files that are open for writing."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _altered(self, path: Path) -> FaceStoreError:
        return FaceStoreError(
            f"{path} was altered or damaged: remove {self.folder}, and its faces are aligned again."
        )


class _Shard:
    """A file of pixels and its index, with one writer."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.name = uuid.uuid4().hex
        self.frame_bytes = _frame_bytes(size)
        self.n_bytes = 0
        self.pixels: BinaryIO = (folder / f"{self.name}.faces").open("xb")
        self.index: BinaryIO = (folder / f"{self.name}.jsonl").open("xb")

    def append(self, entries: Iterable[Entry]) -> dict[str, _Place]:
        places: dict[str, _Place] = {}
        for key, frames, remarks in entries:
            first, checksum = self.n_bytes // self.frame_bytes, 0
            for frame in frames:
                pixels = np.ascontiguousarray(frame).data
                checksum = zlib.crc32(pixels, checksum)
                self.pixels.write(pixels)
            self.n_bytes += len(frames) * self.frame_bytes
            starts = frames.starts if isinstance(frames, FaceClip) else (0,)
            place = _Place(self.name, first, len(frames), checksum, starts, tuple(remarks))
            places[key] = place
        _settle(self.pixels)
        lines = [
            [key, place.first, place.n_frames, place.checksum, place.starts, *place.remarks]
            for key, place in places.items()
        ]
        self.index.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        _settle(self.index)
        return places

    def close(self) -> None:
        try:
            self.pixels.close()
        finally:
            self.index.close()


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _frame_bytes(size: tuple[int, int]) -> int:
    return size[0] * size[1] * 3


class _AlteredError(ValueError):
    """An index contains something that this package does not write."""


def _read_index(
    index: Path, lines: Sequence[bytes], size: tuple[int, int]
) -> Iterator[tuple[str, _Place]]:
    """Yield the lines of an index whose pixels exist."""
    pixels = index.with_suffix(".faces")
    n_frames = pixels.stat().st_size // _frame_bytes(size) if pixels.exists() else 0
    for line in lines:
        try:
            key, first, n, checksum, starts, *remarks = json.loads(line)
            starts = tuple(starts)
        except (ValueError, TypeError) as error:
            raise _AlteredError from error
        if not (
            all(isinstance(text, str) for text in (key, *remarks))
            and all(type(number) is int and number >= 0 for number in (first, n, checksum, *starts))
            and list(starts) == sorted({0, *starts})
        ):
            raise _AlteredError
        if first + n <= n_frames:
            yield key, _Place(index.stem, first, n, checksum, starts, tuple(remarks))
