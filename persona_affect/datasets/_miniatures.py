"""Small copies of the data sets' folders, to the byte in their layout, with rendered faces."""

import json
import pickle
import struct
from collections.abc import Mapping
from itertools import chain, repeat
from os import PathLike
from pathlib import Path
from typing import Final, Literal

import av
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from sklearn.utils import Bunch, check_random_state

from persona_affect.metrics import PERSONALITY_NAMES

from . import _afew_va, _aff_wild, _first_impressions, _omi
from ._synthetic import make_affect_clips, make_affect_faces

_PIXELS: Final = 128
_FOLDERS: Final = {"train": "train", "val": "validation", "test": "test"}
#: Where the benchmark of other authors keeps extracted faces.
_FACE_FOLDERS: Final = {"train": "train", "val": "valid", "test": "test"}
_IMPRESSIONS: Final = ("trustworthy", "attractive", "dominant", "smart", "happy", "outgoing")


def write_miniature(
    name: Literal["first-impressions", "afew-va", "aff-wild", "omi"],
    root: str | PathLike[str],
    *,
    n_clips: int = 20,
    n_frames: int = 6,
    layout: Literal["published", "faces"] = "published",
    random_state: int | np.random.RandomState | None = 0,
) -> Bunch:
    """Write a small copy of a data set's folder, with rendered faces in place of people.

    To learn a layout, and to try all that reads one, before the data set is there. Labels follow
    what the renderer shows, see :func:`make_affect_clips`, in the units that the files have.

    Parameters
    ----------
    name : {"first-impressions", "afew-va", "aff-wild", "omi"}
    root : path-like
        Folder to make; it must be empty or not be there.
    n_clips : int, default=20
        Clips (portraits of ``"omi"``), 3 or more of First Impressions, 2 or more of others. Of
        First Impressions three fifths are for training and a fifth each for validation and test;
        of Aff-Wild four fifths for training, the rest for validation.
    n_frames : int, default=6
        Frames of a clip.
    layout : {"published", "faces"}, default="published"
        ``"faces"``, of First Impressions alone: folders of images in place of videos.
    random_state : int, RandomState instance or None, default=0

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        ``labels`` (DataFrame): what the files say, in the files' own units, by clip, or by clip and
        frame. ``DESCR``.

    Raises
    ------
    ValueError
        If a parameter is out of range, or the folder is in use.
    """
    writers = {
        _first_impressions.NAME: _write_first_impressions,
        _afew_va.NAME: _write_afew_va,
        _aff_wild.NAME: _write_aff_wild,
        _omi.NAME: _write_omi,
    }
    if name not in writers:
        raise ValueError(f"name={name!r} is none of {tuple(writers)}.")
    if layout not in ("published", "faces") or (layout == "faces" and name != "first-impressions"):
        raise ValueError(f"layout={layout!r} means nothing for {name}.")
    least = 3 if name == _first_impressions.NAME else 2
    if n_clips < least or n_frames < 2:
        raise ValueError(f"n_clips={n_clips} must be {least} or more, n_frames={n_frames} 2.")
    folder = Path(root)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there, and not an empty folder.")
    folder.mkdir(parents=True, exist_ok=True)
    rng = check_random_state(random_state)
    if name == _first_impressions.NAME:
        labels = _write_first_impressions(folder, n_clips, n_frames, rng, layout == "faces")
    else:
        labels = writers[name](folder, n_clips, n_frames, rng)
    return Bunch(
        labels=labels,
        DESCR=f"A miniature of {name} with {n_clips} rendered clips; no person is shown.",
    )


