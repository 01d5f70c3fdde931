"""Aff-Wild and Aff-Wild2: videos from the web, each frame rated on arousal and valence."""

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from persona_affect.datasets._folders import (
    IMAGE_SUFFIXES,
    SPLITS,
    Check,
    LeftOut,
    check_files,
    check_frame_choice,
    check_root,
    check_split,
    choose_frames,
    layout_error,
    list_files,
    make_bunch,
    walk_data,
)
from persona_affect.datasets._miniatures import save_photo
from persona_affect.datasets._registry import FRAME_OPTIONS, DatasetFormat, register_format
from persona_affect.datasets._synthetic import make_affect_faces
from persona_affect.exceptions import DatasetFormatError
from persona_affect.metrics import EMOTION_NAMES

NAME: Final = "aff-wild"
_LAYOUT: Final = (
    "a folder cropped_aligned/ with <video>/<frame>.jpg (00001.jpg), and a text file <video>.txt "
    "for each video, whose first line is valence,arousal"
)
_HEADER: Final = ("valence", "arousal")
#: Marks a frame that was not annotated.
_INVALID: Final = -5
#: A video of ten hours has about 20 megabytes of labels, in a million lines.
_MAX_BYTES: Final = 2**25
_MAX_LINES: Final = 2**20
#: Lines without labels of which each is named.
_MAX_NAMED: Final = 100

DESCR: Final = """Aff-Wild

Videos from YouTube, more than a million frames, each rated on valence and arousal in [-1, 1];
frames marked -5 are not annotated, and are left out. If the annotations are in folders for
training, validation and test (Train_Set, Validation_Set), these are the official parts. A video is
a group.

Citation: Zafeiriou et al., "Aff-Wild: Valence and Arousal 'In-the-Wild' Challenge", CVPR Workshops
2017; Kollias et al., "Deep Affect Prediction in-the-Wild: Aff-Wild Database and Challenge, Deep
Architectures, and Beyond", International Journal of Computer Vision 127, 2019; Kollias, Zafeiriou,
"Aff-Wild2: Extending the Aff-Wild Database for Affect Recognition", 2018.
Licence: its authors give it for non-commercial research, after a person with a permanent position
at a university has signed an agreement. This package contains none of it."""


def load_aff_wild(
    root: str | PathLike[str],
    split: Literal["train", "val", "test"] | None = None,
    *,
    every: int = 1,
    n_frames: int | None = None,
    check: Check = "open",
    verbose: bool = False,
) -> Bunch:
    """Load Aff-Wild or Aff-Wild2 from a folder, as references to its frames.

    Parameters
    ----------
    root : path-like
        Folder that holds ``cropped_aligned`` and the annotations, directly or further below.
    split : {"train", "val", "test"} or None, default=None
        Which official part, from the names of the annotations' folders; None for all.
    every : int, default=1
        Take each `every`-th of a video's annotated frames: neighbours are nearly the same.
    n_frames : int or None, default=None
        Take at most this many frames of a video, at the centres of equal segments.
    check : {"open", "decode"} or None, default="open"
        Check that each frame can be opened and is complete, or decode it, or check nothing.
    verbose : bool, default=False
        Show a progress bar of the check.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        data : ndarray of object, shape (n_samples,)
            Paths of frames; nothing is decoded.
        target : DataFrame of shape (n_samples, 2)
            ``arousal, valence`` in [-1, 1].
        groups, split : ndarray of str, shape (n_samples,)
            The video; ``"train"``, ``"val"``, ``"test"``, or empty if no folder is named so.
        frames : ndarray of int, shape (n_samples,)
            Number of the frame in its video, from 1.
        n_invalid : int
            Frames marked -5, which are left out.
        polarity, personality, emotion, target_names, left_out, name, DESCR
            As :func:`load_first_impressions` has them.

    Raises
    ------
    DatasetFormatError
        If the folder has another layout, or no frame can be used.
    ValueError
        If there is no such `split`; or if `every` or `n_frames` is less than 1, or both are given.

    Warns
    -----
    MediaWarning
        Once, counting and naming what was left out. Some crops are always missing: there is none
        where the authors' detector found no face.

    Examples
    --------
    >>> import tempfile
    >>> from persona_affect.datasets import load_aff_wild, write_miniature
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_miniature("aff-wild", folder, n_clips=4, n_frames=2)
    ...     load_aff_wild(folder).target.columns.tolist()
    ['arousal', 'valence']
    """
    folder = check_root(root, _LAYOUT)
    wanted = check_split(split)
    check_frame_choice(every, n_frames)
    left_out = LeftOut(NAME)
    images, texts = _find(folder, left_out)
    labels: dict[str, tuple[str, NDArray[np.float64]]] = {}
    for path in texts:
        _read_text(path, folder, images, labels, left_out)
    if not labels:
        raise layout_error(folder, _LAYOUT)
    for video in images.keys() - labels.keys():
        left_out.add(images[video], "there is no annotation of this video.")
    rows: list[tuple[str, str, str, int, float, float]] = []
    n_invalid = 0
    for video, (part, values) in labels.items():
        if part not in wanted and split is not None:
            continue
        n_invalid += int((values == _INVALID).any(axis=1).sum())
        rated = np.flatnonzero(((values >= -1) & (values <= 1)).all(axis=1))
        files = _number_files(images.get(video), left_out)
        if files is None:
            left_out.add(f"{video}/", "there is no such folder of frames.")
            continue
        unlabelled = sum(number > len(values) for number in files)
        if unlabelled:
            left_out.add(images[video], f"its last {unlabelled} frames have no label.")
        chosen = rated[choose_frames(len(rated), every, n_frames)] if len(rated) else rated
        for i in chosen:
            if i + 1 in files:
                image = os.path.join(images[video], files[i + 1])
                rows.append((image, video, part, int(i + 1), values[i, 1], values[i, 0]))
            else:
                left_out.add(images[video] / f"{i + 1:05d}.jpg", "there is no such file.")
    if split is not None and not any(part in wanted for part, _ in labels.values()):
        found = sorted({part or "no part" for part, _ in labels.values()})
        raise DatasetFormatError(
            f"{folder} has no annotations of the part {split!r}, only of {found}. Folders "
            "such as Train_Set and Validation_Set name the parts."
        )
    good = check_files([row[0] for row in rows], check, left_out, verbose)
    columns = ["path", "video", "split", "frame", "arousal", "valence"]
    table = pd.DataFrame(rows, columns=columns)[good]
    return make_bunch(
        name=NAME,
        sources=table["path"].tolist(),
        target=table[list(EMOTION_NAMES)],
        groups=table["video"].tolist(),
        split=table["split"].tolist(),
        emotion=EMOTION_NAMES,
        left_out=left_out,
        descr=DESCR,
        frames=table["frame"].to_numpy(dtype=int),
        n_invalid=n_invalid,
    )


