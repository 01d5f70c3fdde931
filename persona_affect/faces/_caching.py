"""Alignment with a store: stored faces are read, others are aligned once and stored."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from PIL import Image

from .._progress import tqdm
from ..media import (
    FrameSequence,
    file_on_disk,
    is_clip,
    open_file,
    open_photo,
    segment_centres,
)
from ._batches import Outcome, align_samples, share_batches
from ._settings import FaceSettings
from ._store import Entry, FaceStore

#: Frames that pass the detector at once. Its arithmetic depends on the batch, by a grey level in
#: 100,000 pixels, and what is stored must depend on nothing but the sample.
_FRAMES: Final = 32
#: Samples that are written at once.
_SAMPLES: Final = 32


def align_stored(
    folder: str | os.PathLike[str],
    settings: FaceSettings,
    samples: Sequence[Any],
    n_jobs: int | None,
    verbose: bool,
) -> list[Outcome]:
    """Align samples that are not in a store, store them, and read all from the store.

    Each sample is aligned by itself, so that the store holds the same pixels whoever fills it.

    Parameters
    ----------
    folder : path-like
        Folder of the store.
    settings : FaceSettings
    samples : sequence
        As :meth:`FaceAligner.transform` takes them.
    n_jobs, verbose
        As in :class:`FaceAligner`.
    """
    store = FaceStore(folder, settings.identity(), settings.size)
    try:
        keys, fresh = fill_store(store, settings, samples, n_jobs, verbose)
    finally:
        store.close()
    store.check(str(key) for key in keys if key not in fresh)
    return [fresh[key] if key in fresh else _stored(store, str(key)) for key in keys]


def fill_store(
    store: FaceStore,
    settings: FaceSettings,
    samples: Sequence[Any],
    n_jobs: int | None,
    verbose: bool,
) -> tuple[list[int | str], dict[int | str, Outcome]]:
    """Store samples that are not there.

    Returns
    -------
    keys : list of int or str
        The key of each sample.
    fresh : dict
        By key, samples that cannot be stored.
    """
    settings = replace(settings, batch_size=_FRAMES)
    contents = read_contents(samples, settings.n_frames, verbose)
    # Equal samples are aligned once; samples that cannot be read have no content, and stay alone.
    keys = [i if content is None else content.key for i, content in enumerate(contents)]
    todo = {key: i for i, key in reversed(list(enumerate(keys))) if str(key) not in store}
    fresh: dict[int | str, Outcome] = {}
    storable: list[Entry] = []
    rows = sorted(todo.values())
    try:
        for i, outcome in share_batches(
            align_samples, settings, samples, n_jobs, verbose, rows, size=1
        ):
            content = contents[i]
            if (
                content is None
                or outcome.failed
                or not is_unchanged(samples[i], content, settings.n_frames)
            ):
                fresh[keys[i]] = outcome
                continue
            storable.append((content.key, outcome.found, outcome.remarks))
            if len(storable) == _SAMPLES:
                full, storable = storable, []
                store.add(full)
    finally:
        # Also the samples that were aligned before one that cannot be read.
        store.add(storable)
    return keys, fresh


def _stored(store: FaceStore, key: str) -> Outcome:
    clip, remarks = store.get(key)
    return Outcome(clip, list(remarks))


@dataclass(frozen=True, slots=True)
class Content:
    """Identifies the content of a sample.

    Attributes
    ----------
    key : str
        SHA-256 checksum of its content.
    stamps : tuple
        Size and time of its files, to notice changes.
    """

    key: str
    stamps: tuple[tuple[int, int], ...]


def read_contents(
    samples: Sequence[Any], n_frames: int | None, verbose: bool
) -> list[Content | None]:
    """Compute the key of each sample's content; None for samples that cannot be read.

    Parameters
    ----------
    samples : sequence
        As :meth:`FaceAligner.transform` takes them.
    n_frames : int or None
        Frames of a clip that are used; only these files of a sequence are read.
    verbose : bool
        Show a progress bar.
    """
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda sample: _read_content(sample, n_frames), samples)
        return list(tqdm(found, "reading", len(samples), disable=not verbose))


def is_unchanged(sample: Any, content: Content, n_frames: int | None) -> bool:
    """Return whether the sample's files are still those whose content was read."""
    try:
        return _stamps(_files(sample, n_frames)) == content.stamps
    except OSError:
        return False


def _read_content(sample: Any, n_frames: int | None) -> Content | None:
    """Read a sample and compute its key; the aligner will report its errors."""
    try:
        kind = "clip" if is_clip(sample) else "photo"
        files = _files(sample, n_frames)
        stamps = _stamps(files)
        total = hashlib.sha256(f"{kind} {len(files)}".encode())
        for path in files:
            with open_file(path) as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
        if not files:
            if isinstance(sample, Image.Image):
                sample = open_photo(sample)
            if isinstance(sample, np.ndarray):
                total.update(f" {sample.dtype.str} {sample.shape}".encode())
                sample = np.ascontiguousarray(sample)
            total.update(sample.data if isinstance(sample, np.ndarray) else sample)
    except Exception:
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
    # Reading a pipe or a device may never end.
    if not files or not all(os.path.isfile(file_on_disk(path)) for path in files):
        raise FileNotFoundError
    return files


def _stamps(files: Sequence[str]) -> tuple[tuple[int, int], ...]:
    stats = [os.stat(file_on_disk(path)) for path in files]
    return tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)
