"""Uploads on disk: for as long as somebody waits for an answer about them, and no longer."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from persona_affect.exceptions import MediaReadError


class Uploads:
    """Which uploaded files are still needed.

    Gradio names uploads by their content, so that visitors who upload the same photo share a file.
    It is deleted when all of them have been answered, and while none is uploading: a file that is
    just being replaced by its twin must not be taken from the second visitor.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._needed: Counter[Path] = Counter()
        self._used: set[Path] = set()
        self._arriving = 0

    @contextmanager
    def using(self, path: str) -> Iterator[Path]:
        """Use an upload; afterwards it is no longer needed.

        Raises
        ------
        MediaReadError
            If it is gone: it has been used before, or has waited for too long.
        """
        file = Path(path)
        try:
            if not file.is_file():
                raise MediaReadError("it is no longer here. Please upload it again.")
            yield file
        finally:
            with self._lock:
                self._needed[file] -= 1
                self._used.add(file)
                self._sweep()

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """Keep all files while an upload arrives."""
        with self._lock:
            self._arriving += 1
        try:
            yield
        finally:
            with self._lock:
                self._arriving -= 1
                self._sweep()

    def need(self, paths: list[str]) -> None:
        """Keep uploads until each has been used once more."""
        with self._lock:
            self._needed.update(map(Path, paths))

    def _sweep(self) -> None:
        if self._arriving:
            return
        for file in [file for file in self._used if self._needed[file] <= 0]:
            file.unlink(missing_ok=True)
            self._used.discard(file)
            del self._needed[file]


class UploadGuard:
    """Middleware that notes what is uploaded, and refuses too much before it is read.

    Parameters
    ----------
    app : ASGI application
    uploads : Uploads
    max_bytes : int
        Of one request, however many files it holds.
    """

    def __init__(self, app: ASGIApp, uploads: Uploads, max_bytes: int) -> None:
        self.app = app
        self.uploads = uploads
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope.get("path", "")
        if scope["type"] == "http" and "/file=http" in path:
            # Gradio would fetch any address on the web for any visitor.
            await PlainTextResponse("Only files are served.", 403)(scope, receive, send)
            return
        if scope["type"] != "http" or scope["method"] != "POST" or not path.endswith("/upload"):
            await self.app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"")
        if not length.isdigit() or int(length) > self.max_bytes:
            message = f"Uploads may have up to {self.max_bytes:,} bytes, and must say how many."
            await PlainTextResponse(message, 413)(scope, receive, send)
            return
        body = bytearray()
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            body.extend(message.get("body", b""))
            if status == 200 and body and not message.get("more_body", False):
                self.uploads.need(json.loads(body))
            await send(message)

        with self.uploads.arriving():
            await self.app(scope, receive, note)
