"""One Million Impressions: synthetic portraits with mean human ratings."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from persona_affect.datasets._folders import (
    IMAGE_SUFFIXES,
    Check,
    LeftOut,
    check_files,
    check_root,
    layout_error,
    list_files,
    make_bunch,
    walk_data,
)
from persona_affect.datasets._miniatures import PIXELS, save_photo
from persona_affect.datasets._registry import (
    DatasetFormat,
    FormatOption,
    parse_bool,
    parse_names,
    register_format,
)
from persona_affect.datasets._synthetic import make_affect_faces
from persona_affect.exceptions import DatasetFormatError
from persona_affect.metrics import PERSONALITY_NAMES

from .csv_table import read_table

NAME: Final = "omi"
_LAYOUT: Final = "ratings.csv with a column stimulus, and images/<stimulus>.jpg"
_RATINGS: Final = "ratings.csv"
_INDEX: Final = "stimulus"
#: Names of a miniature's impressions.
_IMPRESSIONS: Final = ("trustworthy", "attractive", "dominant", "smart", "happy", "outgoing")

DESCR: Final = """One Million Impressions

Synthetic portraits (256 pixels) with the means of human ratings of impressions (trustworthy, happy,
dominant, ...) on sliders from 0 to 100. The attributes are impressions with names of their own, not
the Big Five; here they count as personality targets. The portraits show no real person: each is a
group. There is no official split.

Units: 0 to 100 as published; 0 to 1 with unit_range=True.

