"""Cameras: one picture at a time, some cameras at a time, nothing kept."""

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="needs the extra app")

from persona_affect import FrameAnnotator
from persona_affect.app._cameras import SILENCE, CameraBusyError, Cameras
from persona_affect.app._limits import Limits
from persona_affect.app._webcam_tab import make_cameras


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cameras(model, clock):
    start = FrameAnnotator(model, track=False).session
    return Cameras(start, at_once=2, seconds=60, clock=clock)


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def test_pictures_are_answered_with_their_faces(model, frames):
    cameras = make_cameras(model, Limits())
    for n_seen, frame in enumerate(frames[:3], 1):
        answer = cameras.see("a", frame)
        (row,) = answer["faces"]
        assert answer["n_seen"] == n_seen
        assert np.isfinite([row[name] for name in model[-1].target_names_]).all()
    assert cameras.see("a", np.zeros_like(frames[0]))["faces"] == []


def test_one_picture_waits_for_the_one_before_and_others_are_refused(model, cameras, frames):
    at_work, go_on = threading.Event(), threading.Event()
    camera = cameras._find("a")
    annotate = camera.session.annotate

    def slowly(pictures):
        at_work.set()
        go_on.wait(30)
        return annotate(pictures)

    camera.session.annotate = slowly
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cameras.see, "a", frames[0])
        assert at_work.wait(30)
        second = pool.submit(cameras.see, "a", frames[1])
        while camera.coming.acquire(blocking=False):
            # The second has not arrived yet.
            camera.coming.release()
        with pytest.raises(CameraBusyError, match="pictures before"):
            cameras.see("a", frames[2])
        go_on.set()
        assert [first.result()["n_seen"], second.result()["n_seen"]] == [1, 2]
    assert cameras.see("a", frames[2])["n_seen"] == 3


def test_a_camera_waits_for_a_place(cameras, clock, frames):
    cameras.see("a", frames[0])
    cameras.see("b", frames[0])
    with pytest.raises(CameraBusyError, match="next when one stops"):
        cameras.see("c", frames[0])
    cameras.stop("a")
    assert cameras.see("c", frames[0])["n_seen"] == 1
    # One that is silent has stopped, too, and starts again from the beginning.
    clock.now = SILENCE + 1
    assert cameras.see("d", frames[0])["n_seen"] == 1
    assert cameras.see("b", frames[0])["n_seen"] == 1
    assert len(cameras._cameras) == 2


def test_a_camera_that_had_its_time_lets_others_in(cameras, clock, frames):
    for clock.now in range(61):
        cameras.see("a", frames[0] if clock.now == 60 else frames[1][:40, :40])
    cameras.see("b", frames[0][:40, :40])
    clock.now = 61
    with pytest.raises(CameraBusyError, match="had its time"):
        cameras.see("a", frames[0])
    cameras.see("c", frames[0][:40, :40])
    with pytest.raises(CameraBusyError):
        cameras.see("a", frames[0])


def test_an_error_leaves_the_camera_usable(model, frames):
    start = FrameAnnotator(model, track=False, max_faces=1).session
    cameras = Cameras(start, at_once=1, seconds=60)
    crowd = np.concatenate([frames[0], frames[0]], axis=1)
    for _ in range(2):
        with pytest.raises(ValueError, match="max_faces=1"):
            cameras.see("a", crowd)
    assert cameras.see("a", frames[0])["n_seen"] == 1


URL = "persona_affect/camera"


def test_the_route_answers_and_forgets(served, model, frames):
    url = f"{served.url}{URL}?camera={'a' * 16}"
    answer = httpx.post(url, content=encoded(frames[0], "JPEG"), timeout=60)
    assert answer.status_code == 200
    (row,) = answer.json()["faces"]
    assert set(row) >= {"face", "x", "width", *model[-1].target_names_}
    assert answer.json()["size"] == [320, 240]
    assert httpx.post(url, content=b"").json() == {}
    assert httpx.post(url, content=encoded(frames[1]), timeout=60).json()["n_seen"] == 1
    httpx.post(url, content=b"")
    assert not [path for path in served.home.rglob("*") if path.suffix in (".jpg", ".png")]


@pytest.mark.parametrize(
    ("name", "body", "status", "message"),
    [
        ("a", b"text", 422, "not a photo"),
        ("a", encoded(np.zeros((1200, 1920), np.uint8)), 422, "1920 x 1200"),
        ("", b"", 400, "name"),
        ("../x", b"", 400, "name"),
        ("a", b"0" * 2**20 + b"0", 413, "bytes"),
    ],
)
def test_other_bodies_are_refused_in_words(served, name, body, status, message):
    answer = httpx.post(f"{served.url}{URL}", params={"camera": name}, content=body)
    assert answer.status_code == status
    assert message in answer.text
    assert str(served.home) not in answer.text


def test_pictures_of_one_camera_never_wait_in_the_server(served, frames):
    """Ten requests at once: those that come while one is predicted are refused at once."""
    url, content = f"{served.url}{URL}?camera=many", encoded(frames[0])
    statuses = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(httpx.post(url, content=content, timeout=60).status_code)
        )
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 1
    httpx.post(url, content=b"")
    time.sleep(0.1)
    assert httpx.post(url, content=content, timeout=60).json()["n_seen"] == 1
    httpx.post(url, content=b"")


def test_one_of_many_photos_is_answered(served, model, frames):
    url = f"{served.url}persona_affect/photo"
    answer = httpx.post(url, content=encoded(frames[0]), timeout=60)
    (row,) = answer.json()["faces"]
    names = model[-1].target_names_
    np.testing.assert_allclose(
        [row[name] for name in names], model.predict([frames[0]])[0], atol=1e-5
    )
    assert httpx.post(url, content=encoded(np.zeros((9, 9), np.uint8))).json() == {"faces": []}
    for body, status, message in (
        (b"text", 422, "not a photo"),
        (b"", 422, "empty"),
        (b"0" * (2**20 + 1), 413, "bytes"),
        (iter([b"0" * 2**19] * 3), 413, "bytes"),
    ):
        answer = httpx.post(url, content=body)
        assert (answer.status_code, message in answer.text) == (status, True)
    assert httpx.get(url).status_code == 404
    foreign = httpx.post(url, content=b"", headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
