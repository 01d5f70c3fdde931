import numpy as np
import pytest

from persona_affect.media import VideoWriter, sample_around_times


def frames_used(times, rate, tmp_path):
    path = tmp_path / "clip.mp4"
    # The writer rounds times to its clock.
    with VideoWriter(path, rate=100, size=(16, 16)) as video:
        for time in times:
            video.write(np.zeros((16, 16, 3), np.uint8), time=time)
    return [frame.index for frame in sample_around_times(path, rate, [])]


@pytest.mark.parametrize(
    ("rate", "used"),
    [
        (25, [0, 1, 2, 3, 4, 5]),
        (50, [0, 2, 4]),
        (100, [0, 4]),
        # Twice as far apart as wanted: each time between has a frame on either side.
        (12.5, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_frames_that_no_time_needs_are_left_out(rate, used, tmp_path):
    times = np.arange(6) / rate
    assert frames_used(times, 25, tmp_path) == used


def test_times_of_a_variable_rate(tmp_path):
    # 0.04 and 0.08 have frames on either side, 0.16 has one of its own, 0.2 to 0.36 have two.
    times = [0.0, 0.01, 0.03, 0.05, 0.06, 0.09, 0.16, 0.17, 0.38]
    assert frames_used(times, 25, tmp_path) == [0, 2, 3, 4, 5, 6, 7, 8]


def test_a_source_without_times_has_the_rate():
    clip = np.zeros((5, 8, 8, 3), np.uint8)
    frames = list(sample_around_times(clip, 10, []))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
