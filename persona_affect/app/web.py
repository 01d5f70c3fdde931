"""The web page: photo, video and webcam, served from this machine."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import gradio as gr
from sklearn.pipeline import Pipeline
from starlette.middleware import Middleware

from ._limits import Limits
from ._photo_tab import photo_tab
from ._scales import Scales
from ._theme import make_theme, read_script, read_style
from ._uploads import UploadGuard, Uploads
from ._video_tab import video_tab
from ._webcam_tab import webcam_tab

__all__ = ["Limits", "build", "running"]

_HEAD = (
    '<header class="pa-head"><h1>Impressions that faces make</h1>'
    "<p>What a face looks like to raters: in a photo, through a clip, live.</p>"
    '<p class="pa-care" role="note"><strong>These are <em>apparent</em> traits and emotions'
    "</strong>: impressions on raters, with the prejudices of raters. They do not say what a "
    "person is like or feels. Not for hiring, admission, screening, or any decision about a "
    "person.</p></header>"
)


def build(model: Pipeline, *, name: str = "", limits: Limits | None = None) -> gr.Blocks:
    """Build the page.

    Parameters
    ----------
    model : Pipeline
        Fitted, starting with a :class:`persona_affect.FaceAligner`.
    name : str, optional
        Said of the model at the page's foot, such as where it comes from.
    limits : Limits, optional
        What visitors may upload.

    Returns
    -------
    gradio.Blocks
        Not launched; :func:`running` serves it as it should be.
    """
    return _build(model, name, limits or Limits(), Uploads())


@contextmanager
def running(
    model: Pipeline,
    *,
    name: str = "",
    host: str = "127.0.0.1",
    port: int | None = None,
    limits: Limits | None = None,
) -> Iterator[str]:
    """Serve the page while the context lasts.

    Uploads and results lie in a folder that only this user can read, and that is gone afterwards.
    Nothing is reported to anybody.

    Parameters
    ----------
    model, name, limits
        As for :func:`build`.
    host : str, default="127.0.0.1"
        The address to listen on: this machine alone, unless told otherwise.
    port : int, optional
        The first free one from 7860 by default.

    Yields
    ------
    str
        The page's address.

    Raises
    ------
    OSError
        If the port is taken.
    """
    limits, uploads = limits or Limits(), Uploads()
    guard = Middleware(UploadGuard, uploads=uploads, max_bytes=limits.upload_bytes)
    with tempfile.TemporaryDirectory(prefix="persona-affect-") as folder, _environment(folder):
        page = _build(model, name, limits, uploads)
        page.queue(max_size=limits.queue, default_concurrency_limit=limits.at_once)
        try:
            _, url, _ = page.launch(
                server_name=host,
                server_port=port,
                share=False,
                ssr_mode=False,
                quiet=True,
                show_error=False,
                prevent_thread_lock=True,
                max_file_size=limits.upload_bytes,
                enable_monitoring=False,
                pwa=False,
                mcp_server=False,
                footer_links=[],
                app_kwargs={"middleware": [guard]},
                theme=make_theme(),
                css=read_style(),
                head=read_script(),
            )
            yield url
        finally:
            page.close(verbose=False)


def _build(model: Pipeline, name: str, limits: Limits, uploads: Uploads) -> gr.Blocks:
    scales = Scales.of(model)
    with gr.Blocks(
        title="persona-affect: impressions that faces make",
        analytics_enabled=False,
        delete_cache=(60, limits.kept_seconds),
    ) as page:
        gr.HTML(_HEAD)
        with gr.Tabs(elem_id="pa-tabs"):
            with gr.Tab("Photo", id="photo"):
                photo_tab(model, scales, limits, uploads)
            with gr.Tab("Video", id="video"):
                video_tab(model, scales, limits, uploads)
            with gr.Tab("Webcam", id="webcam"):
                page.unload(webcam_tab(model, scales, limits, lives={}))
        gr.HTML(_foot(name, scales, limits))
    return page


def _foot(name: str, scales: Scales, limits: Limits) -> str:
    curves = (
        "Grey curves: the ratings that the model was trained on, drawn as a normal distribution "
        "with their mean and standard deviation, which is all that the model keeps of them. "
        "<q>Higher than 80 in 100</q> is a rank in that distribution. "
    )
    known = any(map(scales.known, scales.names))
    return (
        f'<div class="pa-foot" role="contentinfo">{curves if known else ""}Photos and clips are '
        "deleted once they are predicted, what was made of a clip within "
        f"{limits.kept_seconds / 60:.0f} minutes; camera pictures are never stored, and nothing "
        f"leaves this server. {escape(name)}</div>"
    )


@contextmanager
def _environment(folder: str) -> Iterator[None]:
    """Give gradio its folder, and switch off what it reports, for as long as we serve."""
    ours: dict[str, Any] = {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
