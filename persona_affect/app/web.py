"""The web page: photo, video and webcam, served from this machine."""

import asyncio
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from html import escape

import gradio as gr
from fastapi import FastAPI
from sklearn.pipeline import Pipeline

from persona_affect.annotation import check_photo_model
from persona_affect.estimators import ConformalAffect

from ._limits import Limits
from ._photo_tab import photo_tab, predict_photo
from ._routes import own_routes
from ._scales import Scales
from ._server import make_app, private_folder, serving, sweeping
from ._upload_box import guard_files
from ._uploads import Uploads
from ._video_tab import video_tab
from ._visitors import Visitors
from ._webcam_tab import make_cameras, webcam_tab

__all__ = ["Limits", "running"]

_HEAD = (
    '<header class="pa-head"><h1>Impressions that faces make</h1>'
    "<p>What a face looks like to raters: in a photo, through a clip, live.</p>"
    '<p class="pa-care" role="note"><strong>These are <em>apparent</em> traits and emotions'
    "</strong>: impressions on raters, with the prejudices of raters. They do not say what a "
    "person is like or feels. Not for hiring, admission, screening, or any decision about a "
    "person.</p></header>"
)
#: Figures of ``benchmarks/results/real_people.md``, which measured *attractive* alone.
_REAL_PEOPLE = (
    "How well: the model that comes with the package learnt from portraits drawn by a network. On "
    "photographs of 102 real people its predictions of attractiveness correlate with ratings at "
    "0.72, and worst for men, at 0.52 (1 is perfect); other impressions of real people have not "
    "been measured. "
)


@contextmanager
def running(
    model: Pipeline | ConformalAffect,
    *,
    name: str = "",
    host: str = "127.0.0.1",
    port: int | None = None,
    origins: Iterable[str] = (),
    limits: Limits | None = None,
) -> Iterator[str]:
    """Serve the page while the context lasts.

    Uploads and results are in a folder that only this user can read, and that is deleted
    afterwards. Nothing is reported to anybody.

    Parameters
    ----------
    model : Pipeline or ConformalAffect
        Fitted, starting with a :class:`persona_affect.FaceAligner`. With a calibration, photos get
        intervals.
    name : str, optional
        A text about the model for the end of the page, such as its source.
    host : str, default="127.0.0.1"
        The address to listen on; by default only this machine reaches it.
    port : int, optional
        The first free one from 7860 by default.
    origins : iterable of str, optional
        Addresses under which visitors reach the page through a proxy, such as
        ``https://faces.example.org``. Requests under other names are refused.
    limits : Limits, optional
        Limits on files, requests and time.

    Yields
    ------
    str
        The page's address.

    Raises
    ------
    OSError
        If the port is taken.
    ValueError
        If the model takes no photos, because it does not begin with an aligner.

    See Also
    --------
    Limits : What visitors may do.

    Examples
    --------
    >>> from urllib.request import urlopen
    >>> from persona_affect import load_model
    >>> from persona_affect.app.web import running
    >>> with running(load_model("fast")) as address:
    ...     urlopen(address).status
    200
    """
    limits, visitors = limits or Limits(), Visitors()
    pipeline = check_photo_model(model)
    with private_folder() as folder:
        uploads = Uploads(folder, max_bytes=limits.stored_bytes, seconds=limits.kept_seconds)

        async def build() -> tuple[gr.Blocks, FastAPI]:
            page = _build(model, name, limits, uploads, visitors)
            page.queue(max_size=limits.queue, default_concurrency_limit=limits.at_once)
            routes = own_routes(
                lambda image: predict_photo(model, image, limits),
                make_cameras(pipeline, limits),
                limits,
                uploads,
            )
            return page, make_app(page, limits, uploads, visitors, routes, host, origins)

        # Without a running event loop, gradio makes several, and does not close them.
        with ThreadPoolExecutor(1) as pool:
            page, app = pool.submit(asyncio.run, build()).result()
        with sweeping(uploads, min(60, limits.kept_seconds)), serving(app, page, host, port) as url:
            yield url


def _build(
    model: Pipeline | ConformalAffect,
    name: str,
    limits: Limits,
    uploads: Uploads,
    visitors: Visitors,
) -> gr.Blocks:
    pipeline = check_photo_model(model)
    scales = Scales.of(pipeline)
    with gr.Blocks(
        title="persona-affect: impressions that faces make", analytics_enabled=False
    ) as page:
        gr.HTML(_HEAD)
        with gr.Tabs(elem_id="pa-tabs"):
            with gr.Tab("Photo", id="photo"):
                photo_tab(model, scales, limits, uploads, visitors)
            with gr.Tab("Video", id="video"):
                video_tab(pipeline, scales, limits, uploads, visitors)
            with gr.Tab("Webcam", id="webcam"):
                webcam_tab(scales)
        gr.HTML(_foot(name, scales, limits))

        def forget(request: gr.Request) -> None:
            session = str(request.session_hash)
            page.state_holder.session_data.pop(session, None)
            page.state_holder.time_last_used.pop(session, None)

        page.unload(forget)
    guard_files(page, uploads)
    return page


def _foot(name: str, scales: Scales, limits: Limits) -> str:
    curves = (
        "Grey curves: the ratings that the model was trained on, drawn as a normal distribution "
        "with their mean and standard deviation, which is all that the model keeps of them. "
        "<q>Higher than 80 in 100</q> is a rank in that distribution. "
    )
    known = any(map(scales.known, scales.names))
    return (
        f'<div class="pa-foot" role="contentinfo">{_REAL_PEOPLE}{curves if known else ""}'
        "Photos and clips are deleted once they are predicted, what was made of a clip within "
        f"{limits.kept_seconds / 60:.0f} minutes; camera pictures are never stored, and nothing "
        f"leaves this server. {escape(name)}</div>"
    )
