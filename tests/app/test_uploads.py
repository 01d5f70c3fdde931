import asyncio
import json

import pytest

from persona_affect.app._uploads import UploadGuard, Uploads
from persona_affect.exceptions import MediaReadError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"photo")
    return path


def test_an_upload_is_deleted_after_use(file):
    uploads = Uploads()
    uploads.need([str(file)])
    with uploads.using(str(file)) as path:
        assert path.read_bytes() == b"photo"
    assert not file.exists()


def test_an_upload_is_deleted_if_its_use_fails(file):
    uploads = Uploads()
    uploads.need([str(file)])
    with pytest.raises(ZeroDivisionError), uploads.using(str(file)):
        _ = 1 / 0
    assert not file.exists()


def test_who_uploads_the_same_photo_does_not_lose_it_to_another(file):
    uploads = Uploads()
    uploads.need([str(file)])
    uploads.need([str(file)])
    with uploads.using(str(file)):
        pass
    assert file.exists()
    with uploads.using(str(file)):
        pass
    assert not file.exists()


def test_a_file_stays_while_its_twin_is_arriving(file):
    uploads = Uploads()
    uploads.need([str(file)])
    with uploads.arriving():
        with uploads.using(str(file)):
            pass
        assert file.exists()
        uploads.need([str(file)])
    assert file.exists()
    with uploads.using(str(file)):
        pass
    assert not file.exists()


def test_a_second_use_is_answered_by_name(file):
    uploads = Uploads()
    with uploads.using(str(file)):
        pass
    with pytest.raises(MediaReadError, match="upload it again"), uploads.using(str(file)):
        pass


def ask(guard, path, method="POST", headers=()):
    """Send one request through the guard, and return the status."""
    statuses = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        statuses.append(message.get("status"))

    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    asyncio.run(guard(scope, receive, send))
    return statuses[0]


def answering(paths):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        body = json.dumps(paths).encode()
        await send({"type": "http.response.body", "body": body[:3], "more_body": True})
        await send({"type": "http.response.body", "body": body[3:]})

    return app


def test_the_guard_notes_what_was_uploaded(file):
    uploads = Uploads()
    guard = UploadGuard(answering([str(file)]), uploads, max_bytes=100)
    for _ in range(2):
        assert ask(guard, "/gradio_api/upload", headers=[(b"content-length", b"100")]) == 200
    with uploads.using(str(file)):
        pass
    assert file.exists()


@pytest.mark.parametrize("headers", [[(b"content-length", b"101")], []])
def test_the_guard_refuses_too_much_unread(headers):
    guard = UploadGuard(answering([]), Uploads(), max_bytes=100)
    assert ask(guard, "/gradio_api/upload", headers=headers) == 413


def test_the_guard_fetches_no_addresses():
    guard = UploadGuard(answering([]), Uploads(), max_bytes=100)
    assert ask(guard, "/gradio_api/file=http://example.org/x", "GET") == 403
    assert ask(guard, "/gradio_api/file=/tmp/x", "GET") == 200
