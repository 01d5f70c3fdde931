"""`persona-affect serve`: the web page."""

import signal
import threading
from pathlib import Path
from typing import Annotated

import rich
import typer

from persona_affect._optional import import_optional
from persona_affect.app._options import (
    Engine,
    EngineOption,
    MirrorOption,
    ModelOption,
    PrecisionOption,
    StreamDetectorOption,
    find_calibration,
    load_stream_model,
)


def serve(
    model: ModelOption = None,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. By default only this machine; 0.0.0.0 for all addresses."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port; by default the first free one from 7860.")
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Address under which visitors reach the page through a proxy, such as "
            "https://faces.example.org. Can be given several times.",
            show_default=False,
        ),
    ] = None,
    max_upload: Annotated[int, typer.Option(help="Largest upload, in MiB.", min=1)] = 200,
    max_seconds: Annotated[float, typer.Option(help="Longest clip, in seconds.", min=1)] = 60.0,
    at_once: Annotated[
        int, typer.Option(help="Photos worked on at once, and webcams served at once.", min=1)
    ] = 2,
    queue: Annotated[
        int, typer.Option(help="Requests that may wait; further ones are refused.", min=1)
    ] = 200,
    detector: StreamDetectorOption = "yunet",
    engine: EngineOption = Engine.AUTO,
    precision: PrecisionOption = None,
    mirror: MirrorOption = False,
) -> None:
    """Serve the web page: photos, clips and the webcam in a browser.

    Needs the extra `app`. Uploads are deleted after they are predicted, nothing is reported to
    anybody, and the page needs no internet. There are no passwords: before you allow others with
    --host, put a proxy in front that asks for one.
    """
    import_optional("gradio", extra="app", purpose="The web page")
    from persona_affect.app.web import Limits, running
    from persona_affect.persistence import read_model_info

    name = "The bundled model" if model is None else Path(model).name
    pipeline, notes = (
        load_stream_model(
            model, detector=detector, engine=engine, precision=precision, mirror=mirror
        ),
        read_model_info(model).get("notes", {}),
    )
    about = f"{name}: {notes['meaning']}." if "meaning" in notes else f"Model: {name}."
    limits = Limits(
        upload_bytes=max_upload * 2**20,
        stored_bytes=max(10 * max_upload, 2048) * 2**20,
        clip_seconds=max_seconds,
        # With 60 frames a second.
        clip_frames=round(max_seconds * 60),
        queue=queue,
        at_once=at_once,
    )
    stop = threading.Event()
    for name_of_signal in ("SIGINT", "SIGTERM", "SIGHUP"):
        # Windows has no SIGHUP.
        if number := getattr(signal, name_of_signal, None):
            signal.signal(number, lambda *_: stop.set())
    calibrated = find_calibration(model, pipeline) or pipeline
    with running(
        calibrated, name=about, host=host, port=port, origins=origin or (), limits=limits
    ) as url:
        rich.print(f"Serving on {url} until Ctrl+C. Predictions are impressions, not facts.")
        stop.wait()