def _find(root: Path, left_out: LeftOut) -> tuple[dict[str, Path], list[Path]]:
    """Find the folders of frames by video, and all text files."""
    images: dict[str, Path] = {}
    texts: list[Path] = []
    for here, below, files in walk_data(root, left_out):
        if here.name.lower().startswith("cropped"):
            for name in below:
                images.setdefault(name, here / name)
            below.clear()
            continue
        texts += [here / name for name in files if name.lower().endswith(".txt")]
    return images, texts


def _read_text(
    path: Path,
    root: Path,
    images: dict[str, Path],
    labels: dict[str, tuple[str, NDArray[np.float64]]],
    left_out: LeftOut,
) -> None:
    """Add a video's labels; ignore text files about something else."""
    video = path.stem
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it has more than {_MAX_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8-sig")
        if text.count("\n") > _MAX_LINES:
            raise ValueError(f"it has more than {_MAX_LINES:,} lines")
        header, *lines = text.splitlines() or [""]
    except (OSError, ValueError) as error:
        left_out.add(path, f"the annotation cannot be read: {error}.")
        return
    if tuple(name.strip().lower() for name in header.split(",")) != _HEADER:
        if video in images and video not in labels:
            left_out.add(path, "its first line is not valence,arousal.")
        return
    values = np.array([_read_line(line) for line in lines], dtype=np.float64).reshape(-1, 2)
    bad = np.flatnonzero(~((np.abs(values) <= 1) | (values == _INVALID)).all(axis=1))
    for line in bad[:_MAX_NAMED]:
        left_out.add(path, f"line {line + 2} has no valence and arousal from -1 to 1.")
    if len(bad) > _MAX_NAMED:
        left_out.add(path, f"nor have {len(bad) - _MAX_NAMED} lines more.")
    if video in labels:
        raise DatasetFormatError(f"Two files annotate the video {video!r}; one of them is {path}.")
    labels[video] = (_part_of(path, root), values)


def _read_line(line: str) -> tuple[float, float]:
    try:
        valence, arousal = line.split(",")
        return float(valence), float(arousal)
    except ValueError:
        return np.nan, np.nan


def _part_of(path: Path, root: Path) -> str:
    """Find the official part from the folders between the root and the file."""
    for name in reversed(path.relative_to(root).parts[:-1]):
        for part in ("train", "val", "test"):
            if name.lower().startswith(part):
                return part
    return ""


def _number_files(folder: Path | None, left_out: LeftOut) -> dict[int, str] | None:
    """Index a folder's images by their numbers."""
    if folder is None:
        return None
    stems = ((Path(name).stem, name) for name in list_files(folder, left_out))
    return {
        int(stem): name
        for stem, name in stems
        if stem.isdecimal() and Path(name).suffix.lower() in IMAGE_SUFFIXES
    }


def _write_miniature(
    root: Path, n_clips: int, n_frames: int, rng: np.random.RandomState
) -> pd.DataFrame:
    drawn = make_affect_faces(n_clips, n_frames, halves="emotion", image_size=112, random_state=rng)
    rows = []
    n_train = min(max(1, 4 * n_clips // 5), n_clips - 1)
    for clip in range(n_clips):
        name = f"{clip + 1}-30-1280x720"
        part = "Train_Set" if clip < n_train else "Validation_Set"
        images, texts = root / "cropped_aligned" / name, root / "annotations" / part
        images.mkdir(parents=True)
        texts.mkdir(parents=True, exist_ok=True)
        lines = ["valence,arousal"]
        for t in range(n_frames):
            i = clip * n_frames + t
            arousal, valence = (round(drawn.target[n][i], 3) for n in ("arousal", "valence"))
            if t == n_frames - 1:
                # The last frame of each video is one that was not annotated.
                arousal = valence = -5.0
            lines.append(f"{valence:g},{arousal:g}")
            save_photo(images / f"{t + 1:05d}.jpg", drawn.data[i])
            rows.append((name, t + 1, arousal, valence))
        (texts / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return pd.DataFrame(rows, columns=["clip", "frame", "arousal", "valence"])


def _recognise(folder: Path, folders: Sequence[str], files: Sequence[str]) -> bool:
    return any(name.lower().startswith("cropped") for name in folders)


register_format(
    DatasetFormat(
        name=NAME,
        load=load_aff_wild,
        layout=_LAYOUT,
        recognise=_recognise,
        parts=SPLITS,
        options=FRAME_OPTIONS,
        miniatures={"published": _write_miniature},
    )
)
