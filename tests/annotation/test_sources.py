"""Frames of every source have times that rise."""

import numpy as np
import pytest
from PIL import Image

from persona_affect.annotation import read_frames
from persona_affect.exceptions import InvalidImageError, MediaReadError
from persona_affect.faces import Detections, FaceTracker
from persona_affect.media import Frame, FrameSequence, VideoWriter

FRAMES = [np.full((8, 8, 3), value, np.uint8) for value in (10, 20, 30)]


def times(source, rate=None):
    return [round(frame.time, 6) for frame in read_frames(source, rate)]


@pytest.mark.parametrize("kind", [list, iter, np.stack, tuple])
def test_frames_without_times_have_a_rate(kind):
    assert times(kind(FRAMES)) == [0.0, 0.04, 0.08]
    assert times(kind(FRAMES), 10) == [0.0, 0.1, 0.2]


@pytest.mark.parametrize("pair", [tuple, list, lambda p: Frame(9, *p)])
def test_frames_with_times_keep_them(pair):
    if pair is tuple:
        assert times((np.float32(t), f) for t, f in zip((0, 0.5, 0.75), FRAMES, strict=True)) == [
            0.0,
            0.5,
            0.75,
        ]
    stamped = [pair((t, f)) for t, f in zip((1, 1.5, 7.25), FRAMES, strict=True)]
    assert times(stamped) == [1.0, 1.5, 7.25]
    assert [frame.index for frame in read_frames(stamped)] == [0, 1, 2]
    with pytest.raises(ValueError, match="frame 0 has one"):
        times(stamped, 25)


@pytest.mark.parametrize("second", [0.5, 0.25, float("nan"), float("inf")])
def test_times_that_do_not_rise_are_refused(second):
    with pytest.raises(InvalidImageError, match="frame 1: its time"):
        times([(0.5, FRAMES[0]), (second, FRAMES[1])])


def test_times_of_a_camera_rise(monkeypatch):
    monkeypatch.setattr("persona_affect.annotation._sources.open_camera", lambda i: iter(FRAMES))
    monkeypatch.setattr("time.monotonic", lambda: 5.0)
    assert times(np.int64(0)) == [0.0, 0.001, 0.002]


def test_image_files_have_a_rate(tmp_path):
    paths = []
    for number, frame in enumerate(FRAMES):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(frame).save(paths[-1])
    assert times(FrameSequence(tuple(paths)), 5) == [0.0, 0.2, 0.4]


def test_a_rate_is_not_for_sources_with_times(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", rate=25, size=(8, 8)) as video:
        video.write(FRAMES[0])
    assert times(tmp_path / "clip.mp4") == [0.0]
    with pytest.raises(ValueError, match="a video file has its own"):
        read_frames(tmp_path / "clip.mp4", 25)
    with pytest.raises(ValueError, match="a camera has its own"):
        read_frames(0, 25)
    for rate in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="must be positive"):
            read_frames(FRAMES, rate)


@pytest.mark.parametrize("source", [None, 1.5, True, object()])
def test_what_has_no_frames_is_named(source):
    with pytest.raises(InvalidImageError, match=f"from {type(source).__name__}: give a path"):
        read_frames(source)


def test_an_item_that_is_not_a_frame_is_named():
    with pytest.raises(InvalidImageError, match=r"frame 1: .*dict"):
        times([FRAMES[0], {}])
    with pytest.raises(MediaReadError, match="frame 0: there is no such file: nowhere"):
        times(["nowhere"])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.filterwarnings("error")
def test_every_face_has_a_number_of_its_own_at_any_times(seed):
    pytest.importorskip("trackers", reason="needs the extra app")
    rng = np.random.default_rng(seed)
    tracker, time = FaceTracker(), 0.0
    corners = rng.uniform(0, 300, (6, 2))
    for _ in range(40):
        time += rng.choice([0.04, 1e-5, 0.0, -0.1, 5.0])
        n = rng.integers(0, 7)
        moved = corners + rng.normal(0, rng.choice([2, 60]), corners.shape)
        boxes = np.hstack([moved, moved + rng.uniform(20, 80, (6, 1))])[:n].astype(np.float32)
        scores = rng.uniform(0.7, 1, n).astype(np.float32)
        numbers = tracker.update(Detections(boxes, scores, np.zeros((n, 5, 2), np.float32)), time)
        assert (numbers >= 0).all()
        assert len(set(numbers.tolist())) == n