def _write_first_impressions(
    root: Path, n_clips: int, n_frames: int, rng: np.random.RandomState, faces: bool = False
) -> pd.DataFrame:
    """Two clips a video, as most of the published ones have several."""
    n_videos = -(-n_clips // 2)
    drawn = make_affect_clips(
        n_videos, 2, n_frames=n_frames, halves="personality", image_size=_PIXELS, random_state=rng
    )
    letters = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
    videos = ["".join(rng.choice(letters, 11)) for _ in range(n_videos)]
    clips = [f"{videos[i // 2]}.{i % 2:03d}.mp4" for i in range(n_clips)]
    traits = drawn.truth.iloc[:n_clips][list(PERSONALITY_NAMES)].set_axis(clips)
    # As published: high for clips that look stable.
    traits["neuroticism"] = 1 - traits["neuroticism"]
    traits["interview"] = traits.mean(axis=1)
    n_held_out = max(1, n_clips // 5)
    split = np.repeat(["train", "val", "test"], [n_clips - 2 * n_held_out, n_held_out, n_held_out])
    for part, file_name in _first_impressions.ANNOTATIONS.items():
        own = traits[split == part]
        (root / file_name).write_bytes(dump_as_python2(own.to_dict()))
    for i, clip in enumerate(clips):
        if faces:
            where = root / "image_data" / f"{_FACE_FOLDERS[split[i]]}_data_face" / clip[:-4]
            where.mkdir(parents=True)
            for t, frame in enumerate(drawn.data[i], start=1):
                Image.fromarray(frame).save(where / f"face_{t}.jpg", quality=95)
        else:
            where = root / _FOLDERS[split[i]]
            where.mkdir(exist_ok=True)
            _write_video(where / clip, drawn.data[i])
    return traits.assign(split=split)


def _write_afew_va(
    root: Path, n_clips: int, n_frames: int, rng: np.random.RandomState
) -> pd.DataFrame:
    drawn = make_affect_faces(
        n_clips, n_frames, halves="emotion", image_size=_PIXELS, random_state=rng
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
            # Five rendered landmarks stand for the 68.
            points = np.resize(drawn.landmarks[i], (68, 2)).round(2).tolist()
            frames[f"{t:05d}"] = {"valence": valence, "arousal": arousal, "landmarks": points}
            Image.fromarray(drawn.data[i]).save(folder / f"{t:05d}.png")
            rows.append((name, t, arousal, valence))
        content = {"video_id": name, "frames": frames, "actor": "rendered"}
        (folder / f"{name}.json").write_text(json.dumps(content))
    return pd.DataFrame(rows, columns=["clip", "frame", "arousal", "valence"])


def _write_aff_wild(
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
            Image.fromarray(drawn.data[i]).save(images / f"{t + 1:05d}.jpg", quality=95)
            rows.append((name, t + 1, arousal, valence))
        (texts / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return pd.DataFrame(rows, columns=["clip", "frame", "arousal", "valence"])


def _write_omi(root: Path, n_clips: int, _: int, rng: np.random.RandomState) -> pd.DataFrame:
    drawn = make_affect_faces(n_clips, halves="personality", image_size=_PIXELS, random_state=rng)
    (root / "images").mkdir()
    stimuli = np.sort(rng.choice(np.arange(2, 1005), n_clips, replace=False))
    # Impressions made up from what is shown.
    shown = drawn.truth[[*PERSONALITY_NAMES[:2], "arousal", "valence", *PERSONALITY_NAMES[2:4]]]
    ratings = 100 * (shown - [0, 0, -1, -1, 0, 0]) / [1, 1, 2, 2, 1, 1]
    ratings = ratings.set_axis(_IMPRESSIONS, axis=1).round(3)
    ratings.insert(0, "stimulus", stimuli)
    ratings.to_csv(root / "ratings.csv", index=False)
    for stimulus, image in zip(stimuli, drawn.data, strict=True):
        Image.fromarray(image).save(root / "images" / f"{stimulus}.jpg", quality=95)
    return ratings


def _write_video(path: Path, frames: NDArray[np.uint8]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def dump_as_python2(ratings: Mapping[str, Mapping[str, float]]) -> bytes:
    """Pickle ratings as Python 2 and its numpy did: protocol 2, byte strings, numpy scalars.

    Parameters
    ----------
    ratings : mapping of str to mapping of str to float
        Names of fewer than 256 characters.

    Returns
    -------
    bytes
    """

    def text(value: bytes) -> bytes:
        return pickle.SHORT_BINSTRING + bytes([len(value)]) + value

    def small(value: int) -> bytes:
        return pickle.BININT + struct.pack("<i", value)

    dtype = b"".join(
        [
            *(pickle.GLOBAL, b"numpy\ndtype\n", text(b"f8"), small(0), small(1)),
            *(pickle.TUPLE3, pickle.REDUCE),
            *(pickle.MARK, small(3), text(b"<"), pickle.NONE * 3, small(-1) * 2, small(0)),
            *(pickle.TUPLE, pickle.BUILD, pickle.BINPUT, b"\0"),
        ]
    )
    # The type is made once, and put at place 0 of the memo.
    types = chain([dtype], repeat(pickle.BINGET + b"\0"))

    def number(value: float) -> bytes:
        scalar = pickle.GLOBAL + b"numpy.core.multiarray\nscalar\n"
        content = text(struct.pack("<d", value))
        return scalar + next(types) + content + pickle.TUPLE2 + pickle.REDUCE

    parts = [pickle.PROTO, b"\2", pickle.EMPTY_DICT, pickle.MARK]
    for trait, values in ratings.items():
        parts += [text(trait.encode("latin1")), pickle.EMPTY_DICT, pickle.MARK]
        for clip, value in values.items():
            parts += [text(clip.encode("latin1")), number(value)]
        parts.append(pickle.SETITEMS)
    return b"".join([*parts, pickle.SETITEMS, pickle.STOP])
