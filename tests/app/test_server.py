"""What the server does around its page: its folder, its port, slow clients."""

import socket
import subprocess
import sys
import time

import pytest

pytest.importorskip("gradio", reason="needs the extra app")

from persona_affect.app import _server


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
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port}: Address already in use"):
            _server._open_door("127.0.0.1", port)


def test_the_first_free_port_is_taken():
    with (
        _server._open_door("127.0.0.1", None) as first,
        _server._open_door("127.0.0.1", None) as second,
    ):
        assert second.getsockname()[1] > first.getsockname()[1] >= _server.FIRST_PORT


def test_a_head_that_never_ends_is_dropped(model, monkeypatch):
    from persona_affect.app.web import running

    monkeypatch.setattr(_server._Protocol, "head_seconds", 0.5)
    with running(model) as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        for start in (b"GET / HTTP/1.1\r\nHo", b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\nGET"):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                client.sendall(start)
                begin = time.monotonic()
                while client.recv(2**16):
                    pass
                assert time.monotonic() - begin < 15
