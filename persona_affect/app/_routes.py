"""The page's own routes beside gradio's: uploads, one of many photos, a camera's next picture."""

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio.to_thread
import numpy as np
from anyio import CapacityLimiter
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from persona_affect.exceptions import PersonaAffectError
from persona_affect.media import open_photo

from ._cameras import PICTURES, CameraBusyError, Cameras
from ._limits import Limits, without_paths
from ._requests import CAMERA, PHOTO, SESSION, UPLOAD
from ._uploads import Uploads

#: The largest picture taken from a camera, in pixels.
CAMERA_PIXELS = 1920 * 1088

Predict = Callable[[NDArray[np.uint8]], list[dict[str, Any]]]
Answer = Callable[[Request], Awaitable[Response]]


def own_routes(predict: Predict, cameras: Cameras, limits: Limits, uploads: Uploads) -> list[Route]:
    """Make the routes.

    Parameters
    ----------
    predict : callable
        Predicts every face of a photo.
    cameras : Cameras
    limits : Limits
    uploads : Uploads
    """
    return [
        Route(UPLOAD, _upload_route(uploads), methods=["POST"]),
        Route("/gradio_api/upload_progress", _progress, methods=["GET"]),
        Route(PHOTO, _photo_route(predict, limits), methods=["POST"]),
        Route(CAMERA, _camera_route(cameras, limits), methods=["POST"]),
    ]


def _photo_route(predict: Predict, limits: Limits) -> Answer:
    """Answer a photo, which is the body of the request, with a row for each face."""
    waiting = threading.BoundedSemaphore(limits.queue)
    turn: list[CapacityLimiter] = []

    def answer(content: bytes) -> list[dict[str, Any]]:
        return predict(open_photo(content, max_pixels=limits.photo_pixels))

    async def photo(request: Request) -> Response:
        if not waiting.acquire(blocking=False):
            raise HTTPException(503, "Too many photos wait. Please try again later.")
        try:
            content = await request.body()
            # A limiter belongs to the event loop in which it is made.
            turn[:] = turn or [CapacityLimiter(limits.at_once)]
            async with turn[0]:
                if await request.is_disconnected():
                    return Response(status_code=499)
                rows = await run_in_threadpool(answer, content)
        except PersonaAffectError as error:
            return _refuse(422, error)
        finally:
            waiting.release()
        return JSONResponse({"faces": rows})

    return photo


def _camera_route(cameras: Cameras, limits: Limits) -> Answer:
    """Answer a camera's picture with its faces; an empty body ends the camera."""
    turn: list[CapacityLimiter] = []

    async def camera(request: Request) -> Response:
        name = request.query_params.get("camera", "")
        if not SESSION.fullmatch(name):
            raise HTTPException(400, "camera must be a short name.")
        content = await request.body()
        if not content:
            cameras.stop(name)
            return JSONResponse({})

        def answer() -> dict[str, Any]:
            image = open_photo(content, max_pixels=CAMERA_PIXELS)
            return cameras.see(name, image) | {"size": [image.shape[1], image.shape[0]]}

        turn[:] = turn or [CapacityLimiter(PICTURES * limits.at_once + 1)]
        try:
            return JSONResponse(await anyio.to_thread.run_sync(answer, limiter=turn[0]))
        except CameraBusyError as error:
            return _refuse(503, error)
        except PersonaAffectError as error:
            return _refuse(422, error)

    return camera


def _refuse(status: int, error: Exception) -> Response:
    return JSONResponse({"error": without_paths(str(error))}, status)


def _upload_route(uploads: Uploads) -> Answer:
    """Take one file, under a name that nobody can guess.

    Gradio's own route names files by their content, so that visitors share them, and leaves
    incomplete uploads behind.
    """

    async def upload(request: Request) -> Response:
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise HTTPException(400, "Send the file as multipart/form-data.")
        try:
            async with request.form(max_files=1, max_fields=0) as form:
                files = [file for file in form.values() if not isinstance(file, str)]
                if len(files) != 1:
                    raise HTTPException(400, "Send one file.")
                path = await anyio.to_thread.run_sync(uploads.add, files[0].file)
        except (KeyError, ValueError):
            raise HTTPException(400, "The form is malformed.") from None
        except OSError:
            raise HTTPException(507, "There is no room for uploads at the moment.") from None
        return JSONResponse([str(path)])

    return upload


async def _progress(request: Request) -> Response:
    """Answer that the upload is complete: the page shows that a file arrives, not how much."""
    return PlainTextResponse('data: {"msg": "done"}\n\n', media_type="text/event-stream")