Citation: Peterson, Uddenberg, Griffiths, Todorov, Suchow, "Deep models of superficial face
judgments", PNAS 119, 2022.
Licence: CC BY-NC-SA 4.0: non-commercial, share alike, credit. This package contains none of it."""


def load_omi(
    root: str | PathLike[str],
    *,
    attributes: Sequence[str] | None = None,
    unit_range: bool = False,
    check: Check = "open",
    verbose: bool = False,
) -> Bunch:
    """Load portraits of One Million Impressions from a folder, as paths.

    Parameters
    ----------
    root : path-like
        Folder that holds ``ratings.csv`` and ``images``, directly or further below.
    attributes : sequence of str or None, default=None
        Which attributes, in which order; None for all, in the file's order.
    unit_range : bool, default=False
        Whether to divide the ratings by 100.
    check : {"open", "decode"} or None, default="open"
        Check that each portrait can be opened and is complete, or decode it, or check nothing.
    verbose : bool, default=False
        Show a progress bar of the check.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        data : ndarray of object, shape (n_samples,)
            Paths of portraits; nothing is decoded.
        target : DataFrame of shape (n_samples, n_attributes)
            Mean ratings from 0 to 100 (to 1 with `unit_range`), NaN where one is missing.
        groups, split : ndarray of str, shape (n_samples,)
            The portrait's number; empty strings, since there is no official split.
        polarity, personality, emotion, target_names, left_out, name, DESCR
            As :func:`load_first_impressions` has them; all attributes count as personality.

    Raises
    ------
    DatasetFormatError
        If the folder has another layout, or no portrait can be used.
    ValueError
        If an attribute is not in the file.

    Warns
    -----
    MediaWarning
        Once, counting and naming what was left out.

    Examples
    --------
    >>> import tempfile
    >>> from persona_affect.datasets import load_omi, write_miniature
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_miniature("omi", folder, n_clips=4, n_frames=2)
    ...     load_omi(folder, attributes=["happy"]).target.shape
    (4, 1)
    """
    folder = check_root(root, _LAYOUT)
    left_out = LeftOut(NAME)
    found = [
        here / _RATINGS
        for here, folders, files in walk_data(folder, left_out)
        if _recognise(here, folders, files)
    ]
    if not found:
        raise layout_error(folder, _LAYOUT)
    path = found[0]
    table = read_table(path)
    if _INDEX not in table:
        raise DatasetFormatError(f"{path} has no column {_INDEX!r}; it has {list(table.columns)}.")
    names = [name for name in table.columns if name != _INDEX]
    chosen = names if attributes is None else list(attributes)
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise ValueError(f"attributes={unknown} are not among {names}.")
    ratings = _in_range(table[chosen], table[_INDEX], path, left_out)
    folder = path.parent / "images"
    images = [_find_image(folder, str(stimulus)) for stimulus in table[_INDEX]]
    for image in images:
        if not image.exists():
            left_out.add(image, "there is no such file.")
    listed = set(images)
    for image in map(folder.joinpath, list_files(folder, left_out)):
        if image.suffix.lower() in IMAGE_SUFFIXES and image not in listed:
            left_out.add(image, "there is no rating of this portrait.")
    rated = ratings.notna().any(axis=1).to_numpy()
    rows = [i for i, image in enumerate(images) if rated[i] and image.exists()]
    good = check_files([str(images[i]) for i in rows], check, left_out, verbose)
    rows = [i for i, is_good in zip(rows, good, strict=True) if is_good]
    return make_bunch(
        name=NAME,
        sources=[str(images[i]) for i in rows],
        target=ratings.iloc[rows] / (100 if unit_range else 1),
        groups=[str(stimulus) for stimulus in table[_INDEX].iloc[rows]],
        personality=chosen,
        left_out=left_out,
        descr=DESCR,
    )


def _in_range(
    table: pd.DataFrame, stimuli: "pd.Series[str]", path: Path, left_out: LeftOut
) -> pd.DataFrame:
    """Read ratings as numbers; all that are not from 0 to 100 are noted and become NaN."""
    # Without astype, a table without rows would keep columns of strings.
    ratings = table.apply(pd.to_numeric, errors="coerce").astype(float)
    bad = (ratings.isna() & table.notna() & (table != "")) | (ratings < 0) | (ratings > 100)
    for row in bad.index[bad.any(axis=1)]:
        left_out.add(path, f"stimulus {stimuli[row]!r} has ratings that are not from 0 to 100.")
    return ratings.mask(bad)


def _find_image(folder: Path, stimulus: str) -> Path:
    # A name from the file must not point outside the folder.
    name = Path(stimulus).name
    candidates = [folder / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES]
    return next((path for path in candidates if path.exists()), candidates[0])


def _write_miniature(root: Path, n_clips: int, _: int, rng: np.random.RandomState) -> pd.DataFrame:
    drawn = make_affect_faces(n_clips, halves="personality", image_size=PIXELS, random_state=rng)
    (root / "images").mkdir()
    stimuli = np.sort(rng.choice(np.arange(2, 1005), n_clips, replace=False))
    # Impressions are invented from the rendered traits and emotions.
    shown = drawn.truth[[*PERSONALITY_NAMES[:2], "arousal", "valence", *PERSONALITY_NAMES[2:4]]]
    ratings = 100 * (shown - [0, 0, -1, -1, 0, 0]) / [1, 1, 2, 2, 1, 1]
    ratings = ratings.set_axis(_IMPRESSIONS, axis=1).round(3)
    ratings.insert(0, "stimulus", stimuli)
    ratings.to_csv(root / _RATINGS, index=False)
    for stimulus, image in zip(stimuli, drawn.data, strict=True):
        save_photo(root / "images" / f"{stimulus}.jpg", image)
    return ratings


def _recognise(folder: Path, folders: Sequence[str], files: Sequence[str]) -> bool:
    return _RATINGS in files


register_format(
    DatasetFormat(
        name=NAME,
        load=load_omi,
        layout=_LAYOUT,
        recognise=_recognise,
        options=(
            FormatOption("attributes", parse_names, "Only these attributes: happy,smart."),
            FormatOption("unit_range", parse_bool, "Divide the ratings by 100."),
        ),
        miniatures={"published": _write_miniature},
    )
)
