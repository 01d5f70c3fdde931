"""Steps that all loaders share: find files, report those that cannot be used, bunch the rest."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from persona_affect._files import walk_folders
from persona_affect._progress import tqdm
from persona_affect._warnings import warn_user
from persona_affect.exceptions import DatasetFormatError, MediaWarning, PersonaAffectError
from persona_affect.media import FrameSequence, check_media, segment_centres

Check: TypeAlias = Literal["open", "decode"] | None
Source: TypeAlias = str | FrameSequence

#: The official parts of a data set, by our names.
SPLITS: Final = ("train", "val", "test")
#: Archives unpack into folders in folders; no data set is deeper than this.
_MAX_DEPTH: Final = 6
_SHOWN: Final = 10
#: Of the images that the public data sets publish; `media.PHOTO_SUFFIXES` has all that we read.
IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png")


def check_root(root: str | PathLike[str], expected: str) -> Path:
    """Return the folder, or raise DatasetFormatError that says what was expected in it."""
    folder = Path(root)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise DatasetFormatError(f"{folder} {what}; expected a folder with {expected}.")
    return folder


def layout_error(root: Path, expected: str) -> DatasetFormatError:
    """Make the error that shows what was expected and what was found."""
    try:
        found = sorted(entry.name + "/" * entry.is_dir() for entry in root.iterdir())
    except OSError as error:
        return DatasetFormatError(f"{root} cannot be listed: {error}.")
    listing = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    return DatasetFormatError(
        f"Expected in {root}, or in folders below it: {expected}. Found: {listing or 'nothing'}."
    )


def walk_data(
    root: Path, left_out: "LeftOut | None" = None
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Visit the folders of a data set, a few levels deep, each real folder once.

    Parameters
    ----------
    root : Path
        The data set's folder.
    left_out : LeftOut, optional
        Notes the folders that cannot be listed.

    Yields
    ------
    folder : Path
        A folder, from `root` downwards.
    folders, files : list of str
        The sorted names in it. Remove names from `folders` to leave those folders out.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from persona_affect.datasets import walk_data
    >>> with tempfile.TemporaryDirectory() as root:
    ...     Path(root, "clips").mkdir()
    ...     [folders for folder, folders, files in walk_data(Path(root))]
    [['clips'], []]
    """
    on_error = None if left_out is None else left_out.add_unlisted
    yield from walk_folders(root, max_depth=_MAX_DEPTH, on_error=on_error)


def list_files(folder: Path, left_out: "LeftOut") -> list[str]:
    """List the names in a folder, sorted; none, and a note, if it cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        left_out.add_unlisted(error)
        return []


def check_split(split: str | None) -> tuple[str, ...]:
    """Return the wanted parts; None stands for all."""
    if split is not None and split not in SPLITS:
        raise ValueError(f"split={split!r} is none of {SPLITS}; None stands for all of them.")
    return SPLITS if split is None else (split,)


class LeftOut:
    """Collects what cannot be used, for one warning and one table.

    Parameters
    ----------
    name : str
        Name of the data set.

    Examples
    --------
    >>> from persona_affect.datasets import LeftOut
    >>> left_out = LeftOut("smiles")
    >>> left_out.add("people/ann.jpg", "the file is empty")
    >>> left_out.table()
                 path            problem
    0  people/ann.jpg  the file is empty
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[tuple[str, str]] = []

    def add(self, path: str | PathLike[str], problem: str) -> None:
        """Note one file, and what is wrong with it.

        Parameters
        ----------
        path : path-like
            The file.
        problem : str
            What is wrong with it, as a sentence.
        """
        self.rows.append((os.fspath(path), problem))

    def add_unlisted(self, error: OSError) -> None:
        """Note a folder that cannot be listed.

        Parameters
        ----------
        error : OSError
            What listing the folder raised.
        """
        self.add(str(error.filename), f"the folder cannot be listed: {error.strerror}.")

    def table(self) -> pd.DataFrame:
        """Return the notes as a table.

        Returns
        -------
        DataFrame
            A row for each note, with the columns ``path`` and ``problem``.
        """
        return pd.DataFrame(self.rows, columns=["path", "problem"], dtype=object)

    def warn(self, n_kept: int) -> None:
        """Warn once, if there is anything, with counts and the first of the list.

        Parameters
        ----------
        n_kept : int
            How many samples can be used; the warning says it.
        """
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


