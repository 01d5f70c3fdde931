"""Limits on every request: bytes are counted before they are parsed, and time is limited."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ._limits import Limits
from ._uploads import Uploads
from ._visitors import Visitors

UPLOAD = "/gradio_api/upload"
#: The page's own routes, whose bodies are files: one of many photos, a camera's next picture.
PHOTO, CAMERA = "/persona_affect/photo", "/persona_affect/camera"
_JOIN, _ANSWER = "/gradio_api/queue/join", "/gradio_api/queue/data"
SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)


class _ClientGoneError(Exception):
    """A client has disconnected, or does not read its answer."""


class RequestLimits:
    """Middleware that limits the bytes and the time of requests, and checks their content.

    Parameters
    ----------
    app : ASGI application
    limits : Limits
    uploads : Uploads
        Files whose quota includes the bytes of uploads that are arriving.
    visitors : Visitors
        Visitors who wait for an answer.
    endpoints : collection of int
        The numbers of gradio's functions that may be called.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        uploads: Uploads,
        visitors: Visitors,
        endpoints: Collection[int],
    ) -> None:
        self.app = app
        self.limits = limits
        self.uploads = uploads
        self.visitors = visitors
        self.endpoints = endpoints
        #: Bytes of messages of all visitors that are being read.
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_in_time(message: Message) -> None:
            nonlocal started
            started = True
            try:
                async with asyncio.timeout(self.limits.pause_seconds):
                    await send(message)
            except TimeoutError:
                raise _ClientGoneError from None

        try:
            if scope["method"] in ("GET", "HEAD"):
                # A body is not read.
                await self._answer(scope, receive, send_in_time)
            elif scope["path"] in (UPLOAD, PHOTO):
                async with self._arriving(scope, receive) as counted:
                    await self.app(scope, counted, send_in_time)
            else:
                body = await self._read(scope, receive)
                if scope["path"] != CAMERA:
                    self._check(scope["path"], body)
                await self.app(scope, _replay(body, receive), send_in_time)
        except HTTPException as error:
            if not started:
                # The rest of the request is not read.
                headers = {"Connection": "close"}
                answer = PlainTextResponse(error.detail, error.status_code, headers)
                await answer(scope, receive, send)
        except _ClientGoneError:
            return

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = QueryParams(scope["query_string"]).get("session_hash", "")
        if scope["path"] != _ANSWER:
            await self.app(scope, receive, send)
            return
        with self.visitors.listening(session):
            await self.app(scope, receive, send)

    @asynccontextmanager
    async def _arriving(self, scope: Scope, receive: Receive) -> AsyncIterator[Receive]:
        """Count an upload against its limit and against the quota, while it arrives."""
        limit = self.limits.upload_bytes
        _check_length(scope, limit)
        count, deadline = 0, asyncio.get_running_loop().time() + self.limits.request_seconds

        async def counted() -> Message:
            nonlocal count
            message = await self._next(receive, deadline)
            if message["type"] == "http.disconnect":
                raise _ClientGoneError
            part = len(message.get("body", b""))
            if count + part > limit:
                raise _too_much(limit)
            self.uploads.reserve(part)
            count += part
            return message

        try:
            yield counted
        finally:
            self.uploads.release(count)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        limit = min(self.limits.message_bytes, self.limits.upload_bytes)
        _check_length(scope, limit)
        deadline = asyncio.get_running_loop().time() + self.limits.request_seconds
        body, more = bytearray(), True
        try:
            while more:
                message = await self._next(receive, deadline)
                if message["type"] == "http.disconnect":
                    raise _ClientGoneError
                part = message.get("body", b"")
                if len(body) + len(part) > limit:
                    raise _too_much(limit)
                if self._held + len(part) > 32 * self.limits.message_bytes:
                    raise HTTPException(503, "Too many requests at once. Please try again later.")
                body += part
                self._held += len(part)
                more = message.get("more_body", False)
        finally:
            self._held -= len(body)
        return bytes(body)

    async def _next(self, receive: Receive, deadline: float) -> Message:
        """Receive the next part of a body before the deadline, and without a long pause."""
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(min(deadline, now + self.limits.pause_seconds)):
                return await receive()
        except TimeoutError:
            raise HTTPException(408, "The request took too long to arrive.") from None

    def _check(self, path: str, body: bytes) -> None:
        """Refuse a message that would cause an error in gradio."""
        try:
            message: Any = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            raise HTTPException(400, "The body is not JSON.") from None
        if not isinstance(message, dict):
            raise HTTPException(400, "The body must be a JSON object.")
        session = message.get("session_hash")
        if session is not None and not (isinstance(session, str) and SESSION.fullmatch(session)):
            raise HTTPException(400, "session_hash must be a short name.")
        if path != _JOIN:
            return
        if session is None or not isinstance(message.get("data"), list):
            raise HTTPException(400, "The body must have a session_hash, and a list as its data.")
        number = message.get("fn_index")
        if not isinstance(number, int) or number not in self.endpoints:
            raise HTTPException(400, "fn_index is not the number of an endpoint.")
        self.visitors.join(session)


def _check_length(scope: Scope, limit: int) -> None:
    length = Headers(scope=scope).get("content-length", "0")
    if not length.isdigit():
        raise HTTPException(400, "Content-Length must be a number.")
    if int(length) > limit:
        raise _too_much(limit)


def _too_much(limit: int) -> HTTPException:
    return HTTPException(413, f"Requests of this kind may have up to {limit:,} bytes.")


def _replay(body: bytes, receive: Receive) -> Receive:
    """Pass on a body that was read, then the message that the client has left."""
    parts = [body]

    async def replay() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return await receive()

    return replay
