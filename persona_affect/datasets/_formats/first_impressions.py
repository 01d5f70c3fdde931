"""ChaLearn First Impressions V2: clips of speakers, rated on the apparent Big Five."""

import re
from collections.abc import Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from persona_affect.datasets._annotations import dump_as_python2, read_ratings
from persona_affect.datasets._folders import (
    IMAGE_SUFFIXES,
    SPLITS,
    Check,
    LeftOut,
    Source,
    check_files,
    check_root,
    check_split,
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
    register_format,
)
from persona_affect.datasets._synthetic import make_affect_clips
from persona_affect.exceptions import DatasetFormatError
from persona_affect.media import FrameSequence, VideoWriter
from persona_affect.metrics import PERSONALITY_NAMES

NAME: Final = "first-impressions"
#: Files of the annotations, by our names of the parts.
ANNOTATIONS: Final = {
    "train": "annotation_training.pkl",
    "val": "annotation_validation.pkl",
    "test": "annotation_test.pkl",
}
_LAYOUT: Final = (
    "annotation_training.pkl, annotation_validation.pkl, annotation_test.pkl, and the clips "
    "<video id>.<nnn>.mp4, or folders <video id>.<nnn>/ of face images"
)
#: Folders of a miniature, named as in the archives, and as in the DeepPersonality benchmark.
_FOLDERS: Final = {"train": "train", "val": "validation", "test": "test"}
_FACE_FOLDERS: Final = {"train": "train", "val": "valid", "test": "test"}
_CLIP = re.compile(r"(?P<video>.+?)\.\d{3}(\.mp4)?", re.IGNORECASE)

DESCR: Final = """ChaLearn First Impressions V2

10,000 clips of about 15 seconds of people who speak to a camera, from YouTube; 6,000 for training,
2,000 for validation, 2,000 for the test. Raters on Amazon Mechanical Turk compared clips in pairs;
the labels are values in [0, 1] fitted to the comparisons. They are apparent traits: impressions of
raters, with their prejudices, not what the people are like.

Units and polarity: [0, 1]. The file's "neuroticism" is high for clips that look emotionally
STABLE: `polarity["neuroticism"]` is -1 for the labels as published, and +1 after
flip_neuroticism=True, which gives 1 - label. CCC, r, RMSE and accuracy are the same either way.

Groups are the videos that clips were cut from. The official parts share some videos: the speaker of
a test clip may also be in the training part.

Citation: Ponce-Lopez et al., "ChaLearn LAP 2016: First Round Challenge on First Impressions", ECCV
Workshops 2016; Escalante et al., "Modeling, Recognizing, and Explaining Apparent Personality from
Videos", IEEE Transactions on Affective Computing, 2020.
Licence: ChaLearn Looking at People gives it for research, under the terms stated there; the clips
belong to their authors. This package contains none of it."""


