"""The server around gradio's page: its folder, its guards, and its own route for uploads."""

import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI
from filelock import FileLock, Timeout
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from ._access import AccessGuard
from ._limits import Limits
from ._requests import RequestLimits
from ._theme import make_theme, read_script, read_style
from ._uploads import Uploads
from ._visitors import Visitors

_PREFIX = "persona-affect-"
FIRST_PORT, N_PORTS = 7860, 100


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder for uploads and results, which is deleted with the server.

    Folders of servers that were killed are deleted first: nobody holds their locks.
    """
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/lock"):
        with suppress(OSError, Timeout):
            if _is_ours(lock):
                with FileLock(lock, blocking=False):
                    shutil.rmtree(lock.parent, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        with FileLock(folder / "lock"), _environment(folder):
            yield folder


def _is_ours(lock: Path) -> bool:
    """Return whether this user owns a folder: others may create folders beside it."""
    return (
        os.name == "nt" or lock.parent.lstat().st_uid == lock.lstat().st_uid == os.getuid()
    ) and not lock.is_symlink()


@contextmanager
def _environment(folder: Path) -> Iterator[None]:
    """Set gradio's folder, and switch off its reports, while the server runs."""
    ours = {"GRADIO_TEMP_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False"}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def make_app(
    page: gr.Blocks,
    limits: Limits,
    uploads: Uploads,
    visitors: Visitors,
    routes: Sequence[Route],
    host: str,
    origins: Iterable[str] = (),
) -> FastAPI:
    """Put gradio's page, and the page's own routes, behind the guards."""
    access = Middleware(AccessGuard, is_served=uploads.is_result, host=host, origins=origins)
    bounds = Middleware(
        RequestLimits, limits=limits, uploads=uploads, visitors=visitors, endpoints=set(page.fns)
    )
    app = FastAPI(
        openapi_url=None,
        middleware=[access, bounds],
        routes=list(routes),
    )
    # A session keeps its last answer; nothing here needs an older one.
    page.state_session_capacity = limits.sessions
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        run_history=False,
        footer_links=[],
        show_error=False,
        max_file_size=limits.upload_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=make_theme(),
        css=read_style(),
        head=read_script(),
    )
    # Without this, gradio would not check where files lie.
    page.has_launched = True
    mounted = next(route for route in app.routes if isinstance(route, Mount))
    page.app = mounted.app  # type: ignore[assignment]
    return app


class _Protocol(H11Protocol):
    """Uvicorn's protocol, with a deadline for the head of each request."""

    head_seconds = 30.0
    _late = None

    def data_received(self, data: bytes) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.head_seconds, self._drop)
        super().data_received(data)
        if self._is_busy():
            self._late.cancel()
            self._late = None

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _drop(self) -> None:
        self._late = None
        if not self._is_busy():
            self.transport.close()


@contextmanager
def serving(app: FastAPI, page: gr.Blocks, host: str, port: int | None) -> Iterator[str]:
    """Answer requests while the context lasts.

    Yields
    ------
    str
        The page's address.

    Raises
    ------
    OSError
        If the port is taken.
    """
    listener = _open_socket(host, port)
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        log_level="warning",
        server_header=False,
        limit_concurrency=1000,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise OSError("The server did not start; see its log.")
            time.sleep(0.01)
        name = "localhost" if host in ("0.0.0.0", "::") else host
        yield f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}/"
    finally:
        page.close(verbose=False)
        server.should_exit = True
        thread.join(15)
        listener.close()


def _open_socket(host: str, port: int | None) -> socket.socket:
    """Listen on a port, or on the first free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = [port] if port is not None else range(FIRST_PORT, FIRST_PORT + N_PORTS)
    for number in ports:
        try:
            return socket.create_server((host, number), family=family, backlog=1024)
        except OSError as error:
            problem = error
    raise OSError(
        f"Cannot listen on {host}, port {ports[0]}"
        f"{f' to {ports[-1]}' if len(ports) > 1 else ''}: {problem.strerror or problem}."
    )


@contextmanager
def sweeping(uploads: Uploads, seconds: float) -> Iterator[None]:
    """Delete old files every so often while the context lasts."""
    stop = threading.Event()

    def sweep() -> None:
        while not stop.wait(seconds):
            uploads.sweep()

    thread = threading.Thread(target=sweep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5)
