"""Which requests the server answers: a table of routes, the page's own addresses, safe headers.

Gradio has many routes that this page does not use. A route that is not in the table is not
available, so that new routes of later versions of gradio are closed until they are listed.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Collection, Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Routes that are served, and their purpose.
ROUTES = (
    ("GET HEAD", "/", "the page"),
    ("GET", "/config", "its description, for programs"),
    ("GET", "/gradio_api/info", "its endpoints, for programs"),
    ("GET", "/theme.css", "its style"),
    ("GET", "/favicon.ico", "its icon"),
    ("GET", "/assets/{path}", "gradio's scripts and styles"),
    ("GET", "/static/{path}", "gradio's scripts and styles"),
    ("GET", "/gradio_api/heartbeat/{name}", "whether a visitor is still connected"),
    ("POST", "/gradio_api/upload", "photos and clips"),
    ("GET", "/gradio_api/upload_progress", "how much of an upload has arrived"),
    ("POST", "/gradio_api/queue/join", "a request for a prediction"),
    ("GET", "/gradio_api/queue/data", "its answer"),
    ("POST", "/gradio_api/cancel", "to cancel it"),
    ("POST", "/persona_affect/photo", "one of many photos, and its answer"),
    ("POST", "/persona_affect/camera", "the camera's next picture, and its answer; its end"),
    ("GET HEAD", "/gradio_api/file={path}", "the results of a clip"),
)

#: Nothing is loaded from other sites, and nothing is sent to them. Gradio's page contains inline
#: scripts, and evaluates the templates of its HTML components.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}

_FILE = "/gradio_api/file="


def is_allowed_route(method: str, path: str) -> bool:
    """Return whether the table lists a request."""
    return any(method in methods and route.fullmatch(path) for methods, route in _PATTERNS)


def _pattern(path: str) -> re.Pattern[str]:
    pattern = re.escape(path).replace(r"\{path\}", ".+").replace(r"\{name\}", r"[\w-]{1,64}")
    return re.compile(pattern, re.ASCII)


_PATTERNS = [(methods.split(), _pattern(path)) for methods, path, _ in ROUTES]


class AccessGuard:
    """Middleware that refuses all requests that the page does not need.

    Parameters
    ----------
    app : ASGI application
    is_served : callable
        Returns whether the file at a path may be sent.
    host : str
        The address that the server listens on.
    origins : iterable of str
        Other addresses of the page, such as that of a proxy: ``https://faces.example.org``.
    """

    def __init__(
        self,
        app: ASGIApp,
        is_served: Callable[[str], bool],
        host: str,
        origins: Iterable[str] = (),
    ) -> None:
        self.app = app
        self.is_served = is_served
        self.origins = {origin.rstrip("/").lower() for origin in origins}
        names = {"localhost", host, socket.gethostname(), socket.getfqdn()}
        self.names = {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self.app)(scope, receive, send_safely)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers, path = Headers(scope=scope), scope["path"]
        if not self._is_own(headers):
            return PlainTextResponse(
                "This is not an address of the page. The operator of the server can add an address "
                "with --origin.",
                403,
            )
        if not is_allowed_route(scope["method"], path) or b"deep_link" in scope["query_string"]:
            return PlainTextResponse("There is nothing here.", 404)
        if path.startswith(_FILE) and not self.is_served(path.removeprefix(_FILE)):
            return PlainTextResponse("This file is not served.", 403)
        return None

    def _is_own(self, headers: Headers) -> bool:
        """Return whether a request is for this page, and not sent by a page of another site.

        Names are checked because another site can let its own name point to this machine.
        """
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        hosts = {urlsplit(own).netloc for own in self.origins}
        if host not in hosts and not _is_name_of(host, self.names):
            return False
        if origin is None or origin.lower() in self.origins:
            return True
        return origin.lower() in (f"http://{host}", f"https://{host}")


def _is_name_of(host: str, names: Collection[str]) -> bool:
    """Return whether a Host header is one of some names, or a numeric address."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name in names:
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
