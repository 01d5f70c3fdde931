"""Small copies of the data sets' folders, in their layout, with rendered faces."""

from os import PathLike
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.utils import Bunch, check_random_state

from ._registry import FORMATS, get_format

#: Side of rendered pictures.
PIXELS: Final = 128


def write_miniature(
    name: str,
    root: str | PathLike[str],
    *,
    n_clips: int = 20,
    n_frames: int = 6,
    layout: str = "published",
    random_state: int | np.random.RandomState | None = 0,
) -> Bunch:
    """Write a small copy of a data set's folder, with rendered faces in place of people.

    It shows the layout of a data set, and lets you try code before you have the data set. Labels
    follow the rendered faces, see :func:`make_affect_clips`, in the units of the files.

    Parameters
    ----------
    name : str
        A format that has a miniature: ``"first-impressions"``, ``"afew-va"``, ``"aff-wild"``,
        ``"omi"`` or one registered with :func:`register_format`.
    root : path-like
        Folder to create; it must be empty or not exist.
    n_clips : int, default=20
        Clips (portraits of ``"omi"``), 3 or more of First Impressions, 2 or more of others. Of
        First Impressions three fifths are for training and a fifth each for validation and test;
        of Aff-Wild four fifths for training, the rest for validation.
    n_frames : int, default=6
        Frames of a clip, 2 or more.
    layout : str, default="published"
        How the files are laid out: ``"published"``, or another layout of the format;
        ``"faces"``, of First Impressions, has folders of images in place of videos.
    random_state : int, RandomState instance or None, default=0
        Seed of the rendered faces and their labels.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        ``labels`` (DataFrame): the labels in the files, in their units, by clip, or by clip and
        frame. ``DESCR``.

    Raises
    ------
    ValueError
        If a parameter is out of range, or the folder is in use.

    Examples
    --------
    >>> import tempfile
    >>> from persona_affect.datasets import load_omi, write_miniature
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     labels = write_miniature("omi", folder, n_clips=4).labels
    ...     len(load_omi(folder).data)
    4
    """
    known = tuple(spec.name for spec in FORMATS.values() if spec.miniatures)
    if name not in known:
        problem = "has no miniature" if name in FORMATS else "is no format"
        raise ValueError(f"name={name!r} {problem}; those of {', '.join(known)} can be written.")
    spec = get_format(name)
    if layout not in spec.miniatures:
        raise ValueError(f"layout={layout!r} of {name} is none of {tuple(spec.miniatures)}.")
    if n_clips < spec.min_clips or n_frames < 2:
        raise ValueError(
            f"n_clips={n_clips} must be {spec.min_clips} or more, n_frames={n_frames} 2 or more."
        )
    folder = Path(root)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists, and is not an empty folder.")
    folder.mkdir(parents=True, exist_ok=True)
    labels = spec.miniatures[layout](folder, n_clips, n_frames, check_random_state(random_state))
    return Bunch(
        labels=labels,
        DESCR=f"A miniature of {name} with {n_clips} rendered clips; no person is shown.",
    )


def save_photo(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a rendered picture in the format of its suffix."""
    # Only JPEG uses the quality.
    Image.fromarray(image).save(path, quality=95)