def load_first_impressions(
    root: str | PathLike[str],
    split: Literal["train", "val", "test"] | None = None,
    *,
    media: Literal["auto", "videos", "frames"] = "auto",
    flip_neuroticism: bool = False,
    check: Check = "open",
    verbose: bool = False,
) -> Bunch:
    """Load ChaLearn First Impressions V2 from a folder, as references to its clips.

    Annotations and clips are found by their names, in any folder below `root`. The pickles of the
    annotations are read without running them.

    Parameters
    ----------
    root : path-like
        Folder that holds the annotations and the clips.
    split : {"train", "val", "test"} or None, default=None
        Which official part; None for all.
    media : {"auto", "videos", "frames"}, default="auto"
        ``"videos"``: the clips ``<video id>.<nnn>.mp4``. ``"frames"``: folders of that name (with
        or without the suffix) of images, as other toolkits extract them
        (``image_data/train_data_face/<clip>/face_N.jpg``). ``"auto"``: videos if there are any.
    flip_neuroticism : bool, default=False
        Whether to give 1 - label for neuroticism, which is published as emotional stability.
    check : {"open", "decode"} or None, default="open"
        Check that each file can be opened and is complete, or decode a part of it, or check
        nothing.
    verbose : bool, default=False
        Show a progress bar of the check.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        data : ndarray of object, shape (n_samples,)
            Paths of videos, or :class:`persona_affect.media.FrameSequence`; nothing is decoded.
        target : DataFrame of shape (n_samples, 5)
            ``extraversion, agreeableness, conscientiousness, neuroticism, openness`` in [0, 1], NaN
            where a clip was not rated.
        interview : ndarray of shape (n_samples,)
            The score "would invite to a job interview" in [0, 1]; NaN where the file has none. Do
            not use predictions for such decisions.
        groups, split : ndarray of str, shape (n_samples,)
            The video that a clip was cut from; ``"train"``, ``"val"`` or ``"test"``.
        clips : ndarray of str, shape (n_samples,)
            Names as in the annotations.
        polarity : dict
            +1, or -1 for a target with a low label for a high trait.
        personality, emotion, target_names : list of str
            Columns of each kind, and all of them in the order of `target`.
        left_out : DataFrame
            ``path`` and ``problem`` of each missing or damaged file.
        name, DESCR : str
            The citation and the licence are in DESCR.

    Raises
    ------
    DatasetFormatError
        If the folder has another layout (the message says what was expected and found), if an
        annotation is damaged or out of range, or if no clip can be used.
    UnsafePickleError
        If an annotation file contains more than plain data. Nothing in it was run.
    ValueError
        If there is no such `split`.

    Warns
    -----
    MediaWarning
        Once, counting and naming what was left out.

    Examples
    --------
    >>> import tempfile
    >>> from persona_affect.datasets import load_first_impressions, write_miniature
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_miniature("first-impressions", folder, n_clips=5, n_frames=2, layout="faces")
    ...     load_first_impressions(folder, "train").target.shape
    (3, 5)
    """
    folder = check_root(root, _LAYOUT)
    wanted = check_split(split)
    if media not in ("auto", "videos", "frames"):
        raise ValueError(f'media={media!r} is none of "auto", "videos" and "frames".')
    left_out = LeftOut(NAME)
    annotations, videos, folders = _find(folder, left_out)
    missing = [part for part in wanted if part not in annotations]
    if len(missing) == len(wanted):
        raise layout_error(folder, _LAYOUT)
    for part in missing:
        left_out.add(ANNOTATIONS[part], "there is no such annotation; its clips are not loaded.")
    use_videos = media == "videos" or (media == "auto" and bool(videos))
    labels = _read_labels({p: annotations[p] for p in wanted if p in annotations}, left_out)
    sources: list[Source] = []
    kept = []
    if use_videos:
        found = [videos.get(_plain(clip)) for clip in labels.index]
        there = [i for i, path in enumerate(found) if path is not None]
        good = check_files([str(found[i]) for i in there], check, left_out, verbose)
        kept = [i for i, is_good in zip(there, good, strict=True) if is_good]
        sources = [str(found[i]) for i in kept]
        absent = [i for i, path in enumerate(found) if path is None]
    else:
        absent = []
        for i, clip in enumerate(labels.index):
            where = folders.get(_plain(clip))
            frames = None if where is None else _sequence(where, check, left_out)
            if where is None:
                absent.append(i)
            elif frames is None:
                left_out.add(where, "the folder has no image that can be read.")
            else:
                kept.append(i)
                sources.append(frames)
    kind = "video" if use_videos else "folder of images"
    for i in absent:
        left_out.add(labels.index[i], f"there is no such {kind}.")
    labels = labels.iloc[kept]
    traits = labels[list(PERSONALITY_NAMES)].copy()
    if flip_neuroticism:
        traits["neuroticism"] = 1 - traits["neuroticism"]
    return make_bunch(
        name=NAME,
        sources=sources,
        target=traits,
        groups=[_video_of(clip) for clip in labels.index],
        split=labels["split"].tolist(),
        personality=PERSONALITY_NAMES,
        polarity={
            name: -1 if name == "neuroticism" and not flip_neuroticism else 1
            for name in PERSONALITY_NAMES
        },
        left_out=left_out,
        descr=DESCR,
        interview=labels["interview"].to_numpy(),
        clips=labels.index.to_numpy(dtype=str),
    )


def _plain(clip: str) -> str:
    """Remove the suffix, which may be in capitals; in the rest of a name, case matters."""
    return clip[:-4] if clip.lower().endswith(".mp4") else clip


def _video_of(clip: str) -> str:
    match = _CLIP.fullmatch(clip)
    return match["video"] if match else Path(clip).stem


