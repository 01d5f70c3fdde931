import io

import numpy as np
import pytest
from PIL import Image

from persona_affect.exceptions import MediaReadError, MediaWarning
from persona_affect.media import FrameSequence, check_media, is_clip, open_clip


@pytest.fixture
def images(tmp_path):
    """Five grey images, 10 to 50, the last of another size."""
    paths = []
    for i in range(1, 6):
        paths.append(tmp_path / f"{i}.png")
        size = (6, 8) if i < 5 else (12, 16)
        Image.fromarray(np.full((*size, 3), 10 * i, np.uint8)).save(paths[-1])
    return [str(path) for path in paths]


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_whole_photos_pass_and_broken_ones_do_not(tmp_path, kind, decode):
    rng = np.random.default_rng(0)
    path = tmp_path / f"photo.{kind}"
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    check_media(path, decode=decode)
    whole = path.read_bytes()
    for damaged in (b"", b"text", whole[: len(whole) // 2], whole[:-12]):
        path.write_bytes(damaged)
        with pytest.raises(MediaReadError):
            check_media(path, decode=decode)
    with pytest.raises(MediaReadError, match="no such file"):
        check_media(tmp_path / "absent.png", decode=decode)


def test_bytes_after_the_end_of_a_photo_are_not_damage(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(buffer, "JPEG")
    path = tmp_path / "photo.jpg"
    path.write_bytes(buffer.getvalue() + bytes(100))
    check_media(path)


@pytest.mark.parametrize("decode", [False, True])
def test_a_video_that_breaks_off_is_noticed(video, decode):
    check_media(video, decode=decode)
    whole = video.read_bytes()
    video.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaReadError, match="breaks off"):
        check_media(video, decode=decode)


def test_a_frame_sequence_is_a_clip(images):
    clip = FrameSequence(tuple(images))
    assert is_clip(clip)
    assert open_clip(FrameSequence(clip.paths[:4]), 2)[:, 0, 0, 0].tolist() == [20, 40]
    whole = open_clip(clip)
    assert whole.shape == (5, 6, 8, 3)
    assert whole[:, 0, 0, 0].tolist() == [10, 20, 30, 40, 50]


def test_an_unreadable_frame_does_not_affect_others(images):
    with open(images[1], "wb") as file:
        file.write(b"text")
    with pytest.warns(MediaWarning, match=r"2\.png"):
        assert len(open_clip(FrameSequence(tuple(images)))) == 4
    with pytest.raises(MediaReadError, match="none of the clip's 1 frames"):
        open_clip(FrameSequence((images[1],)))
    with pytest.raises(MediaReadError, match="0 frames"):
        open_clip(FrameSequence(()), 3)
