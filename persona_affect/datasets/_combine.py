"""Data sets together, and data sets by the name of their format."""

from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from persona_affect.metrics import EMOTION_NAMES, PERSONALITY_NAMES

from ._registry import get_format, recognise_format


def load_dataset(
    root: str | PathLike[str], format: str | None = None, split: str | None = None, **options: Any
) -> Bunch:
    """Load a data set by the name of its format.

    Parameters
    ----------
    root : path-like
        The data set's folder, or a CSV file.
    format : str or None, default=None
        One of :data:`FORMATS`: ``"first-impressions"``, ``"afew-va"``, ``"aff-wild"``, ``"omi"``,
        ``"csv"``, or one that was registered with :func:`register_format`. None to recognise it by
        its files.
    split : {"train", "val", "test"} or None, default=None
        Which official part; an error for formats without parts.
    **options
        Further parameters of the format's loader.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        As :func:`load_first_impressions`, :func:`load_afew_va`, :func:`load_aff_wild`,
        :func:`load_omi`, :func:`load_csv` or the registered loader gives it.

    Raises
    ------
    DatasetFormatError
        If no format, or more than one, recognises the files, or as the loader raises it.
    ValueError
        If the format is unknown, or has no parts to choose from.

    Examples
    --------
    >>> import tempfile
    >>> from persona_affect.datasets import load_dataset, write_miniature
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_miniature("omi", folder, n_clips=4, n_frames=2)
    ...     load_dataset(folder).name
    'omi'
    """
    spec = recognise_format(root) if format is None else get_format(format)
    if spec.parts:
        return spec.load(root, split, **options)
    if split is not None:
        raise ValueError(f"{spec.name} has no official parts: leave out split={split!r}.")
    return spec.load(root, **options)


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
            The samples of all sets, one set after the other: X.
        target : DataFrame of shape (n_samples, n_targets)
            y: the union of the targets, personality first, the default seven in their usual order;
            NaN where a set was not rated on one.
        groups, split, source : ndarray of str, shape (n_samples,)
            Groups, with the name of the set before them, so that groups of two sets are never the
            same; official parts; and the name of the set (with its position, if two sets have the
            same name).
        personality, emotion, target_names : list of str
            Columns of each kind, and all of them in the order of `target`.
        polarity : dict
            +1 or -1 for each target, as in the sets.
        left_out : DataFrame
            With a column ``source``.
        name, DESCR : str
            Names and descriptions of all sets.

    Raises
    ------
    ValueError
        If there is nothing to join, or if a target means different things in two sets: opposite
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
