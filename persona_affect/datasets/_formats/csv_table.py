"""Your own data sets: a CSV file of paths and labels."""

import csv
import io
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Final

import pandas as pd
from sklearn.utils import Bunch

from persona_affect.datasets._folders import SPLITS, Check, LeftOut, check_files, make_bunch
from persona_affect.datasets._registry import (
    DatasetFormat,
    FormatOption,
    parse_names,
    register_format,
)
from persona_affect.exceptions import DatasetFormatError
from persona_affect.metrics import EMOTION_NAMES, PERSONALITY_NAMES

NAME: Final = "csv"
_LAYOUT: Final = (
    "a file with a column path, one for each target (empty where not rated), and optionally group "
    "and split"
)
#: Millions of samples; pandas takes many times these bytes in memory.
_MAX_BYTES: Final = 2**28
_MAX_COLUMNS: Final = 1000
_MAX_HEADER_BYTES: Final = 2**20


def load_csv(
    path: str | PathLike[str],
    split: str | None = None,
    *,
    personality: Sequence[str] | None = None,
    emotion: Sequence[str] | None = None,
    check: Check = "open",
    verbose: bool = False,
) -> Bunch:
    """Load photos and clips from a CSV file that lists them with their labels.

    Parameters
    ----------
    path : path-like
        The file: a column ``path`` (relative paths start at the file's folder), a column for each
        target, empty or NaN where a sample was not rated, and optionally ``group`` (the person or
        clip that a sample shows) and ``split`` (``train``, ``val`` or ``test``).
    split : {"train", "val", "test"} or None, default=None
        Which part; None for all.
    personality, emotion : sequence of str or None, default=None
        Targets of the two kinds; other columns are then ignored. If both are None, all columns are
        targets: ``arousal`` and ``valence`` are emotion, the others personality.
    check : {"open", "decode"} or None, default="open"
        Check that each file can be opened and is complete, or decode a part of it, or check
        nothing.
    verbose : bool, default=False
        Show a progress bar of the check.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        data : ndarray of object, shape (n_samples,)
            Paths.
        target : DataFrame of shape (n_samples, n_targets)
            Personality first; the default seven in their usual order; NaN where not rated.
        groups, split : ndarray of str, shape (n_samples,)
            Each sample its own group where the file has none; empty strings without parts.
        polarity, personality, emotion, target_names, left_out, name, DESCR
            As :func:`load_first_impressions` has them.

    Raises
    ------
    DatasetFormatError
        If the file cannot be read, lacks ``path`` or the targets, or no sample can be used.

    Warns
    -----
    MediaWarning
        Once, counting and naming what was left out.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from persona_affect.datasets import load_csv
    >>> table = pd.DataFrame({"path": ["ann.jpg", "bob.jpg"], "warm": [5.2, 2.7]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table.to_csv(Path(folder, "ratings.csv"), index=False)
    ...     bunch = load_csv(Path(folder, "ratings.csv"), check=None)
    >>> bunch.target["warm"].tolist()
    [5.2, 2.7]
    """
    path = Path(path)
    table = read_table(path)
    if "path" not in table:
        raise DatasetFormatError(f"{path} has no column 'path'; it has {list(table.columns)}.")
    sources = [str(path.parent / str(name)) for name in table["path"]]
    return bunch_table(
        table,
        sources,
        NAME,
        path,
        split,
        personality=personality,
        emotion=emotion,
        check=check,
        verbose=verbose,
        place=lambda row: f"line {row + 2}",
    )


