"""What the server does around its page: its folder, its port, slow clients."""

import io
import socket
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="needs the extra app")

from persona_affect.app import _server, web
from persona_affect.app._limits import Limits
from persona_affect.app._video_tab import VisitorAnnotator
from persona_affect.app._visitors import VisitorGoneError, Visitors
from persona_affect.exceptions import MediaLimitError


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(_server.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_a_killed_server_left_behind_is_deleted_at_the_next_start(temporary):
    code = (
        "import os, signal, tempfile\n"
        f"tempfile.tempdir = {str(temporary)!r}\n"
        "from persona_affect.app._server import private_folder\n"
        "with private_folder() as folder:\n"
        "    (folder / 'photo').touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (left,) = temporary.glob("persona-affect-*/photo")
    other = temporary / "persona-affect-other"
    other.mkdir()
    with _server.private_folder() as folder:
        assert not left.parent.exists()
        # Others are left alone: one that still serves, and one that is not a server's.
        with _server.private_folder() as second:
            assert folder.exists()
            assert second != folder
    assert other.exists()
    assert list(temporary.iterdir()) == [other]


def test_a_folder_is_for_this_user_alone(temporary):
    with _server.private_folder() as folder:
        assert folder.stat().st_mode & 0o077 == 0


def test_a_taken_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port}: Address already in use"):
            _server._open_socket("127.0.0.1", port)


def test_the_first_free_port_is_taken():
    with (
        _server._open_socket("127.0.0.1", None) as first,
        _server._open_socket("127.0.0.1", None) as second,
    ):
        assert second.getsockname()[1] > first.getsockname()[1] >= _server.FIRST_PORT


@pytest.mark.slow
def test_a_head_that_never_ends_is_dropped(model, monkeypatch):
    monkeypatch.setattr(_server._Protocol, "head_seconds", 0.5)
    with web.running(model) as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        for start in (b"GET / HTTP/1.1\r\nHo", b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\nGET"):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                client.sendall(start)
                begin = time.monotonic()
                while client.recv(2**16):
                    pass
                assert time.monotonic() - begin < 15


def test_work_for_a_visitor_who_has_left_stops(model, frames):
    visitors = Visitors(grace_seconds=-1)
    annotator = VisitorAnnotator(model, Limits(), visitors, "a")
    clip = np.concatenate([frames] * 3)
    with pytest.raises(VisitorGoneError):
        next(annotator.annotate(clip))
    with visitors.listening("a"):
        rows = annotator.annotate(clip)
        assert next(rows)["frame"] == 0
    with pytest.raises(VisitorGoneError):
        list(rows)


def test_a_clip_has_a_time(model, frames):
    visitors = Visitors()
    annotator = VisitorAnnotator(model, Limits(work_seconds=-1), visitors, "a")
    with visitors.listening("a"), pytest.raises(MediaLimitError, match="cut it"):
        annotator.to_dataframe(np.stack(frames))


def test_a_session_is_forgotten_when_its_visitor_leaves(model, frames, monkeypatch):
    pages = []

    def make_app(page, *rest):
        pages.append(page)
        return _server.make_app(page, *rest)

    monkeypatch.setattr(web, "make_app", make_app)
    file = io.BytesIO()
    Image.fromarray(frames[0]).save(file, "PNG")
    with web.running(model, limits=Limits(sessions=3)) as url, httpx.Client(base_url=url) as client:
        (page,) = pages
        (number,) = (n for n, fn in page.fns.items() if fn.api_name == "photo")
        left = threading.Event()
        arrived = threading.Event()

        def stay():
            with client.stream("GET", "gradio_api/heartbeat/first", timeout=60) as beat:
                for _ in beat.iter_raw():
                    arrived.set()
                    if left.wait(30):
                        return

        def ask(session):
            path = client.post("gradio_api/upload", files={"files": file.getvalue()}).json()[0]
            data = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
            message = {"session_hash": session, "fn_index": number, "data": data}
            client.post("gradio_api/queue/join", json=message)
            said = client.get("gradio_api/queue/data", params={"session_hash": session}, timeout=60)
            assert '"success":true' in said.text

        visit = threading.Thread(target=stay)
        visit.start()
        assert arrived.wait(30)
        ask("first")
        sessions = page.state_holder.session_data
        assert "first" in sessions
        left.set()
        visit.join()
        for _ in range(300):
            if "first" not in sessions:
                break
            time.sleep(0.1)
        assert "first" not in sessions
        # Programs may never say that they leave.
        for i in range(5):
            ask(f"program{i}")
        assert len(sessions) <= 3
