"""AFEW-VA: clips of films, each frame rated on arousal and valence."""

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from persona_affect.datasets._folders import (
    IMAGE_SUFFIXES,
    Check,
    LeftOut,
    check_files,
    check_frame_choice,
    check_root,
    choose_frames,
    layout_error,
    make_bunch,
    walk_data,
)
from persona_affect.datasets._miniatures import PIXELS, save_photo
from persona_affect.datasets._registry import FRAME_OPTIONS, DatasetFormat, register_format
from persona_affect.datasets._synthetic import make_affect_faces
from persona_affect.exceptions import DatasetFormatError
from persona_affect.metrics import EMOTION_NAMES

NAME: Final = "afew-va"
_LAYOUT: Final = (
    "folders <id>/ (001 to 600), each with <id>.json and its frames <frame>.png (00000.png)"
)
#: The annotation of a clip has about 100 kilobytes. JSON can take 35 times its bytes in memory.
_MAX_BYTES: Final = 2**22
#: The number of a frame has fewer digits.
_DIGITS: Final = 10
#: Published values are whole numbers from -10 to 10.
_SCALE: Final = 10.0

DESCR: Final = """AFEW-VA

600 clips of feature films, about 30,000 frames, each rated on arousal and valence from -10 to 10,
here divided by 10, and marked with 68 landmarks. There is no official split. A clip is a group:
keep its frames on one side of a split.

Citation: Kossaifi, Tzimiropoulos, Todorovic, Pantic, "AFEW-VA database for valence and arousal
estimation in-the-wild", Image and Vision Computing 65, 2017.
Licence: the iBUG group at Imperial College London gives it for academic, non-commercial research.
This package contains none of it."""


def load_afew_va(
    root: str | PathLike[str],
    *,
    every: int = 1,
    n_frames: int | None = None,
    check: Check = "open",
    verbose: bool = False,
) -> Bunch:
    """Load AFEW-VA from a folder, as references to its frames.

    Parameters
    ----------
    root : path-like
        Folder that holds the clips' folders, directly or in the folders of its archives.
    every : int, default=1
        Take each `every`-th frame of a clip.
    n_frames : int or None, default=None
        Take at most this many frames of a clip, at the centres of equal segments.
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
            The clip; empty strings, since there is no official split.
        frames : ndarray of int, shape (n_samples,)
            Number of the frame in its clip.
        polarity, personality, emotion, target_names, left_out, name, DESCR
            As :func:`load_first_impressions` has them.

    Raises
    ------
    DatasetFormatError
        If the folder has another layout, or no frame can be used.
    ValueError
        If `every` or `n_frames` is less than 1, or both are given.

    Warns
    -----
    MediaWarning
        Once, counting and naming what was left out: images and annotations, missing or damaged.

    Examples
    --------
    >>> import tempfile
    >>> from persona_affect.datasets import load_afew_va, write_miniature
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_miniature("afew-va", folder, n_clips=4, n_frames=2)
    ...     load_afew_va(folder).target.shape
    (8, 2)
    """
    folder = check_root(root, _LAYOUT)
    check_frame_choice(every, n_frames)
    left_out = LeftOut(NAME)
    rows: list[tuple[str, str, int, float, float]] = []
    n_clips = 0
    for here, below, files in walk_data(folder, left_out):
        name = f"{here.name}.json"
        if name in files:
            n_clips += 1
            below.clear()
            rows += _read_clip(here, set(files), every, n_frames, left_out)
        elif here.name.isdigit() and any(Path(file).suffix in IMAGE_SUFFIXES for file in files):
            left_out.add(here / name, "there is no such annotation beside its frames.")
    if not n_clips:
        raise layout_error(folder, _LAYOUT)
    good = check_files([row[0] for row in rows], check, left_out, verbose)
    table = pd.DataFrame(rows, columns=["path", "clip", "frame", "arousal", "valence"])[good]
    return make_bunch(
        name=NAME,
        sources=table["path"].tolist(),
        target=table[list(EMOTION_NAMES)],
        groups=table["clip"].tolist(),
        emotion=EMOTION_NAMES,
        left_out=left_out,
        descr=DESCR,
        frames=table["frame"].to_numpy(dtype=int),
    )


def _read_clip(
    folder: Path, files: set[str], every: int, n_frames: int | None, left_out: LeftOut
) -> list[tuple[str, str, int, float, float]]:
    """Read a clip's labels, and list its chosen frames."""
    path = folder / f"{folder.name}.json"
    try:
        frames = _read_frames(path)
    except DatasetFormatError as error:
        left_out.add(path, str(error))
        return []
    names = sorted((n for n in frames if n.isdecimal() and len(n) < _DIGITS), key=int)
    for name in frames.keys() - set(names):
        left_out.add(path, f"the frame {name[:20]!r} has no number.")
    rows = []
    for name in (names[i] for i in choose_frames(len(names), every, n_frames)):
        label = _read_label(frames[name])
        image = next(
            (name + suffix for suffix in IMAGE_SUFFIXES[::-1] if name + suffix in files), ""
        )
        if label is None:
            left_out.add(path, f"frame {name}: no arousal and valence from -10 to 10.")
        elif not image:
            left_out.add(folder / f"{name}.png", "there is no such file.")
        else:
            rows.append((str(folder / image), folder.name, int(name), *label))
    return rows


def _read_frames(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DatasetFormatError(f"the annotation has more than {_MAX_BYTES:,} bytes.")
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetFormatError(f"the annotation cannot be read: {error}.") from error
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, dict):
        raise DatasetFormatError('the annotation has no "frames".')
    return frames


def _read_label(frame: Any) -> tuple[float, float] | None:
    values: list[Any] = [
        frame.get(name) if isinstance(frame, dict) else None for name in EMOTION_NAMES
    ]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return None
    arousal, valence = values
    if not (abs(arousal) <= _SCALE and abs(valence) <= _SCALE):
        return None
    return arousal / _SCALE, valence / _SCALE


def _write_miniature(
    root: Path, n_clips: int, n_frames: int, rng: np.random.RandomState
) -> pd.DataFrame:
    drawn = make_affect_faces(
        n_clips, n_frames, halves="emotion", image_size=PIXELS, random_state=rng
    )
    rows = []
    for clip in range(n_clips):
        name = f"{clip + 1:03d}"
        folder = root / name
        folder.mkdir()
        frames = {}
        for t in range(n_frames):
            i = clip * n_frames + t
            arousal, valence = (
                float(np.rint(10 * drawn.target[n][i])) for n in ("arousal", "valence")
            )
            # The file needs 68 landmarks; the five rendered ones are repeated.
            points = np.resize(drawn.landmarks[i], (68, 2)).round(2).tolist()
            frames[f"{t:05d}"] = {"valence": valence, "arousal": arousal, "landmarks": points}
            save_photo(folder / f"{t:05d}.png", drawn.data[i])
            rows.append((name, t, arousal, valence))
        content = {"video_id": name, "frames": frames, "actor": "rendered"}
        (folder / f"{name}.json").write_text(json.dumps(content))
    return pd.DataFrame(rows, columns=["clip", "frame", "arousal", "valence"])


def _recognise(folder: Path, folders: Sequence[str], files: Sequence[str]) -> bool:
    return f"{folder.name}.json" in files


register_format(
    DatasetFormat(
        name=NAME,
        load=load_afew_va,
        layout=_LAYOUT,
        recognise=_recognise,
        options=FRAME_OPTIONS,
        miniatures={"published": _write_miniature},
    )
)
