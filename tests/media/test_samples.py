import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from persona_affect.exceptions import InvalidImageError, MediaReadError
from persona_affect.media import FrameSequence, describe, is_clip, list_samples

from .conftest import numbered_frames, write_video


def test_arrays_by_their_dimensions():
    assert not is_clip(np.zeros((4, 4), np.uint8))
    assert not is_clip(np.zeros((4, 4, 3), np.uint8))
    assert is_clip(np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(InvalidImageError, match="5 dimensions"):
        is_clip(np.zeros((1, 2, 4, 4, 3), np.uint8))


def test_files_by_suffix_then_by_content(tmp_path, video):
    photo = tmp_path / "photo"
    Image.new("RGB", (4, 4)).save(photo, "PNG")
    assert not is_clip("missing.JPG")
    assert is_clip("missing.mp4")
    assert not is_clip(photo)
    assert not is_clip(photo.read_bytes())
    assert not is_clip(Image.new("RGB", (4, 4)))
    unnamed = tmp_path / "video"
    unnamed.write_bytes(video.read_bytes())
    assert is_clip(unnamed)
    assert is_clip(unnamed.read_bytes())
    with pytest.raises(MediaReadError, match="no such file"):
        is_clip(tmp_path / "missing")
    with pytest.raises(InvalidImageError, match="NoneType"):
        is_clip(None)


def test_animations_are_photos(tmp_path):
    path = tmp_path / "animation.gif"
    Image.new("L", (4, 4)).save(path, save_all=True, append_images=[Image.new("L", (4, 4), 9)])
    assert not is_clip(path)


def test_names_in_messages(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered_frames(2))
    assert describe(path) == str(path)
    assert describe(np.zeros((2, 3, 3), np.uint8)) == "array (2, 3, 3)"
    assert describe(b"abc") == "3 bytes"
    assert describe(Image.new("L", (1, 1))) == "Image"


PATHS = ["a.jpg", "b.mp4"]


@pytest.mark.parametrize(
    "X",
    [
        PATHS,
        tuple(PATHS),
        iter(PATHS),
        pd.Series(PATHS, index=[7, 3], name="path"),
        pd.Series(PATHS, dtype="string"),
        pd.Series(PATHS, dtype="category"),
        pd.Index(PATHS),
        pd.DataFrame({"path": PATHS}, index=[7, 3]),
        pd.DataFrame(PATHS),
        np.array(PATHS),
        np.array(PATHS, dtype=object),
        np.array(PATHS)[:, None],
        np.array(PATHS, dtype=object)[:, None],
    ],
    ids=lambda X: type(X).__name__,
)
def test_collections_of_samples(X):
    assert list_samples(X) == PATHS


def test_columns_and_tables_of_pyarrow():
    pyarrow = pytest.importorskip("pyarrow")
    for X in (pyarrow.array(PATHS), pyarrow.table({"path": PATHS})):
        assert list_samples(X) == PATHS
    with pytest.raises(InvalidImageError, match=r"2 columns.*X\['path'\]"):
        list_samples(pyarrow.table({"path": PATHS, "age": [1, 2]}))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            pd.DataFrame({"path": PATHS, "age": [1, 2]}),
            r"2 columns.*X\['path'\].*ColumnTransformer",
        ),
        (pd.DataFrame(index=[0, 1]), "0 columns"),
        (np.array([PATHS, PATHS]), r"shape \(n,\) or \(n, 1\)"),
        ({"path": PATHS}, "dict, which has no order"),
        (set(PATHS), "set, which has no order"),
        ("a.jpg", r"single sample, 'a\.jpg': put it into a list"),
        (io.BytesIO(b"photo"), "single sample"),
        (FrameSequence(("a.jpg",)), "single sample"),
        (np.zeros((8, 8, 3), np.uint8), "single array"),
        (None, "not NoneType"),
        (3, "not int"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_a_collection_of_samples(X, message):
    with pytest.raises(InvalidImageError, match=message):
        list_samples(X)
