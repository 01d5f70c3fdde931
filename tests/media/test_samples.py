import numpy as np
import pytest
from PIL import Image

from persona_affect.exceptions import InvalidImageError, MediaReadError
from persona_affect.media import describe, is_clip

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
