"""Data sets in the forms of hubs: WebDataset tar shards, and Parquet files with pictures."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pandas as pd
from sklearn.utils import Bunch

from persona_affect._optional import import_optional
from persona_affect.datasets._folders import SPLITS, Check, LeftOut, walk_data
from persona_affect.datasets._registry import (
    DatasetFormat,
    FormatOption,
    parse_names,
    register_format,
)
from persona_affect.exceptions import DatasetFormatError, PersonaAffectError
from persona_affect.media import PHOTO_SUFFIXES, VIDEO_SUFFIXES, list_packed, open_file, read_values

from .csv_table import bunch_table

_TAR_LAYOUT: Final = (
    "tar shards, such as train-0001.tar, with a picture or clip of each sample, 0001.jpg, and its "
    "labels, 0001.json: an object of numbers, optionally with group and split"
)
_PARQUET_LAYOUT: Final = (
    "Parquet files, such as train-00000.parquet, with a column of encoded pictures, a column for "
    "each target, and optionally group and split"
)
#: Bytes of the labels of one sample.
_MAX_LABELS: Final = 2**20
_NAMED_PARTS: Final = {
    "train": "train", "test": "test",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
}  # fmt: skip
_MEDIA: Final = PHOTO_SUFFIXES | VIDEO_SUFFIXES


def load_webdataset(
    root: str | PathLike[str],
    split: str | None = None,
    *,
    personality: Sequence[str] | None = None,
    emotion: Sequence[str] | None = None,
    picture: str | None = None,
    check: Check = "open",
    verbose: bool = False,
) -> Bunch:
    """Load photos and clips from tar shards as WebDataset writes them; nothing is unpacked.

    Parameters
    ----------
    root : path-like
        A shard, or a folder with shards in it or further below. The files of one sample have one
        name up to the first dot: ``0001.jpg`` and ``0001.json``. The JSON file is an object with
        the labels, and optionally ``group`` and ``split``.
    split : {"train", "val", "test"} or None, default=None
        Which part; None for all. Without ``split`` in the JSON file, the beginning of the shard's
        name says it: ``train-0001.tar``.
    personality, emotion : sequence of str or None, default=None
        As for :func:`load_csv`; by default all keys with numbers are targets.
    picture : str or None, default=None
        What follows the first dot of the files to use, such as ``"jpg"`` or ``"face.png"``, where
        samples have several.
    check : {"open", "decode"} or None, default="open"
        Check that each member can be opened and is complete, or decode a part of it, or check
        nothing.
    verbose : bool, default=False
        Show a progress bar of the check.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        As :func:`load_csv`. ``data`` holds paths such as ``train-0001.tar/0001.jpg``, which every
        function that reads photos and clips accepts.

    Raises
    ------
    DatasetFormatError
        If there are no shards, no labels, or no sample can be used.

    Warns
    -----
    MediaWarning
        Once, counting and naming what was left out.

    See Also
    --------
    load_parquet : The other form in which hubs have data sets.

    Examples
    --------
    >>> import io, tarfile, tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from persona_affect.datasets import load_webdataset
    >>> picture = io.BytesIO()
    >>> Image.new("RGB", (6, 4)).save(picture, "png")
    >>> files = {"0001.png": picture.getvalue(), "0001.json": b'{"warm": 0.5}'}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with tarfile.open(Path(folder, "train-0001.tar"), "w") as shard:
    ...         for name, content in files.items():
    ...             member = tarfile.TarInfo(name)
    ...             member.size = len(content)
    ...             shard.addfile(member, io.BytesIO(content))
    ...     data = load_webdataset(folder)
    >>> data.target["warm"].tolist(), data.split.tolist()
    ([0.5], ['train'])
    """
    return _load(
        _TAR, root, split, picture,
        personality=personality, emotion=emotion, check=check, verbose=verbose,
    )  # fmt: skip


def load_parquet(
    root: str | PathLike[str],
    split: str | None = None,
    *,
    personality: Sequence[str] | None = None,
    emotion: Sequence[str] | None = None,
    picture: str | None = None,
    check: Check = "open",
    verbose: bool = False,
) -> Bunch:
    """Load photos from Parquet files that have them as bytes, as hubs do (extra ``parquet``).

    Parameters
    ----------
    root : path-like
        A file, or a folder with files in it or further below: a column of encoded pictures (binary,
        or a struct with a field ``bytes``), a column for each target, and optionally ``group`` and
        ``split``.
    split : {"train", "val", "test"} or None, default=None
        Which part; None for all. Without a column ``split``, the beginning of the file's name says
        it: ``train-00000-of-00002.parquet``.
    personality, emotion : sequence of str or None, default=None
        As for :func:`load_csv`; by default all columns with numbers are targets.
    picture : str or None, default=None
        The column of pictures, where there are several.
    check, verbose
        As for :func:`load_webdataset`.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        As :func:`load_csv`. ``data`` holds paths such as ``train-00000.parquet/image/17``, with the
        column and the row, which every function that reads photos accepts.

    Raises
    ------
    DatasetFormatError
        If there are no such files, no labels, or no sample can be used.
    MissingDependencyError
        If pyarrow is not installed.

    Warns
    -----
    MediaWarning
        Once, counting and naming what was left out.

    See Also
    --------
    load_webdataset : The other form in which hubs have data sets.

    Notes
    -----
    A row group is read as a whole: write files with about 100 rows in each.

    Examples
    --------
    >>> import io, tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from PIL import Image
    >>> from persona_affect.datasets import load_parquet
    >>> picture = io.BytesIO()
    >>> Image.new("RGB", (6, 4)).save(picture, "png")
    >>> table = pd.DataFrame({"image": [picture.getvalue()], "warm": [0.5]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table.to_parquet(Path(folder, "test-00000-of-00001.parquet"))
    ...     data = load_parquet(folder)
    >>> data.target["warm"].tolist(), data.split.tolist()
    ([0.5], ['test'])
    """
    import_optional("pyarrow", extra="parquet", purpose="Reading Parquet files")
    return _load(
        _PARQUET, root, split, picture,
        personality=personality, emotion=emotion, check=check, verbose=verbose,
    )  # fmt: skip


def _read_tar(shard: Path, picture: str | None, left_out: LeftOut) -> Iterator[dict[str, Any]]:
    paths, problems = list_packed(shard)
    for path, problem in problems:
        left_out.add(path, problem)
    members: dict[str, dict[str, str]] = {}
    for path in paths:
        name = PurePosixPath(path[len(str(shard)) + 1 :])
        start, _, rest = name.name.partition(".")
        if start:
            members.setdefault(str(name.with_name(start)), {})[rest.lower()] = path
    for parts in members.values():
        row = _read_sample(parts, picture, left_out)
        if row is not None:
            yield row


def _read_parquet(file: Path, picture: str | None, left_out: LeftOut) -> Iterator[dict[str, Any]]:
    paths, _ = list_packed(file, picture)
    labels = read_values(file, texts=("group", "split")).assign(path=paths)
    found: Any = labels.to_dict("records")
    yield from found


@dataclass(frozen=True)
class _Shards:
    """A form of shards: its files, and how to read the rows of one of them."""

    name: str
    suffix: str
    layout: str
    read: Callable[[Path, str | None, LeftOut], Iterator[dict[str, Any]]]


_TAR: Final = _Shards("webdataset", ".tar", _TAR_LAYOUT, _read_tar)
_PARQUET: Final = _Shards("parquet", ".parquet", _PARQUET_LAYOUT, _read_parquet)


def _load(
    form: _Shards,
    root: str | PathLike[str],
    split: str | None,
    picture: str | None,
    **options: Any,
) -> Bunch:
    left_out = LeftOut(f"{form.name} {root}")
    rows: list[dict[str, Any]] = []
    for file in _find_files(root, form, left_out):
        try:
            found = list(form.read(file, picture, left_out))
        except PersonaAffectError as error:
            left_out.add(file, str(error))
            continue
        rows += [{"split": _part_of(file), **_with_part(row)} for row in found]
    return _bunch(rows, root, left_out, split, **options)


def _find_files(root: str | PathLike[str], form: _Shards, left_out: LeftOut) -> list[Path]:
    root = Path(root)
    if root.is_dir():
        walked = walk_data(root, left_out)
        found = [here / name for here, _, names in walked for name in names]
    else:
        found = [root] if root.is_file() else []
    found = [path for path in found if path.suffix.lower() == form.suffix]
    if not found:
        raise DatasetFormatError(
            f"Expected in {root}: {form.layout}. There is no {form.suffix} file."
        )
    return found


def _part_of(file: Path) -> str:
    """Return the part of a data set that a file's name begins with."""
    return _NAMED_PARTS.get(re.split(r"[-_.]", file.name.lower(), maxsplit=1)[0], "")


def _with_part(row: dict[str, Any]) -> dict[str, Any]:
    """Use our name of a sample's part, or none if the sample does not say."""
    part = row.pop("split", None)
    if not isinstance(part, str) or not part:
        return row
    return {**row, "split": _NAMED_PARTS.get(part.lower(), part)}


def _read_sample(
    parts: dict[str, str], picture: str | None, left_out: LeftOut
) -> dict[str, Any] | None:
    """Read the labels of a sample, whose files are given by what follows the first dot."""
    if picture is None:
        media = [end for end in parts if f".{end.rpartition('.')[2]}" in _MEDIA]
    else:
        media = [end for end in parts if end == picture.lower().removeprefix(".")]
    if len(media) != 1:
        problem = (
            f"the sample has the pictures {sorted(media)}: name one with picture=."
            if media
            else "the sample has no picture."
        )
        left_out.add(next(iter(parts.values())), problem)
        return None
    path = parts[media[0]]
    if "json" not in parts:
        left_out.add(path, "the sample has no labels, a .json file.")
        return None
    try:
        with open_file(parts["json"]) as file:
            text = file.read(_MAX_LABELS + 1)
        if len(text) > _MAX_LABELS:
            raise ValueError(f"it has more than {_MAX_LABELS:,} bytes")
        labels = json.loads(text)
        if not isinstance(labels, dict):
            raise ValueError("it is no object")
    except (PersonaAffectError, ValueError, RecursionError) as error:
        left_out.add(parts["json"], f"the labels cannot be read: {error}.")
        return None
    flat = {str(k): v for k, v in labels.items() if isinstance(v, str | int | float)}
    return flat | {"path": path}


def _bunch(
    rows: list[dict[str, Any]],
    root: str | PathLike[str],
    left_out: LeftOut,
    split: str | None,
    **options: Any,
) -> Bunch:
    if not rows:
        problems = "; ".join(f"{path}: {problem}" for path, problem in left_out.rows[:10])
        raise DatasetFormatError(f"{root}: no sample can be used. {problems}")
    table = pd.DataFrame(rows)
    kept = {"path", "group", "split", *(options["personality"] or ()), *(options["emotion"] or ())}
    for name in [name for name in table.columns if name not in kept]:
        values = table[name].dropna()
        # Captions and other texts are no targets.
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            table = table.drop(columns=name)
    if "group" in table:
        table["group"] = [
            "" if pd.isna(group) else str(group) for group in table["group"].astype(object)
        ]
    return bunch_table(
        table,
        table["path"].tolist(),
        left_out.name.partition(" ")[0],
        Path(root),
        split,
        place=lambda row: "the sample",
        left_out=left_out,
        **options,
    )


def _recognise(suffix: str, folder: Path, files: Sequence[str]) -> bool:
    # A root that is a file has no names in it.
    names = [folder.name] if folder.is_file() else files
    return any(name.lower().endswith(suffix) for name in names)


_TARGETS: Final = (
    FormatOption("personality", parse_names, "Only these targets, as personality."),
    FormatOption("emotion", parse_names, "Only these targets, as emotion."),
)

register_format(
    DatasetFormat(
        name="webdataset",
        load=load_webdataset,
        layout=_TAR_LAYOUT,
        recognise=lambda folder, folders, files: _recognise(".tar", folder, files),
        parts=SPLITS,
        options=(*_TARGETS, FormatOption("picture", str, "The ending of the files: face.jpg.")),
    )
)
register_format(
    DatasetFormat(
        name="parquet",
        load=load_parquet,
        layout=_PARQUET_LAYOUT,
        recognise=lambda folder, folders, files: _recognise(".parquet", folder, files),
        parts=SPLITS,
        options=(*_TARGETS, FormatOption("picture", str, "The column of pictures.")),
    )
)
