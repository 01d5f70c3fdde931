"""Data sets together, and data sets by the name of their format."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from persona_affect.exceptions import DatasetFormatError
from persona_affect.metrics import EMOTION_NAMES, PERSONALITY_NAMES

from . import _afew_va, _aff_wild, _first_impressions, _omi, _tables
from ._folders import walk

#: Loaders by the name of the format; whether it has official parts.
_LOADERS: Final[dict[str, tuple[Callable[..., Bunch], bool]]] = {
    _first_impressions.NAME: (_first_impressions.load_first_impressions, True),
    _afew_va.NAME: (_afew_va.load_afew_va, False),
    _aff_wild.NAME: (_aff_wild.load_aff_wild, True),
    _omi.NAME: (_omi.load_omi, False),
    _tables.NAME: (_tables.load_csv, True),
}
FORMATS: Final = tuple(_LOADERS)


def load_dataset(
    root: str | PathLike[str], format: str | None = None, split: str | None = None, **options: Any
) -> Bunch:
    """Load a data set by the name of its format.

    Parameters
    ----------
    root : path-like
        The data set's folder, or a CSV file.
    format : {"first-impressions", "afew-va", "aff-wild", "omi", "csv"} or None, default=None
        None to tell it from what the folder holds.
    split : {"train", "val", "test"} or None, default=None
        Which official part; an error for formats without any.
    **options
        Further parameters of the format's loader.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        As :func:`load_first_impressions`, :func:`load_afew_va`, :func:`load_aff_wild`,
        :func:`load_omi` or :func:`load_csv` gives it.

    Raises
    ------
    DatasetFormatError
        If the format cannot be told, or as the loader raises it.
    ValueError
        If the format is unknown, or has no parts to choose from.
    """
    format = format or recognise(Path(root))
    if format not in _LOADERS:
        raise ValueError(f"format={format!r} is none of {FORMATS}.")
    loader, has_parts = _LOADERS[format]
    if has_parts:
        return loader(root, split, **options)
    if split is not None:
        raise ValueError(f"{format} has no official parts, so split={split!r} means nothing.")
    return loader(root, **options)


def recognise(root: Path) -> str:
    """Tell the format by the first file or folder that only one of them has."""
    if root.is_file() and root.suffix.lower() == ".csv":
        return _tables.NAME
    marks = dict.fromkeys(_first_impressions.ANNOTATIONS.values(), _first_impressions.NAME)
    marks["ratings.csv"] = _omi.NAME
    if root.is_dir():
        for here, folders, files in walk(root):
            for name in files:
                if name.lower() in marks:
                    return marks[name.lower()]
            if f"{here.name}.json" in files:
                return _afew_va.NAME
            if any(name.lower().startswith("cropped") for name in folders):
                return _aff_wild.NAME
    raise DatasetFormatError(
        f"{root} is of none of the formats {FORMATS} as far as can be told; name the format, and "
        "the loader will say what it misses."
    )


def combine(*datasets: Bunch) -> Bunch:
    """Join data sets that were rated on different targets, for one fit.

    Parameters
    ----------
    *datasets : Bunch
        As the loaders return them, any number, in any order.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        data : ndarray of object, shape (n_samples,)
            The samples, set after set: X.
        target : DataFrame of shape (n_samples, n_targets)
            y: the union of the targets, personality first, the default seven in their usual order;
            NaN where a set was not rated on one.
        groups, split, source : ndarray of str, shape (n_samples,)
            Groups with the set's name before them, so that none of two sets coincide; official
            parts; and the name of the set (with its place, should two have one name).
        personality, emotion, target_names : list of str
        polarity : dict
        left_out : DataFrame
            With a column ``source``.
        name, DESCR : str

    Raises
    ------
    ValueError
        If there is nothing to join, or two sets mean different things by one name: opposite
        polarities, or personality in one and emotion in the other.

    Examples
    --------
    >>> from persona_affect.datasets import combine, load_afew_va, load_first_impressions
    >>> from persona_affect.datasets import write_miniature
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clips, frames = folder + "/clips", folder + "/frames"
    ...     _ = write_miniature("first-impressions", clips, n_clips=3, n_frames=2)
    ...     _ = write_miniature("afew-va", frames, n_clips=2, n_frames=2)
    ...     both = combine(load_first_impressions(clips), load_afew_va(frames))
    >>> X, y, groups = both.data, both.target, both.groups
    >>> X.shape, y.shape, y.count().tolist()
    ((7,), (7, 7), [3, 3, 3, 3, 3, 4, 4])
    """
    if not datasets:
        raise ValueError("There is nothing to combine: pass data sets as the loaders return them.")
    personality = _union(PERSONALITY_NAMES, [data.personality for data in datasets])
    emotion = _union(EMOTION_NAMES, [data.emotion for data in datasets])
    both = [name for name in personality if name in emotion]
    if both:
        raise ValueError(f"{both} are personality targets in one set and emotion in another.")
    polarity: dict[str, int] = {}
    for data in datasets:
        for name, sign in data.polarity.items():
            if polarity.setdefault(name, sign) != sign:
                raise ValueError(
                    f"{name!r} has opposite polarities in the sets; load one of them flipped "
                    "(flip_neuroticism=True for First Impressions)."
                )
    names = [data.name for data in datasets]
    sources = [
        name if names.count(name) == 1 else f"{name}-{i}" for i, name in enumerate(names, start=1)
    ]
    tables = [data.target.reindex(columns=[*personality, *emotion]) for data in datasets]
    columns = ["source", "path", "problem"]
    left_out = [
        data.left_out.assign(source=source)[columns]
        for data, source in zip(datasets, sources, strict=True)
    ]
    return Bunch(
        name="+".join(sources),
        data=np.concatenate([data.data for data in datasets]),
        target=pd.concat(tables, ignore_index=True),
        groups=np.concatenate(
            [
                np.array([f"{source}:{group}" for group in data.groups])
                for data, source in zip(datasets, sources, strict=True)
            ]
        ),
        split=np.concatenate([data.split for data in datasets]),
        source=np.repeat(sources, [len(data.data) for data in datasets]),
        personality=personality,
        emotion=emotion,
        target_names=[*personality, *emotion],
        polarity=polarity,
        left_out=pd.concat(left_out, ignore_index=True),
        DESCR="\n\n".join(dict.fromkeys(data.DESCR for data in datasets)),
    )


def _union(default: tuple[str, ...], lists: list[list[str]]) -> list[str]:
    """Join lists of names, the default ones first and in their order."""
    names = list(dict.fromkeys(name for each in lists for name in each))
    return [*(n for n in default if n in names), *(n for n in names if n not in default)]
