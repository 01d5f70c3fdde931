"""Aligned faces on disk: written once, found by content, read through memory maps."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm.auto import tqdm

from .._files import atomic_write
from .._mapping import map_bytes
from ..exceptions import FaceStoreError, PersonaAffectError
from ..media import FrameSequence, is_clip, open_photo, segment_centres

#: Of the files' form; another form is another folder.
_FORMAT = 1
#: A file of faces is closed at this size and a new one begun.
_SHARD_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the faces of a sample lie: which file, from which frame, how many."""

    shard: str
    first: int
    n_frames: int
    remarks: tuple[str, ...]


class FaceStore:
    """Aligned faces of samples, by a key of the sample's content.

    A folder holds, for each choice of settings, files of pixels (``.faces``) that only grow, each
    beside a list of what lies where (``.jsonl``). A file has one writer, ever, so processes that
    share a folder need no locks; a sample that two of them align at once is there twice, which
    costs space alone. A line is written after its pixels are on disk: whatever is cut short leaves
    pixels without a line, which nobody reads.

    Parameters
    ----------
    folder : path-like
        Made if need be.
    settings : mapping
        All that decides the pixels, besides the sample: what JSON knows.
    size : tuple of (height, width)
        Of the aligned faces.

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
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / "manifest.json"
            if not path.exists():
                with atomic_write(path) as draft:
                    draft.write_text(text)
            found = path.read_text()
            for index in sorted(self.folder.glob("*.jsonl")):
                self._places.update(_read_index(index, self.size))
        except (OSError, ValueError) as error:
            raise FaceStoreError(
                f"cache={os.fspath(folder)!r} cannot hold aligned faces: {error}. Name a folder "
                "that you can write to."
            ) from error
        if found != text:
            raise FaceStoreError(f"{path} was altered; remove {self.folder}, and it is made anew.")

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(
        self, entries: Sequence[tuple[str, Sequence[npt.NDArray[np.uint8]], Sequence[str]]]
    ) -> None:
        """Write samples, each a key, its frames, and remarks to repeat when it is read.

        When this returns, they are on disk.
        """
        if not entries:
            return
        try:
            if self._writer is None or self._writer.n_bytes > _SHARD_BYTES:
                self.close()
                self._writer = _Shard(self.folder, self.size)
            self._places.update(self._writer.append(entries))
        except OSError as error:
            raise FaceStoreError(f"{self.folder} cannot be written to: {error}.") from error

    def get(self, key: str) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
        """Return the face clip (n_frames, height, width, 3), read-only and mapped, and remarks."""
        place = self._places[key]
        if place.n_frames == 0:
            return np.empty((0, *self.size, 3), np.uint8), place.remarks
        end = place.first + place.n_frames
        if len(self._maps.get(place.shard, ())) < end:
            content = map_bytes(self.folder / f"{place.shard}.faces")
            n_frames = len(content) // _frame_bytes(self.size)
            frames = content[: n_frames * _frame_bytes(self.size)]
            self._maps[place.shard] = frames.reshape(n_frames, *self.size, 3)
        return self._maps[place.shard][place.first : end], place.remarks

    def close(self) -> None:
        """Close what is being written to."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class _Shard:
    """A file of pixels and its index, both of one writer."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.name = uuid.uuid4().hex
        self.frame_bytes = _frame_bytes(size)
        self.n_bytes = 0
        self.pixels: BinaryIO = (folder / f"{self.name}.faces").open("xb")
        self.index: BinaryIO = (folder / f"{self.name}.jsonl").open("xb")

    def append(
        self, entries: Iterable[tuple[str, Sequence[npt.NDArray[np.uint8]], Sequence[str]]]
    ) -> dict[str, _Place]:
        places: dict[str, _Place] = {}
        for key, frames, remarks in entries:
            first = self.n_bytes // self.frame_bytes
            for frame in frames:
                self.pixels.write(np.ascontiguousarray(frame).data)
            self.n_bytes += len(frames) * self.frame_bytes
            places[key] = _Place(self.name, first, len(frames), tuple(remarks))
        _settle(self.pixels)
        lines = [
            [key, place.first, place.n_frames, *place.remarks] for key, place in places.items()
        ]
        self.index.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        _settle(self.index)
        return places

    def close(self) -> None:
        self.pixels.close()
        self.index.close()


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _frame_bytes(size: tuple[int, int]) -> int:
    return size[0] * size[1] * 3


def _read_index(index: Path, size: tuple[int, int]) -> Iterator[tuple[str, _Place]]:
    """Yield what an index tells, as far as it was written out and its pixels are there."""
    pixels = index.with_suffix(".faces")
    n_frames = pixels.stat().st_size // _frame_bytes(size) if pixels.exists() else 0
    for line in index.read_bytes().split(b"\n"):
        try:
            key, first, n, *remarks = json.loads(line)
        except ValueError:
            # A writer is at work on this line, or was stopped in it.
            continue
        if first + n <= n_frames:
            yield key, _Place(index.stem, first, n, tuple(remarks))


@dataclass(frozen=True, slots=True)
class Content:
    """What a sample is made of.

    Attributes
    ----------
    key : str
        SHA-256 sum of its content.
    stamps : tuple
        Size and time of its files, to see whether they changed since.
    """

    key: str
    stamps: tuple[tuple[int, int], ...]


def read_contents(
    samples: Sequence[Any], n_frames: int | None, verbose: bool
) -> list[Content | None]:
    """Tell samples by their content; None for those that cannot be read.

    Parameters
    ----------
    samples : sequence
        As :meth:`FaceAligner.transform` takes them.
    n_frames : int or None
        Of a sequence of files, those that will be looked at are read.
    verbose : bool
        Show a progress bar.
    """
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda sample: _read_content(sample, n_frames), samples)
        return list(tqdm(found, "reading", len(samples), disable=not verbose))


def is_unchanged(sample: Any, content: Content, n_frames: int | None) -> bool:
    """Tell whether the sample's files are those whose content was read."""
    try:
        return _stamps(_files(sample, n_frames)) == content.stamps
    except OSError:
        return False


def _read_content(sample: Any, n_frames: int | None) -> Content | None:
    """Read and sum up a sample; whatever is wrong with it, the aligner will say."""
    try:
        kind = "clip" if is_clip(sample) else "photo"
        files = _files(sample, n_frames)
        stamps = _stamps(files)
        total = hashlib.sha256(f"{kind} {len(files)}".encode())
        for path in files:
            with open(path, "rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        if not files:
            if isinstance(sample, Image.Image):
                sample = open_photo(sample)
            if isinstance(sample, np.ndarray):
                total.update(f" {sample.dtype.str} {sample.shape}".encode())
                sample = np.ascontiguousarray(sample)
            total.update(sample.data if isinstance(sample, np.ndarray) else sample)
    except (PersonaAffectError, OSError, ValueError, TypeError):
        return None
    return Content(total.hexdigest(), stamps)


def _files(sample: Any, n_frames: int | None) -> list[str]:
    if isinstance(sample, FrameSequence):
        n = len(sample.paths)
        chosen = range(n) if n_frames is None or n == 0 else segment_centres(n, n_frames)
        files = [sample.paths[i] for i in chosen]
    elif isinstance(sample, str | os.PathLike):
        files = [os.fspath(sample)]
    else:
        return []
    # A pipe or a device could block for ever.
    if not files or not all(os.path.isfile(path) for path in files):
        raise FileNotFoundError
    return files


def _stamps(files: Sequence[str]) -> tuple[tuple[int, int], ...]:
    stats = [os.stat(path) for path in files]
    return tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)
