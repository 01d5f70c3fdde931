import pickle

import numpy as np
import pytest

from persona_affect import FaceAligner
from persona_affect.datasets import make_affect_clips
from persona_affect.faces import FaceClip, split_pieces
from persona_affect.faces._face_clip import join_faces, resample_faces

SIZE = (2, 3)


def shades(values):
    return [np.full((*SIZE, 3), value, np.uint8) for value in values]


def test_what_keeps_the_gaps():
    clip = FaceClip(np.zeros((10, *SIZE, 3), np.uint8), (0, 4, 7))
    for same in (clip.copy(), pickle.loads(pickle.dumps(clip)), clip[:]):
        assert same.starts == (0, 4, 7)
    assert clip[2:8].starts == (0, 2, 5)
    assert clip[4:].starts == (0, 3)
    assert clip[-2:].starts == (0,)
    for plain in (clip[3], clip[::2], clip[[0, 9]], clip[:, :1], np.asarray(clip), clip[0, 0, 0]):
        assert not isinstance(plain, FaceClip)
    assert [len(piece) for piece in split_pieces(clip)] == [4, 3, 3]
    assert split_pieces(np.asarray(clip))[0] is not clip
    with pytest.raises(ValueError, match="increase from 0"):
        FaceClip(np.zeros((2, *SIZE, 3), np.uint8), (1, 0))


def test_frames_that_are_missing_are_gaps():
    assert not isinstance(join_faces(shades([1, 2]), [4, 5], SIZE), FaceClip)
    assert join_faces(shades([1, 2, 3]), [0, 1, 5], SIZE).starts == (0, 2)
    assert join_faces([], [], SIZE).shape == (0, 2, 3, 3)


@pytest.mark.parametrize("rate", [12.5, 25, 30, 50, 60, 24000 / 1001])
def test_faces_at_equal_times_from_any_rate(rate):
    times = np.arange(int(2 * rate) + 1) / rate
    values = np.rint(100 + 80 * np.sin(2 * times)).astype(np.uint8)
    found = resample_faces(shades(values), range(len(times)), times, 25, SIZE)
    assert len(found) in (49, 50, 51)
    expected = 100 + 80 * np.sin(2 * np.arange(len(found)) / 25)
    # Rounded twice; between frames, a straight line instead of the sine.
    np.testing.assert_allclose(found[:, 0, 0, 0], expected, atol=1.6)


def test_nothing_is_mixed_across_a_gap():
    times = np.arange(30) / 30
    faces = shades([0] * 15 + [200] * 15)
    numbers = [*range(15), *range(21, 36)]
    clip = resample_faces(faces, numbers, np.where(times < 0.5, times, times + 0.2), 25, SIZE)
    # The last face before the gap is at 14 / 30 s, the first after it at 0.7 s.
    assert clip.starts == (0, 12)
    assert np.unique(clip).tolist() == [0, 200]
    # The same without losses, but a break in the times of the video.
    again = resample_faces(faces, range(30), np.where(times < 0.5, times, times + 0.3), 25, SIZE)
    assert again.starts == (0, 12)
    # A low rate has frames that are further apart.
    slow = resample_faces(shades([0, 100, 200]), range(3), [0, 0.5, 1], 2, SIZE)
    assert not isinstance(slow, FaceClip)
    assert resample_faces([], [], [], 25, SIZE).shape == (0, 2, 3, 3)


@pytest.fixture(scope="module")
def interrupted():
    """A clip whose face is covered in three frames."""
    clip = make_affect_clips(1, n_frames=9, halves="personality", image_size=96, random_state=3)
    frames = clip.data[0].copy()
    frames[4:7] = 128
    return frames


def test_the_aligner_and_its_store_say_where_the_face_was_lost(interrupted, tmp_path):
    aligner = FaceAligner(n_frames=None, min_face_size=40, device="cpu")
    (clip,) = aligner.transform([interrupted])
    assert clip.shape == (6, 112, 96, 3)
    assert clip.starts == (0, 4)
    stored = aligner.set_params(cache=tmp_path)
    for _ in range(2):
        (again,) = stored.transform([interrupted])
        assert again.starts == (0, 4)
        np.testing.assert_array_equal(again, clip)
    # Arrays are taken to have the rate.
    (timed,) = FaceAligner(rate=30, min_face_size=40, device="cpu").transform([interrupted])
    assert timed.starts == (0, 4)
    np.testing.assert_array_equal(timed, clip)
    # Frames that were sampled far apart have no gaps.
    (sampled,) = FaceAligner(n_frames=9, min_face_size=40, device="cpu").transform([interrupted])
    assert not isinstance(sampled, FaceClip)
    np.testing.assert_array_equal(sampled, clip)
