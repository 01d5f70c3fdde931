import threading

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from typer.testing import CliRunner

from persona_affect import FaceAligner, FrameAnnotator, JointAffectEstimator
from persona_affect.app._live import Meter, NewestFrame, annotate_live
from persona_affect.app.cli import app
from persona_affect.datasets import make_affect_faces
from persona_affect.exceptions import MediaReadError


def picture(number):
    return np.full((60, 80, 3), number, np.uint8)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_only_the_newest_frame_is_kept():
    clock = Clock()
    newest = NewestFrame(clock)
    for number in range(3):
        clock.now = number / 10
        newest.put(picture(number))
    came, image = newest.take()
    assert (came, image[0, 0, 0]) == (0.2, 2)
    assert (newest.n_read, newest.n_dropped) == (3, 2)
    newest.put(picture(3))
    assert newest.take()[1][0, 0, 0] == 3
    assert newest.n_dropped == 2


def test_what_is_held_is_shown_before_the_end():
    newest = NewestFrame()
    newest.put(picture(7))
    newest.end()
    assert newest.take()[1][0, 0, 0] == 7
    assert newest.take() is None


def test_taking_waits_for_a_frame():
    newest = NewestFrame()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(newest.take()))
    thread.start()
    assert not taken
    newest.put(picture(1))
    thread.join(timeout=10)
    assert taken[0][1][0, 0, 0] == 1


def test_a_slow_reader_of_a_fast_camera_drops_frames():
    """The camera makes three frames for each that is taken."""
    turn = threading.Semaphore(0)
    ready = threading.Semaphore(0)

    def camera():
        for number in range(9):
            if number % 3 == 0:
                turn.acquire()
            yield picture(number)
            if number % 3 == 2:
                ready.release()

    newest = NewestFrame()
    newest.read(camera())
    seen = []
    for _ in range(3):
        turn.release()
        if len(seen) < 2:
            # Only when the third is there does the generator run on, past its yield.
            assert ready.acquire(timeout=10)
        else:
            newest._thread.join(timeout=10)
        seen.append(int(newest.take()[1][0, 0, 0]))
    assert seen == [2, 5, 8]
    assert (newest.n_read, newest.n_dropped) == (9, 6)
    assert newest.take() is None


def test_stopping_frees_the_camera():
    freed = threading.Event()

    def camera():
        try:
            while True:
                yield picture(0)
        finally:
            freed.set()

    newest = NewestFrame()
    newest.read(camera())
    assert newest.take() is not None
    newest.stop()
    assert freed.is_set()


def test_the_error_of_the_camera_reaches_the_window():
    def camera():
        raise MediaReadError("camera 7 does not open")
        yield

    newest = NewestFrame()
    newest.read(camera())
    with pytest.raises(MediaReadError, match="camera 7"):
        newest.take()


def test_latency_and_rate_are_means_over_two_seconds():
    meter = Meter()
    assert (meter.latency, meter.rate) == (0, 0)
    meter.add(0.0, 5.0)
    for number in range(1, 31):
        meter.add(5 + number / 10 - 0.03, 5 + number / 10)
    assert meter.latency == pytest.approx(0.03)
    assert meter.rate == pytest.approx(10)


@pytest.fixture(scope="module")
def session():
    faces = make_affect_faces(4, random_state=0)
    model = make_pipeline(FaceAligner(), JointAffectEstimator(max_epochs=1, random_state=0))
    model.fit(faces.data, faces.target)
    return FrameAnnotator(model, track=False, batch_size=1).session()


def test_the_loop_annotates_measures_and_stops(session):
    clock = Clock()
    newest = NewestFrame(clock)
    face = make_affect_faces(1, random_state=3).data[0]
    wide = np.full((240, 400, 3), 128, np.uint8)
    wide[60:188, 40:168] = face
    newest.put(wide)
    shown = []

    def show(image):
        shown.append(image)
        clock.now += 0.25  # what prediction took
        newest.put(wide)
        newest.put(wide)
        return len(shown) < 4

    meter = annotate_live(newest, session, {"openness": (0, 1)}, show, clock)
    assert len(shown) == 4
    assert all((image != wide).any() for image in shown)
    assert meter.latency == pytest.approx(0.25)
    assert meter.rate == pytest.approx(4)
    assert newest.n_dropped == 4


def test_the_loop_ends_with_the_stream(session):
    newest = NewestFrame()
    newest.put(picture(0))
    newest.end()
    shown = []
    annotate_live(newest, session, {}, lambda image: shown.append(image) or True)
    assert len(shown) == 1


def test_without_a_display_the_error_says_so(monkeypatch):
    pytest.importorskip("trackers", reason="needs the extra app")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    result = CliRunner().invoke(app, ["live"])
    assert result.exit_code == 2
    assert "no display" in result.stderr


def test_without_a_camera_the_error_says_so(monkeypatch):
    pytest.importorskip("trackers", reason="needs the extra app")
    monkeypatch.setenv("DISPLAY", ":0")
    result = CliRunner().invoke(app, ["live", "--camera", "97"])
    assert result.exit_code == 1
    assert "camera 97 cannot be opened" in result.stderr
