"""Which requests are answered: routes, addresses, headers."""

import asyncio
import re

import pytest

pytest.importorskip("gradio", reason="needs the extra app")

from persona_affect.app import web
from persona_affect.app._access import HEADERS, AccessGuard, is_allowed_route
from persona_affect.app._server import make_app
from persona_affect.app._uploads import Uploads
from persona_affect.app._visitors import Visitors

HOST = ("host", "127.0.0.1:7860")


def ask(guard, path, method="GET", headers=(HOST,), query=b""):
    """Send one request through the guard; return its status and headers."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    asyncio.run(guard({**scope, "query_string": query}, receive, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


async def answering(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"answer"})


@pytest.fixture
def guard():
    return AccessGuard(answering, lambda path: path == "/made", "127.0.0.1", ["https://A.example/"])


@pytest.fixture(scope="module")
def page(model, tmp_path_factory):
    limits, visitors = web.Limits(), Visitors()
    uploads = Uploads(tmp_path_factory.mktemp("page"), max_bytes=1, seconds=1)

    async def build():
        page = web._build(model, "", limits, uploads, visitors)
        make_app(page, limits, uploads, visitors, [], "127.0.0.1")
        return page

    # Outside of a loop, gradio would make one, and leave it open.
    return asyncio.run(build())


#: What answers of all routes that the installed gradio has. A new one that answers fails the test
#: below: look at what it does before it is added here.
ANSWERING = {
    "GET /",
    "HEAD /",
    "GET /config",
    "GET /theme.css",
    "GET /favicon.ico",
    "GET /assets/{path:path}",
    "GET /static/{path:path}",
    "GET /gradio_api/info",
    "GET /gradio_api/heartbeat/{session_hash}",
    "GET /gradio_api/queue/data",
    "GET /gradio_api/upload_progress",
    "GET /gradio_api/file={path_or_url:path}",
    "HEAD /gradio_api/file={path_or_url:path}",
    "POST /gradio_api/upload",
    "POST /gradio_api/queue/join",
    "POST /gradio_api/cancel",
}


def leaves(routes):
    """Find the routes of an application, those in included routers too."""
    for route in routes:
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        if hasattr(inner, "routes") and not hasattr(route, "methods"):
            yield from leaves(inner.routes)
        else:
            yield route


def test_no_route_of_gradio_answers_unless_it_is_listed(page):
    routes = [
        (method, route.path)
        for route in leaves(page.app.routes)
        for method in getattr(route, "methods", None) or ["WEBSOCKET"]
    ]
    assert len(routes) > 60
    answering = set()
    for method, path in routes:
        example = re.sub(r"\{\w+(:path)?\}", "a", path)
        if is_allowed_route(method, example):
            answering.add(f"{method} {path}")
    assert answering == ANSWERING


def test_no_component_takes_an_address_or_a_file(page, tmp_path):
    file = tmp_path / "photo.jpg"
    file.touch()
    for block in page.blocks.values():
        for path in ("http://127.0.0.1:9/x.png", "https://example.org/x", "//x", str(file), "/"):
            with pytest.raises(Exception, match=r"not (fetched|accepted)"):
                asyncio.run(block.async_move_resource_to_block_cache(path))


def test_history_and_recordings_are_off(page):
    assert page.run_history is False
    assert page.config["run_history"] is False
    assert page.analytics_enabled is False


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("POST", "/", 404),
        ("GET", "/gradio_api/runs", 404),
        ("GET", "/gradio_api/run-history/buckets", 404),
        ("GET", "/gradio_api/deep_link", 404),
        ("POST", "/gradio_api/process_recording", 404),
        ("GET", "/gradio_api/proxy=https://x.hf.space/", 404),
        ("GET", "/gradio_api/file/http://example.org/x", 404),
        ("POST", "/gradio_api/component_server", 404),
        ("POST", "/gradio_api/stream/a", 404),
        ("POST", "/persona_affect/photo", 200),
        ("POST", "/persona_affect/camera", 200),
        ("GET", "/persona_affect/camera", 404),
        ("POST", "/gradio_api/run/photo", 404),
        ("POST", "/gradio_api/call/photo", 404),
        ("GET", "//gradio_api/info", 404),
        ("GET", "/gradio_api/info/../runs", 404),
        ("GET", "/docs", 404),
        ("GET", "/gradio_api/file=http://example.org/x", 403),
        ("GET", "/gradio_api/file=/etc/hostname", 403),
        ("GET", "/gradio_api/file=/made", 200),
    ],
)
def test_what_is_not_in_the_table_is_refused(guard, method, path, status):
    assert ask(guard, path, method)[0] == status


def test_deep_links_are_refused(guard):
    assert ask(guard, "/", query=b"deep_link=abc")[0] == 404


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:7860", None, 200),
        ("127.0.0.1:7860", "http://127.0.0.1:7860", 200),
        ("localhost:7860", "http://localhost:7860", 200),
        ("[::1]:7860", "http://[::1]:7860", 200),
        ("192.0.2.7:7860", "http://192.0.2.7:7860", 200),
        ("a.example", "https://a.example", 200),
        # A proxy that names itself to the server as 127.0.0.1.
        ("127.0.0.1:7860", "https://a.example", 200),
        ("127.0.0.1:7860", "https://evil.example", 403),
        ("127.0.0.1:7860", "http://127.0.0.1:8000", 403),
        ("127.0.0.1:7860", "http://localhost:7860", 403),
        ("127.0.0.1:7860", "null", 403),
        ("a.example", "https://evil.example", 403),
        ("evil.example", "https://evil.example", 403),
        ("evil.example", "http://127.0.0.1:7860", 403),
        ("evil.example", None, 403),
        ("127.0.0.1.evil.example", None, 403),
        ("x@evil.example", None, 403),
        ("[", None, 403),
        ("", None, 403),
    ],
)
def test_only_the_pages_own_addresses_and_origins_are_answered(guard, host, origin, status):
    headers = [("host", host)] + ([("origin", origin)] if origin else [])
    answer, sent = ask(guard, "/gradio_api/queue/join", "POST", headers)
    assert answer == status
    assert not any(name.startswith("access-control") for name in sent)


def test_every_answer_has_safe_headers(guard):
    for path in ("/", "/nothing"):
        _, sent = ask(guard, path)
        assert {name.lower() for name in HEADERS} <= set(sent)
        assert "frame-ancestors 'none'" in sent["content-security-policy"]
        assert sent["x-content-type-options"] == "nosniff"


def test_web_sockets_are_refused(guard):
    sent = []

    async def send(message):
        sent.append(message["type"])

    asyncio.run(guard({"type": "websocket", "path": "/", "headers": []}, None, send))
    assert sent == ["websocket.close"]