def _find(
    root: Path, left_out: LeftOut
) -> tuple[dict[str, Path], dict[str, Path], dict[str, Path]]:
    """Find annotations by part, and videos and folders of images by the clip's name."""
    annotations: dict[str, Path] = {}
    videos: dict[str, Path] = {}
    folders: dict[str, Path] = {}
    parts = {name: part for part, name in ANNOTATIONS.items()}
    for here, below, files in walk_data(root, left_out):
        for name in files:
            if name.lower() in parts:
                annotations.setdefault(parts[name.lower()], here / name)
            elif name.lower().endswith(".mp4"):
                videos.setdefault(_plain(name), here / name)
        clips = [name for name in below if _CLIP.fullmatch(name)]
        for name in clips:
            folders.setdefault(_plain(name), here / name)
            below.remove(name)
    return annotations, videos, folders


def _read_labels(paths: dict[str, Path], left_out: LeftOut) -> pd.DataFrame:
    """Read annotations: a row per clip, its traits, ``interview`` and ``split``."""
    parts = []
    for split, path in paths.items():
        ratings = read_ratings(path)
        missing = [name for name in PERSONALITY_NAMES if name not in ratings]
        if missing:
            raise DatasetFormatError(
                f"{path} lacks the traits {missing}; it has {sorted(map(str, ratings))}."
            )
        table = pd.DataFrame(
            {name: ratings.get(name, {}) for name in (*PERSONALITY_NAMES, "interview")},
            dtype=float,
        )
        outside = (table < 0) | (table > 1)
        if outside.to_numpy().any():
            clip = table.index[outside.any(axis=1)][0]
            raise DatasetFormatError(f"{path}: a rating of {clip!r} is outside [0, 1].")
        unrated = table[list(PERSONALITY_NAMES)].isna().all(axis=1)
        for clip in table.index[unrated]:
            left_out.add(clip, "the clip is rated on no trait.")
        parts.append(table[~unrated].assign(split=split))
    labels = pd.concat(parts)
    if labels.index.has_duplicates:
        clip = labels.index[labels.index.duplicated()][0]
        raise DatasetFormatError(f"The clip {clip!r} is in two of {sorted(map(str, paths))}.")
    return labels


def _sequence(folder: Path, check: Check, left_out: LeftOut) -> FrameSequence | None:
    """List a folder's images, in the order of their numbers; None if none can be read."""

    def order(path: Path) -> tuple[int, str]:
        digits = re.findall(r"\d+", path.stem)
        return (int(digits[-1]) if digits else -1, path.name)

    files = map(folder.joinpath, list_files(folder, left_out))
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    paths = [str(path) for path in sorted(images, key=order)]
    good = check_files(paths, check, left_out)
    kept = tuple(path for path, is_good in zip(paths, good, strict=True) if is_good)
    return FrameSequence(kept) if kept else None


def _write_miniature(
    root: Path, n_clips: int, n_frames: int, rng: np.random.RandomState, *, faces: bool
) -> pd.DataFrame:
    """Write two clips for each video, since most published videos have several."""
    n_videos = -(-n_clips // 2)
    drawn = make_affect_clips(
        n_videos, 2, n_frames=n_frames, halves="personality", image_size=PIXELS, random_state=rng
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
    for part, file_name in ANNOTATIONS.items():
        own = traits[split == part]
        (root / file_name).write_bytes(dump_as_python2(own.to_dict()))
    for i, clip in enumerate(clips):
        if faces:
            where = root / "image_data" / f"{_FACE_FOLDERS[split[i]]}_data_face" / clip[:-4]
            where.mkdir(parents=True)
            for t, frame in enumerate(drawn.data[i], start=1):
                save_photo(where / f"face_{t}.jpg", frame)
        else:
            where = root / _FOLDERS[split[i]]
            where.mkdir(exist_ok=True)
            with VideoWriter(where / clip, rate=25, size=(PIXELS, PIXELS), quality=18) as video:
                for frame in drawn.data[i]:
                    video.write(frame)
    return traits.assign(split=split)


def _recognise(folder: Path, folders: Sequence[str], files: Sequence[str]) -> bool:
    return any(name.lower() in ANNOTATIONS.values() for name in files)


register_format(
    DatasetFormat(
        name=NAME,
        load=load_first_impressions,
        layout=_LAYOUT,
        recognise=_recognise,
        parts=SPLITS,
        options=(
            FormatOption(
                "flip_neuroticism",
                parse_bool,
                "Neuroticism is published high for clips that look stable; give 1 - label.",
            ),
            FormatOption("media", str, "videos or frames: use only this kind of clips."),
        ),
        miniatures={
            "published": partial(_write_miniature, faces=False),
            "faces": partial(_write_miniature, faces=True),
        },
        min_clips=3,
    )
)