def bunch_table(
    table: pd.DataFrame,
    sources: Sequence[str],
    name: str,
    origin: Path,
    split: str | None,
    *,
    personality: Sequence[str] | None,
    emotion: Sequence[str] | None,
    check: Check,
    verbose: bool,
    place: Callable[[int], str],
    left_out: LeftOut | None = None,
) -> Bunch:
    """Bunch samples and the labels in a table of theirs.

    Parameters
    ----------
    table : DataFrame of n_samples rows, numbered from 0
        A column for each target, and `path`, optionally `group` and `split`.
    sources : sequence of str
        The path of each sample.
    name : str
        Of the format.
    origin : Path
        Where the labels are from, for messages.
    split, personality, emotion, check, verbose
        As for :func:`load_csv`.
    place : callable
        Names a row in messages.
    left_out : LeftOut, optional
        What was left out before.
    """
    path = origin
    columns = [name for name in table.columns if name not in ("path", "group", "split")]
    if personality is None and emotion is None:
        emotion = [name for name in EMOTION_NAMES if name in columns]
        own = [name for name in columns if name not in (*EMOTION_NAMES, *PERSONALITY_NAMES)]
        if "" in own:
            raise DatasetFormatError(
                f"{path} has a column without a name, number {list(table.columns).index('') + 1}: "
                "name it, write the file with to_csv(index=False), or say which "
                "columns are targets with personality= and emotion=."
            )
        personality = [*(name for name in PERSONALITY_NAMES if name in columns), *own]
    personality, emotion = list(personality or ()), list(emotion or ())
    names = [*personality, *emotion]
    missing = [name for name in names if name not in columns]
    if missing or not names:
        raise DatasetFormatError(f"{path} lacks the targets {missing}; its columns are {columns}.")
    left_out = LeftOut(f"{name} {path}") if left_out is None else left_out
    target = table[names].apply(pd.to_numeric, errors="coerce").astype(float)
    target = target.replace([float("inf"), float("-inf")], float("nan"))
    no_number = target.isna() & table[names].notna() & (table[names] != "")
    parts = table["split"].fillna("") if "split" in table else pd.Series("", table.index)
    if not parts.isin(["", *SPLITS]).all():
        raise DatasetFormatError(f"{path}: the column 'split' may hold {SPLITS} alone.")
    keep = parts == split if split is not None else pd.Series(True, table.index)
    has_no_path = table["path"].fillna("").str.strip() == ""
    wrong, unlabelled = no_number.any(axis=1), target.isna().all(axis=1)
    unused = has_no_path | wrong | unlabelled
    for row in table.index[keep & unused]:
        if has_no_path[row]:
            left_out.add(place(row), "its path is empty.")
        elif wrong[row]:
            bad = [name for name in names if no_number.at[row, name]]
            cells = ", ".join(f"{name!r} has {str(table.at[row, name])[:40]!r}" for name in bad)
            left_out.add(sources[row], f"{place(row)}: no finite number; the column {cells}.")
        else:
            left_out.add(sources[row], f"{place(row)} has no label.")
    keep &= ~unused
    rows = table.index[keep]
    rows = rows[check_files([sources[i] for i in rows], check, left_out, verbose)]
    groups = table["group"].fillna("") if "group" in table else pd.Series("", table.index)
    return make_bunch(
        name=name,
        sources=[sources[i] for i in rows],
        target=target.loc[rows],
        groups=[groups[i] or sources[i] for i in rows],
        split=parts[rows].tolist(),
        personality=personality,
        emotion=emotion,
        left_out=left_out,
        descr=f"Samples and labels listed in {path}.",
    )


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV file as strings; spaces around the names of columns are ignored.

    Parameters
    ----------
    path : Path
        The file, in UTF-8.

    Returns
    -------
    DataFrame
        A row per line and a column per name, all of them strings; an empty field is empty.

    Raises
    ------
    DatasetFormatError
        If it cannot be read, is too large, or has the same name for two columns.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from persona_affect.datasets import read_table
    >>> table = pd.DataFrame({"path": ["ann.jpg", "bob.jpg"], "warm": [5.2, None]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table.to_csv(Path(folder, "ratings.csv"), index=False)
    ...     read_table(Path(folder, "ratings.csv")).columns.tolist()
    ['path', 'warm']
    """
    try:
        if path.is_dir():
            raise DatasetFormatError(f"{path} is a folder: give the CSV file.")
        if path.stat().st_size > _MAX_BYTES:
            raise DatasetFormatError(f"{path} has more than {_MAX_BYTES:,} bytes.")
        names = _read_names(path)
        # pandas would rename the second one, and read each of very many columns slowly.
        twice = sorted({name for name in names if name and names.count(name) > 1})
        if twice:
            raise DatasetFormatError(f"{path} has more than one column {', '.join(twice)}.")
        table = pd.read_csv(path, dtype=str)
        if len(names) == len(table.columns):
            table.columns = pd.Index(names)
    except DatasetFormatError:
        raise
    except (OSError, ValueError, csv.Error, pd.errors.ParserError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetFormatError(f"{path} is no readable CSV file: {reason}.") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise DatasetFormatError(f"{path}: lines have more fields than there are column names.")
    return table


def _read_names(path: Path) -> list[str]:
    """Read the names of the columns: the first line that is not empty."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        head = file.read(_MAX_HEADER_BYTES)
        is_cut = bool(file.read(1))
    lines = io.StringIO(head, newline="")
    names = [name.strip() for name in next(filter(None, csv.reader(lines)), [])]
    if len(names) > _MAX_COLUMNS or (is_cut and lines.tell() == len(head)):
        raise DatasetFormatError(f"{path} has more than {_MAX_COLUMNS:,} columns.")
    return names


def _recognise(folder: Path, folders: Sequence[str], files: Sequence[str]) -> bool:
    return folder.suffix.lower() == ".csv" and folder.is_file()


register_format(
    DatasetFormat(
        name=NAME,
        load=load_csv,
        layout=_LAYOUT,
        recognise=_recognise,
        parts=SPLITS,
        options=(
            FormatOption("personality", parse_names, "Only these columns, as personality targets."),
            FormatOption("emotion", parse_names, "Only these columns, as emotion targets."),
        ),
    )
)
