"""Bounds on requests: their bytes, their time, and what they ask for."""

import asyncio
import json
import threading

import pytest

from persona_affect.app._limits import Limits
from persona_affect.app._requests import RequestLimits
from persona_affect.app._uploads import SMALLEST, Uploads
from persona_affect.app._visitors import VisitorGoneError, Visitors

JOIN = "/gradio_api/queue/join"
UPLOAD = "/gradio_api/upload"
LIMITS = Limits(upload_bytes=1000, message_bytes=500, pause_seconds=0.05, request_seconds=0.5)


class Application:
    """Reads what it gets, and remembers it."""

    def __init__(self):
        self.body = b""

    async def __call__(self, scope, receive, send):
        more = True
        while more:
            message = await receive()
            assert message["type"] == "http.request"
            self.body += message["body"]
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"answer"})


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path, max_bytes=10 * SMALLEST, seconds=60)


@pytest.fixture
def visitors():
    return Visitors()


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def guard(application, uploads, visitors):
    return RequestLimits(application, LIMITS, uploads, visitors, {0, 1})


def post(guard, path, parts, headers=(), pause=0.0):
    """Send a body in parts, and return the status."""
    statuses, parts = [], list(parts)

    async def receive():
        await asyncio.sleep(pause)
        if not parts:
            return {"type": "http.disconnect"}
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message):
        statuses.append(message.get("status"))

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b""}
    pairs = [(name.encode(), value.encode()) for name, value in headers]
    asyncio.run(guard({**scope, "headers": pairs}, receive, send))
    return statuses[0] if statuses else None


def call(**changes):
    message = {"session_hash": "abc", "fn_index": 0, "data": ["x"]} | changes
    return json.dumps(message).encode()


def test_a_message_is_handed_on_whole(guard, application):
    body = call()
    assert post(guard, JOIN, [body[:5], body[5:]]) == 200
    assert application.body == body


@pytest.mark.parametrize("path", [JOIN, "/gradio_api/cancel", "/gradio_api/stream/a", "/any"])
@pytest.mark.parametrize("headers", [[("content-length", "5")], [("transfer-encoding", "chunked")]])
def test_every_byte_of_a_message_counts_whatever_its_length_is_said_to_be(
    guard, application, path, headers
):
    assert post(guard, path, [call(data=["x" * 100])] * 4, headers) == 413
    assert application.body == b""


@pytest.mark.parametrize("path", [JOIN, UPLOAD])
def test_what_says_that_it_is_too_long_is_refused_unread(guard, application, path):
    assert post(guard, path, [b"{}"], [("content-length", "1001")]) == 413
    assert post(guard, path, [b"{}"], [("content-length", "many")]) == 400
    assert application.body == b""


@pytest.mark.parametrize("headers", [[("content-length", "5")], [("transfer-encoding", "chunked")]])
def test_every_byte_of_an_upload_counts(guard, uploads, headers):
    assert post(guard, UPLOAD, [b"x" * 500, b"x" * 500], headers) == 200
    assert post(guard, UPLOAD, [b"x" * 500, b"x" * 501], headers) == 413
    # All room was given back.
    uploads.reserve(10 * SMALLEST)


def test_uploads_share_a_quota_while_they_arrive(guard, uploads):
    uploads.reserve(10 * SMALLEST - 700)
    assert post(guard, UPLOAD, [b"x" * 500, b"x" * 500]) == 503
    assert post(guard, UPLOAD, [b"x" * 500]) == 200


def test_an_upload_that_breaks_off_gives_its_room_back(guard, uploads):
    async def broken_off():
        messages = [{"type": "http.request", "body": b"x" * 10, "more_body": True}]

        async def receive():
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(message):
            raise AssertionError(message)

        scope = {"type": "http", "method": "POST", "path": UPLOAD, "query_string": b""}
        await guard({**scope, "headers": []}, receive, send)

    asyncio.run(broken_off())
    uploads.reserve(10 * SMALLEST)


@pytest.mark.parametrize("path", [JOIN, UPLOAD])
def test_a_request_that_stops_arriving_is_ended(guard, path):
    assert post(guard, path, [b"x"] * 5, pause=0.2) == 408


@pytest.mark.parametrize("path", [JOIN, UPLOAD])
def test_a_request_that_arrives_too_slowly_is_ended(guard, path):
    assert post(guard, path, [b"x"] * 400, pause=0.01) == 408


@pytest.mark.parametrize(
    "body",
    [
        b"no JSON",
        b"\xff",
        b"[]",
        b"null",
        b"[" * 400,
        call(fn_index=2),
        call(fn_index="0"),
        call(fn_index=[]),
        call(fn_index=None),
        call(data="x"),
        call(data=None),
        call(session_hash=None),
        call(session_hash=5),
        call(session_hash="../x"),
        call(session_hash="x" * 65),
    ],
)
def test_a_malformed_message_is_refused(guard, application, body):
    assert post(guard, JOIN, [body]) == 400
    assert application.body == b""


def test_who_has_asked_is_waited_for():
    visitors = Visitors(grace_seconds=100)
    with pytest.raises(VisitorGoneError):
        visitors.check("a")
    visitors.join("a")
    left = threading.Event()

    def listen():
        with visitors.listening("a"), visitors.listening("a"):
            left.wait(60)

    listener = threading.Timer(0.1, listen)
    listener.start()
    visitors.check("a")
    assert visitors.is_listening("a")
    left.set()
    listener.join()
    with pytest.raises(VisitorGoneError):
        visitors.check("a")


def test_who_asks_and_never_listens_is_gone():
    visitors = Visitors(grace_seconds=0.1)
    visitors.join("a")
    with pytest.raises(VisitorGoneError):
        visitors.check("a")


def test_the_guard_notes_who_asks_and_who_listens(application, uploads):
    seen = []

    async def watching(scope, receive, send):
        visitors.check("abc")
        seen.append(visitors.is_listening("abc"))

    visitors = Visitors(grace_seconds=100)
    guard = RequestLimits(application, LIMITS, uploads, visitors, {0})
    assert post(guard, JOIN, [call()]) == 200
    assert visitors._joined.keys() == {"abc"}
    guard = RequestLimits(watching, LIMITS, uploads, visitors, {0})
    scope = {"type": "http", "method": "GET", "path": "/gradio_api/queue/data", "headers": []}
    asyncio.run(guard({**scope, "query_string": b"session_hash=abc"}, None, None))
    assert seen == [True]
    assert not visitors.is_listening("abc")
