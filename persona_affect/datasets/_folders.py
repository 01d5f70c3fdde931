"""What every loader does: look for files, leave out what is unusable and say so, bunch the rest."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch
from tqdm.auto import tqdm

from persona_affect._warnings import warn_user
from persona_affect.exceptions import DatasetFormatError, MediaWarning, PersonaAffectError
from persona_affect.media import FrameSequence, check_media, segment_centres

Check: TypeAlias = Literal["open", "decode"] | None
Source: TypeAlias = str | FrameSequence

#: The official parts of a data set, by our names.
SPLITS: Final = ("train", "val", "test")
#: Archives unpack into folders in folders; deeper than this, nobody has put a data set.
_MAX_DEPTH: Final = 6
_SHOWN: Final = 10
PHOTO_SUFFIXES: Final = (".jpg", ".jpeg", ".png")


def check_root(root: str | PathLike[str], expected: str) -> Path:
    """Return the folder, or raise DatasetFormatError saying what was expected in it."""
    folder = Path(root)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise DatasetFormatError(f"{folder} {what}; expected a folder with {expected}.")
    return folder


def unlike(root: Path, expected: str) -> DatasetFormatError:
    """Make the error that shows what was expected and what was found."""
    try:
        found = sorted(entry.name + "/" * entry.is_dir() for entry in root.iterdir())
    except OSError as error:
        return DatasetFormatError(f"{root} cannot be listed: {error}.")
    listing = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    return DatasetFormatError(
        f"Expected in {root}, or in folders below it: {expected}. Found: {listing or 'nothing'}."
    )


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Walk like `os.walk`, sorted, following links, a few levels deep; prune by editing folders."""
    for folder, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        files.sort()
        here = Path(folder)
        if len(here.parts) - len(root.parts) >= _MAX_DEPTH:
            folders.clear()
        yield here, folders, files


def check_split(split: str | None) -> tuple[str, ...]:
    """Return the wanted parts; None stands for all."""
    if split is not None and split not in SPLITS:
        raise ValueError(f"split={split!r} is none of {SPLITS}, nor None for all of them.")
    return SPLITS if split is None else (split,)


class LeftOut:
    """Collects what cannot be used, for one warning and one table.

    Parameters
    ----------
    name : str
        Of the data set.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[tuple[str, str]] = []

    def add(self, path: str | PathLike[str], problem: str) -> None:
        """Note one file, and what is wrong with it."""
        self.rows.append((os.fspath(path), problem))

    def table(self) -> pd.DataFrame:
        """Tabulate: columns ``path`` and ``problem``."""
        return pd.DataFrame(self.rows, columns=["path", "problem"], dtype=object)

    def warn(self, n_kept: int) -> None:
        """Warn once, if there is anything, with counts and the first of the list."""
        if not self.rows:
            return
        counts = Counter(problem for _, problem in self.rows).most_common(_SHOWN)
        kinds = "; ".join(f"{count} times: {problem}" for problem, count in counts)
        listing = "\n".join(f"- {path}: {problem}" for path, problem in self.rows[:_SHOWN])
        more = "\n- ..." if len(self.rows) > _SHOWN else ""
        warn_user(
            f"{self.name}: {len(self.rows)} files or labels were left out, {n_kept} samples kept "
            f"({kinds}). All are in the bunch's `left_out`:\n{listing}{more}",
            MediaWarning,
        )


def usable(
    sources: Sequence[str], check: Check, left_out: LeftOut, verbose: bool
) -> NDArray[np.bool_]:
    """Check files that are there, and note those that cannot be read.

    Parameters
    ----------
    sources : sequence of str
    check : {"open", "decode"} or None
        As :func:`persona_affect.media.check_media` does, or not at all.
    """
    if check not in ("open", "decode", None):
        raise ValueError(f'check={check!r} is none of "open", "decode" and None.')
    good = np.ones(len(sources), dtype=bool)
    if check is None:
        return good
    for i, path in enumerate(tqdm(sources, desc="files", disable=not verbose)):
        try:
            check_media(path, decode=check == "decode")
        except PersonaAffectError as error:
            left_out.add(path, str(error))
            good[i] = False
    return good


def pick(n: int, every: int, n_frames: int | None) -> NDArray[np.intp]:
    """Choose frames of a clip: each `every`-th, or the centres of at most `n_frames` segments."""
    if n_frames is None:
        return np.arange(0, n, every)
    return segment_centres(n, min(n, n_frames))


def check_choice(every: int, n_frames: int | None) -> None:
    """Raise ValueError unless these choose frames in one way."""
    if every < 1 or (n_frames is not None and n_frames < 1):
        raise ValueError(f"every={every} and n_frames={n_frames} must be 1 or more.")
    if every > 1 and n_frames is not None:
        raise ValueError("Give every= or n_frames=, not both.")


def make_bunch(
    *,
    name: str,
    sources: Sequence[Source],
    target: pd.DataFrame,
    groups: Sequence[str],
    split: Sequence[str],
    personality: Sequence[str],
    emotion: Sequence[str],
    polarity: dict[str, int],
    left_out: LeftOut,
    descr: str,
    **more: Any,
) -> Bunch:
    """Bunch what a loader found, and warn of what it left out."""
    if not len(sources):
        problems = "; ".join(f"{path}: {problem}" for path, problem in left_out.rows[:3])
        raise DatasetFormatError(f"{name}: no sample can be used. {problems}")
    data = np.empty(len(sources), dtype=object)
    data[:] = sources
    left_out.warn(len(data))
    return Bunch(
        name=name,
        data=data,
        target=target.astype(np.float64).reset_index(drop=True),
        groups=np.asarray(groups, dtype=str),
        split=np.asarray(split, dtype=str),
        target_names=list(target.columns),
        personality=list(personality),
        emotion=list(emotion),
        polarity=polarity,
        left_out=left_out.table(),
        DESCR=descr,
        **more,
    )
