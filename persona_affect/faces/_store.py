"""Aligned faces on disk: written once, found by content, read through memory maps."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from .._files import atomic_write
from .._mapping import map_bytes, read_array
from ..exceptions import FaceStoreError
from ._face_clip import FaceClip
from ._store_check import Stamp, check_faces, is_checked, note_checked, stamp
from ._store_index import AlteredIndexError, Place, Places, format_line

#: Format of the files; each format has its own folder.
_FORMAT = 3
#: A file of faces is closed at this size, and a new one is started.
_SHARD_BYTES = 2**30


#: A key, the frames (n, height, width, 3), and remarks that are repeated when they are read.
Entry = tuple[str, npt.NDArray[np.uint8], list[str]]


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
        self._frame_bytes = _frame_bytes(size)
        self.folder = Path(folder) / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._places = Places()
        self._maps: dict[str, npt.NDArray[np.uint8]] = {}
        self._writer: _Shard | None = None
        self._n_read: dict[str, int] = {}
        self._stamps: dict[str, Stamp] = {}
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
                now, done = stamp(file.fileno()), self._n_read.get(index.name, 0)
                if done == 0:
                    self._stamps[index.stem] = now
                elif self._stamps.get(index.stem) != now:
                    # It was read in parts, and the first may have changed since.
                    self._stamps.pop(index.stem, None)
                file.seek(done)
                # A line without an end is being written, or its writer was stopped.
                lines, end, _ = file.read().rpartition(b"\n")
            self._n_read[index.name] = done + len(lines) + len(end)
            pixels = index.with_suffix(".faces")
            n_bytes = pixels.stat().st_size if pixels.exists() else 0
            try:
                self._places.read(index.stem, lines.splitlines(), n_bytes // self._frame_bytes)
            except AlteredIndexError as error:
                raise self._altered(index) from error

    def __contains__(self, key: str) -> bool:
        return key in self._places.rows

    def __len__(self) -> int:
        return len(self._places.rows)

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
            for key, place in self._writer.append(entries).items():
                self._places.add(key, place)
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
        place, row = self._places[key], self._places.rows[key]
        if place.n_frames == 0:
            return np.empty((0, *self.size, 3), np.uint8), place.remarks
        end = place.first + place.n_frames
        faces = self._map(place.shard, end)[place.first : end]
        if len(faces) == place.n_frames and not self._places.checked[row]:
            whole = read_array(faces)
            self._places.checked[row] = zlib.crc32(whole.data) == place.checksum
        if len(faces) != place.n_frames or not self._places.checked[row]:
            raise self._altered(self.folder / f"{place.shard}.faces")
        return FaceClip(faces, place.starts) if len(place.starts) > 1 else faces, place.remarks

    def check(self, keys: Iterable[str]) -> None:
        """Check the pixels of many samples in several threads, so that `get` need not.

        Files that did not change since all their faces were checked are not read; see
        `_store_check`.
        """
        places = self._places
        rows: dict[int, list[int]] = {}
        for key in keys:
            row = places.rows[key]
            if not places.checked[row]:
                rows.setdefault(places.shard[row], []).append(row)
        for shard, number in places.shards.items():
            if number in rows:
                of_shard = np.flatnonzero(np.asarray(places.shard) == number)
                self._check_file(shard, of_shard, rows[number])

    def _check_file(self, shard: str, rows: npt.NDArray[np.intp], wanted: list[int]) -> None:
        places = self._places
        pixels, index = (self.folder / f"{shard}.{kind}" for kind in ("faces", "jsonl"))
        note = pixels.with_suffix(".checked")
        try:
            stamps = stamp(pixels), stamp(index)
        except OSError as error:
            raise self._altered(pixels) from error
        # Lines that were changed or written after they were read are not these places.
        is_read = self._stamps.get(shard) == stamps[1]
        if is_read and is_checked(note, stamps):
            np.frombuffer(places.checked, np.uint8)[rows] = 1
            return
        unchecked = [row for row in rows.tolist() if not places.checked[row]]
        if len(wanted) * 2 >= len(unchecked):
            # Then it is worth while to check all, which can be noted.
            wanted = unchecked
        ends = [places.first[row] + places.n_frames[row] for row in wanted]
        check_faces(self._map(shard, max(ends)), places, wanted)
        all_checked = np.frombuffer(places.checked, np.uint8)[rows].all()
        if is_read and all_checked and stamps == (stamp(pixels), stamp(index)):
            note_checked(note, stamps)

    def _map(self, shard: str, n_frames: int) -> npt.NDArray[np.uint8]:
        """Return all frames of a file; it is mapped again if it has grown."""
        if len(self._maps.get(shard, ())) < n_frames:
            path = self.folder / f"{shard}.faces"
            try:
                content = map_bytes(path)
            except OSError as error:
                raise self._altered(path) from error
            n_mapped = len(content) // self._frame_bytes
            frames = content[: n_mapped * self._frame_bytes]
            self._maps[shard] = frames.reshape(n_mapped, *self.size, 3)
        return self._maps[shard]

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

    def append(self, entries: Iterable[Entry]) -> dict[str, Place]:
        places: dict[str, Place] = {}
        for key, frames, remarks in entries:
            first, checksum = self.n_bytes // self.frame_bytes, 0
            for frame in frames:
                pixels = np.ascontiguousarray(frame).data
                checksum = zlib.crc32(pixels, checksum)
                self.pixels.write(pixels)
            self.n_bytes += len(frames) * self.frame_bytes
            starts = frames.starts if isinstance(frames, FaceClip) else (0,)
            place = Place(self.name, first, len(frames), checksum, starts, tuple(remarks))
            places[key] = place
        _settle(self.pixels)
        lines = [format_line(key, place) for key, place in places.items()]
        self.index.write("".join(lines).encode())
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