def check_files(
    sources: Sequence[str], check: Check, left_out: LeftOut, verbose: bool = False
) -> NDArray[np.bool_]:
    """Check media files, and note those that cannot be read.

    Parameters
    ----------
    sources : sequence of str
        Paths of photos and clips.
    check : {"open", "decode"} or None
        Check that each file can be opened and is complete, or decode a part of it, or check
        nothing.
    left_out : LeftOut
        Notes those that cannot be read.
    verbose : bool, default=False
        Show a progress bar.

    Returns
    -------
    ndarray of bool, shape (n_sources,)
        Which of them can be read.

    Raises
    ------
    ValueError
        If `check` is unknown.

    Examples
    --------
    >>> from persona_affect.datasets import LeftOut, check_files
    >>> left_out = LeftOut("smiles")
    >>> check_files(["missing.jpg"], "open", left_out)
    array([False])
    >>> left_out.table()["path"].tolist()
    ['missing.jpg']
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


def choose_frames(n: int, every: int, n_frames: int | None) -> NDArray[np.intp]:
    """Choose frames of a clip: each `every`-th, or the centres of at most `n_frames` segments."""
    if n_frames is None:
        return np.arange(0, n, every)
    return segment_centres(n, min(n, n_frames))


def check_frame_choice(every: int, n_frames: int | None) -> None:
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
    groups: Sequence[str] | None = None,
    split: Sequence[str] | None = None,
    personality: Sequence[str] = (),
    emotion: Sequence[str] = (),
    polarity: Mapping[str, int] | None = None,
    left_out: LeftOut | None = None,
    descr: str = "",
    **more: Any,
) -> Bunch:
    """Make the bunch of what a loader found, and warn about what it left out.

    Parameters
    ----------
    name : str
        Name of the format, or of the data set.
    sources : sequence of str or FrameSequence
        Paths of photos and clips, one a sample.
    target : DataFrame of shape (n_samples, n_targets)
        Labels, NaN where a sample was not rated.
    groups : sequence of str, optional
        The person or clip that each sample shows; by default each sample is a group.
    split : sequence of str, optional
        ``"train"``, ``"val"`` or ``"test"``, empty where there is no official part; by default
        there is none.
    personality, emotion : sequence of str, default=()
        The columns of `target`, by kind.
    polarity : mapping of str to int, optional
        -1 for a target with a low label for a high trait; by default +1 for each.
    left_out : LeftOut, optional
        What could not be used.
    descr : str, default=""
        A description of the data set: units, citation, licence.
    **more
        Further entries of the bunch.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        As :func:`load_first_impressions` describes it.

    Raises
    ------
    DatasetFormatError
        If there is no sample.
    ValueError
        If the columns of `target` are not those of `personality` and `emotion`, or the lengths
        differ.

    Warns
    -----
    MediaWarning
        Once, counting and naming what was left out.

    Examples
    --------
    >>> import pandas as pd
    >>> from persona_affect.datasets import make_bunch
    >>> bunch = make_bunch(
    ...     name="smiles",
    ...     sources=["ann.jpg", "bob.jpg"],
    ...     target=pd.DataFrame({"smile": [1.0, 0.0]}),
    ...     emotion=["smile"],
    ... )
    >>> bunch.groups.tolist(), bunch.target_names
    (['0', '1'], ['smile'])
    """
    left_out = LeftOut(name) if left_out is None else left_out
    if not len(sources):
        problems = "; ".join(f"{path}: {problem}" for path, problem in left_out.rows[:_SHOWN])
        raise DatasetFormatError(f"{name}: no sample can be used. {problems}")
    names = [*personality, *emotion]
    if sorted(target.columns) != sorted(names):
        raise ValueError(
            f"{name}: the columns of target are {list(target.columns)}, the names of personality "
            f"and emotion {names}."
        )
    groups = [str(i) for i in range(len(sources))] if groups is None else groups
    split = [""] * len(sources) if split is None else split
    lengths = {"sources": len(sources), "target": len(target), "groups": len(groups)}
    lengths["split"] = len(split)
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{name}: the lengths differ: {lengths}.")
    data = np.empty(len(sources), dtype=object)
    data[:] = sources
    left_out.warn(len(data))
    return Bunch(
        name=name,
        data=data,
        target=target[names].astype(np.float64).reset_index(drop=True),
        groups=np.asarray(groups, dtype=str),
        split=np.asarray(split, dtype=str),
        target_names=names,
        personality=list(personality),
        emotion=list(emotion),
        polarity=dict(polarity or dict.fromkeys(names, 1)),
        left_out=left_out.table(),
        DESCR=descr,
        **more,
    )
