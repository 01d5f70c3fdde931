"""Samples that fail while they are read, or are handed over in a way that is not understood."""

import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from persona_affect.exceptions import InvalidImageError, MediaReadError
from persona_affect.media import check_media, describe, is_clip, open_clip, open_photo

from .conftest import encode_photo, frame_numbers, numbered_frames, write_video

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"])
def test_a_truncated_pil_image_is_a_named_error(format):
    data = encode_photo(NOISE, format)
    try:
        image = Image.open(io.BytesIO(data[: len(data) // 2]))
    except OSError:
        pytest.skip("Pillow notices when it opens the file")
    with pytest.raises(MediaReadError, match="damaged"):
        open_photo(image)


def test_a_closed_pil_image_is_a_named_error(tmp_path):
    path = tmp_path / "photo.png"
    NOISE.save(path)
    with Image.open(path) as image:
        pass
    with pytest.raises(MediaReadError, match="damaged"):
        open_photo(image)
    image = NOISE.copy()
    image.close()
    with pytest.raises(MediaReadError, match="damaged"):
        open_photo(image)


def test_names_that_are_not_utf_8(tmp_path):
    folder = os.fsencode(tmp_path)
    photo = os.fsdecode(folder + b"/caf\xe9.png")
    clip = os.fsdecode(folder + b"/caf\xe9.mp4")
    try:
        NOISE.save(photo)
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    os.rename(write_video(tmp_path / "clip.mp4", numbered_frames(4)), clip)
    assert not is_clip(photo)
    assert open_photo(photo).shape == (64, 64, 3)
    assert is_clip(clip)
    assert frame_numbers(open_clip(clip)) == [0, 1, 2, 3]
    check_media(clip)
    check_media(photo)
    describe(photo).encode()
    with pytest.raises(MediaReadError, match="no such file") as caught:
        open_photo(photo + "x")
    str(caught.value).encode()


def test_control_characters_do_not_reach_the_terminal():
    assert describe("a\x1b[31m.jpg") == "a\\x1b[31m.jpg"


def test_files_that_fail_or_vanish_while_they_are_read(tmp_path, monkeypatch):
    path = tmp_path / "photo.png"
    NOISE.save(path)
    clip = write_video(tmp_path / "clip.mp4", numbered_frames(4))

    def fail(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.open", fail)
    for read, source in ((open_photo, path), (open_clip, clip), (is_clip, path.with_suffix(""))):
        if read is is_clip:
            path.rename(source)
        with pytest.raises(MediaReadError, match="cannot be read: Permission denied") as caught:
            read(source)
        assert str(tmp_path) not in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(MediaReadError, match=r"no such file: people/me\.jpg"):
        open_photo("people/me.jpg")
    with pytest.raises(MediaReadError, match=r"no such file: people/me\.mp4"):
        open_clip("people/me.mp4")


@pytest.mark.parametrize("read", [is_clip, open_photo, open_clip])
@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        (io.BytesIO(b"photo"), r"BytesIO: give its content, source\.read\(\), as bytes"),
        (torch.zeros(3, 8, 8), r"Tensor: .*permute\(1, 2, 0\)\.cpu\(\)\.numpy\(\)"),
        ("https://example.org/me.jpg?size=2", "download it first"),
    ],
)
def test_what_to_do_instead(read, source, remedy):
    with pytest.raises((InvalidImageError, MediaReadError), match=remedy):
        read(source)


def test_a_path_of_bytes_is_a_path(tmp_path):
    class Entry:
        def __fspath__(self):
            return os.fsencode(tmp_path / "photo.png")

    NOISE.save(tmp_path / "photo.png")
    assert open_photo(Entry()).shape == (64, 64, 3)
    assert not is_clip(Entry())
    assert describe(Entry()).endswith("photo.png")
