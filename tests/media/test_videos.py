import contextlib
import struct
import tracemalloc
import warnings

import av
import numpy as np
import pytest

from persona_affect.exceptions import (
    InvalidImageError,
    MediaLimitError,
    MediaReadError,
    MediaWarning,
)
from persona_affect.media import _sampling, iter_frames, open_clip, segment_centres

from .conftest import frame_numbers, numbered_frames, write_video


@pytest.mark.parametrize("n_frames", [1, 3, 7, 10, 100, 130])
def test_centre_frames_of_equal_segments(video, n_frames):
    expected = segment_centres(100, n_frames).tolist()
    assert frame_numbers(open_clip(video, n_frames)) == expected
    assert frame_numbers(open_clip(numbered_frames(100), n_frames)) == expected
    assert frame_numbers(open_clip(video.read_bytes(), n_frames)) == expected


def test_all_frames_with_their_times(video):
    assert frame_numbers(open_clip(video)) == list(range(100))
    frames = list(iter_frames(video))
    assert [frame.index for frame in frames] == list(range(100))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(100) / 25)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mkv", "libx264"),
        ("a.mov", "libx265"),
        ("a.ts", "libx264"),
        ("a.mpg", "mpeg1video"),
        ("a.avi", "mpeg4"),
        ("a.webm", "libvpx"),
    ],
)
def test_other_containers(tmp_path, name, codec):
    path = write_video(tmp_path / name, numbered_frames(60), codec=codec)
    assert frame_numbers(open_clip(path, 60)) == list(range(60))
    assert frame_numbers(open_clip(path, 5)) == [6, 18, 30, 42, 54]


def test_raw_streams_without_times(tmp_path):
    path = write_video(tmp_path / "a.h264", numbered_frames(60))
    assert frame_numbers(open_clip(path, 5)) == [6, 18, 30, 42, 54]


def test_variable_frame_rate_samples_by_time(tmp_path):
    # Ten quick frames, then ten that last ten times as long: most of the time shows the latter.
    times = [*range(10), *range(10, 110, 10)]
    path = write_video(tmp_path / "vfr.mp4", numbered_frames(20), times=times)
    numbers = frame_numbers(open_clip(path, 10))
    shown = [int(np.searchsorted(times, t, side="right") - 1) for t in np.arange(5, 105, 10)]
    assert np.abs(np.subtract(numbers, shown)).max() <= 1
    assert sum(number >= 9 for number in numbers) >= 8


def test_only_what_is_needed_is_decoded(tmp_path, monkeypatch):
    path = write_video(tmp_path / "long.mp4", numbered_frames(120), gop=5)
    steps = []
    step = _sampling._Seeker._step
    monkeypatch.setattr(_sampling._Seeker, "_step", lambda self: (steps.append(1), step(self)))
    open_clip(path, 3)
    assert len(steps) <= 3 * 5


def test_reading_frame_by_frame_keeps_memory_flat(tmp_path):
    path = write_video(tmp_path / "large.mp4", numbered_frames(100, height=240, width=320))
    frame_bytes = 240 * 320 * 3
    tracemalloc.start()
    for _ in iter_frames(path):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * frame_bytes


def test_rotation_recorded_by_phones(tmp_path):
    frames = np.full((4, 48, 64, 3), 40, np.uint8)
    frames[:, :16, :16] = 250
    path = write_video(tmp_path / "phone.mp4", frames)
    data = bytearray(path.read_bytes())
    # The track header's matrix, 40 bytes in: a quarter turn clockwise.
    place = data.index(b"tkhd") + 4 + 40
    data[place : place + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    clip = open_clip(bytes(data), 2)
    assert clip.shape == (2, 64, 48, 3)
    assert clip[0, 4, -4].min() > 200, "the bright corner turned from the left to the right"
    assert clip[0, 4, 4].max() < 100


def test_truncated_videos_keep_what_comes_before(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (100, 48, 64, 3), dtype=np.uint8)
    path = write_video(tmp_path / "whole.mp4", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(MediaWarning, match="breaks off"):
        frames = list(iter_frames(path))
    assert 30 <= len(frames) < 70
    with pytest.warns(MediaWarning, match="breaks off"):
        assert 1 <= len(open_clip(path, 10)) <= 10


def test_videos_that_cannot_be_read(tmp_path):
    with pytest.raises(MediaReadError, match="no such file"):
        open_clip(tmp_path / "missing.mp4")
    with pytest.raises(MediaReadError, match="0 bytes"):
        open_clip(b"")
    text = tmp_path / "text.mp4"
    text.write_text("not a video\n" * 100)
    with pytest.raises(MediaReadError, match="not a video"):
        open_clip(text)
    whole = write_video(tmp_path / "clip.mkv", numbered_frames(10)).read_bytes()
    with pytest.raises(MediaReadError):
        open_clip(whole[:600])


def test_playlists_do_not_open_other_files(tmp_path, video):
    for name, text in [
        ("list.mp4", f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{video}\n#EXT-X-ENDLIST\n"),
        ("concat.mp4", f"ffconcat version 1.0\nfile {video}\n"),
    ]:
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(MediaReadError):
            open_clip(path)


def test_audio_without_video(tmp_path):
    path = tmp_path / "speech.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 4096), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(MediaReadError, match="no video stream"):
        open_clip(path)


def test_cover_pictures_are_not_videos(tmp_path):
    path = tmp_path / "music.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(MediaReadError, match="no video stream"):
        open_clip(path)


def test_frames_that_change_their_size(tmp_path):
    small = write_video(tmp_path / "small.h264", numbered_frames(4))
    large = write_video(tmp_path / "large.h264", numbered_frames(4, height=96, width=128))
    clip = open_clip(small.read_bytes() + large.read_bytes())
    assert clip.shape == (8, 48, 64, 3)
    assert frame_numbers(clip) == [0, 1, 2, 3] * 2


def test_unknown_codec(tmp_path):
    path = write_video(tmp_path / "clip.avi", numbered_frames(10), codec="mpeg4")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"ZZ9Q"))
    with pytest.raises(MediaReadError, match="codec"):
        open_clip(path)


def test_limits(video):
    with pytest.raises(MediaLimitError, match="64 x 48 pixels"):
        open_clip(video, max_pixels=1000)
    with pytest.raises(MediaLimitError, match="max_duration=3 s"):
        open_clip(video, 2, max_duration=3)
    with pytest.raises(MediaLimitError, match="n_frames"):
        open_clip(video, max_bytes=10**5)
    for clip in (video, numbered_frames(3)):
        with pytest.raises(MediaLimitError, match="n_frames=100,000,000 is more than 10,000"):
            open_clip(clip, 10**8)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 3, 20, 30), np.uint8), "channels first.*moveaxis\\(array, 1, -1\\)"),
        (np.zeros((0, 20, 30, 3), np.uint8), "empty"),
        (np.zeros((5, 20, 30, 3)), "float64, not uint8"),
        (np.zeros((20, 30, 3), np.uint8), "3 dimensions"),
    ],
)
def test_arrays_that_are_not_clips(array, message):
    with pytest.raises(InvalidImageError, match=message):
        open_clip(array)


def test_no_warning_for_whole_videos(video):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_clip(video, 4)
        with contextlib.closing(iter_frames(video)) as frames:
            next(frames)
