"""Formats of data sets: everything that the package knows about each, in one object."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from persona_affect.exceptions import DatasetFormatError

from ._folders import walk_data

Recogniser: TypeAlias = Callable[[Path, Sequence[str], Sequence[str]], bool]
MiniatureWriter: TypeAlias = Callable[[Path, int, int, np.random.RandomState], pd.DataFrame]


@dataclass(frozen=True)
class FormatOption:
    """A parameter of a format's loader that can be set by text, as on the command line.

    Parameters
    ----------
    name : str
        The loader's keyword.
    parse : callable
        Turns the text into the value: ``int``, ``float``, ``str``, :func:`parse_bool`,
        :func:`parse_names` or a function that raises ValueError for other text.
    help : str
        What it does, in one sentence.

    Examples
    --------
    >>> from persona_affect.datasets import FormatOption
    >>> FormatOption("every", int, "Take every n-th frame of a clip.").parse("5")
    5
    """

    name: str
    parse: Callable[[str], Any]
    help: str


@dataclass(frozen=True)
class DatasetFormat:
    """Everything that the package must know about the files of one data set.

    Register it with :func:`register_format`; then :func:`load_dataset`, :func:`write_miniature`
    and ``persona-affect train`` and ``evaluate`` know it by its name.

    Parameters
    ----------
    name : str
        In small letters, with hyphens: ``"afew-va"``.
    load : callable
        ``load(root, split, *, check, verbose, **options)``, without `split` for a format that has
        no `parts`; returns a :class:`~sklearn.utils.Bunch` as :func:`make_bunch` makes it.
    layout : str
        What the folder or file holds, for help and error messages.
    recognise : callable
        ``recognise(folder, folders, files)``: whether a folder, with the sorted names of the
        folders and files in it, shows that the data set is of this format. It is asked for each
        folder from the data set's root downwards. A root that is a file is passed as `folder`,
        with no names.
    parts : sequence of str, default=()
        Official parts that can be chosen by ``split=``, of ``"train"``, ``"val"`` and ``"test"``.
    options : sequence of FormatOption, default=()
        Further parameters of `load`.
    miniatures : mapping of str to callable, default={}
        By the name of a layout, ``"published"`` first, functions ``write(root, n_clips, n_frames,
        random_state)`` that fill an empty folder with rendered faces and return the labels.
    min_clips : int, default=2
        The fewest clips of a miniature.

    Examples
    --------
    >>> from persona_affect.datasets import FORMATS
    >>> FORMATS["aff-wild"].parts
    ('train', 'val', 'test')
    >>> [option.name for option in FORMATS["aff-wild"].options]
    ['every', 'n_frames']
    """

    name: str
    load: Callable[..., Bunch]
    layout: str
    recognise: Recogniser
    parts: Sequence[str] = ()
    options: Sequence[FormatOption] = ()
    miniatures: Mapping[str, MiniatureWriter] = field(default_factory=dict)
    min_clips: int = 2


_FORMATS: Final[dict[str, DatasetFormat]] = {}
#: All registered formats by name, also those that are registered later.
FORMATS: Final[Mapping[str, DatasetFormat]] = MappingProxyType(_FORMATS)


#: Options of formats whose samples are frames of clips.
FRAME_OPTIONS: Final = (
    FormatOption("every", int, "Take every n-th frame of a clip; neighbours are nearly the same."),
    FormatOption("n_frames", int, "Take at most this many frames of a clip."),
)


def register_format(spec: DatasetFormat) -> DatasetFormat:
    """Register a format, for as long as the process runs.

    Parameters
    ----------
    spec : DatasetFormat
        Its name, its loader, and how it is recognised.

    Returns
    -------
    DatasetFormat
        The same, so that a module can keep it.

    Raises
    ------
    ValueError
        If another format has this name.

    Examples
    --------
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from persona_affect.datasets import DatasetFormat, make_bunch, register_format
    >>> def load_smiles(root, *, check="open", verbose=False):
    ...     table = pd.read_csv(Path(root) / "smiles.csv")
    ...     return make_bunch(
    ...         name="smiles",
    ...         sources=[str(Path(root) / name) for name in table["file"]],
    ...         target=table[["smile"]],
    ...         emotion=["smile"],
    ...     )
    >>> smiles = DatasetFormat(
    ...     name="smiles",
    ...     load=load_smiles,
    ...     layout="smiles.csv with the columns file and smile",
    ...     recognise=lambda folder, folders, files: "smiles.csv" in files,
    ... )
    >>> register_format(smiles)  # doctest: +SKIP
    """
    if _FORMATS.setdefault(spec.name, spec) != spec:
        raise ValueError(f"Another data set's format is registered as {spec.name!r} already.")
    return spec


def get_format(name: str) -> DatasetFormat:
    """Return a registered format.

    Parameters
    ----------
    name : str
        Such as ``"omi"``.

    Returns
    -------
    DatasetFormat
        As it was registered.

    Raises
    ------
    ValueError
        If there is none of this name.

    Examples
    --------
    >>> from persona_affect.datasets import get_format
    >>> get_format("first-impressions").parts
    ('train', 'val', 'test')
    """
    if name not in _FORMATS:
        raise ValueError(f"format={name!r} is none of {tuple(_FORMATS)}.")
    return _FORMATS[name]


def recognise_format(root: str | PathLike[str]) -> DatasetFormat:
    """Find the format of a data set by its files.

    Parameters
    ----------
    root : path-like
        The data set's folder or file.

    Returns
    -------
    DatasetFormat
        The one that recognises the folder, or the first folder below it that any recognises.

    Raises
    ------
    DatasetFormatError
        If there is none, or more than one.

    Examples
    --------
    >>> import tempfile
    >>> from persona_affect.datasets import recognise_format, write_miniature
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_miniature("omi", folder, n_clips=4, n_frames=2)
    ...     recognise_format(folder).name
    'omi'
    """
    root = Path(root)
    for here, folders, files in walk_data(root) if root.is_dir() else [(root, [], [])]:
        found = [spec for spec in _FORMATS.values() if spec.recognise(here, folders, files)]
        if len(found) > 1:
            raise DatasetFormatError(
                f"{here} could be of the formats {[spec.name for spec in found]}; name one of them."
            )
        if found:
            return found[0]
    raise DatasetFormatError(
        f"{root} is of none of the formats {tuple(_FORMATS)} as far as its files show; name the "
        "format, and the loader will say what is missing."
    )


def parse_bool(text: str) -> bool:
    """Read ``yes``, ``true`` or ``1``, and ``no``, ``false`` or ``0``.

    Parameters
    ----------
    text : str
        In small or capital letters.

    Returns
    -------
    bool
        What the text says.

    Raises
    ------
    ValueError
        If it is another text.

    Examples
    --------
    >>> from persona_affect.datasets import parse_bool
    >>> parse_bool("yes"), parse_bool("0")
    (True, False)
    """
    values = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    if text.lower() not in values:
        raise ValueError(f"{text!r} is neither yes nor no.")
    return values[text.lower()]


def parse_names(text: str) -> list[str]:
    """Read names separated by commas.

    Parameters
    ----------
    text : str
        Names; spaces around them are ignored.

    Returns
    -------
    list of str
        The names, in their order.

    Examples
    --------
    >>> from persona_affect.datasets import parse_names
    >>> parse_names("warm, happy")
    ['warm', 'happy']
    """
    return [name.strip() for name in text.split(",") if name.strip()]
