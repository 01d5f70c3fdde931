"""The tab for a webcam: boxes over the live picture, and curves over time."""

import base64
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from gradio.data_classes import ImageData
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from persona_affect.annotation import FrameAnnotator, Session
from persona_affect.media import Frame, open_photo

from ._limits import Limits, readable, with_face_size
from ._scales import Scales
from ._views import boxes, traces
from ._visitors import Visitors

#: Seconds that the curves show.
WINDOW = 20.0
#: Side of the smallest faces that are found, in pixels: a person in front of a webcam is near, and
#: finding faces of half the size takes four times as long.
MIN_FACE_SIZE = 40
#: The largest picture taken from a camera, in pixels.
MAX_PIXELS = 1920 * 1088


@dataclass
class Live:
    """The state of one visitor's camera; it is only in memory."""

    session: Session
    started: float = field(default_factory=time.monotonic)
    n_seen: int = 0
    rows: deque[dict[str, Any]] = field(default_factory=deque)

    def see(self, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """Predict the next picture, and drop rows that are older than the curves."""
        now = time.monotonic() - self.started
        (rows,) = self.session.annotate([Frame(self.n_seen, now, image)])
        self.n_seen += 1
        self.rows.extend(rows)
        while now - self.rows[0]["time"] > WINDOW:
            self.rows.popleft()
        return [row for row in rows if not np.isnan(row["face"])]

    def rate(self) -> float:
        """Return the predictions a second over the last five seconds."""
        times = np.unique([row["time"] for row in self.rows])
        times = times[times > times[-1] - 5]
        return float((len(times) - 1) / (times[-1] - times[0])) if len(times) > 1 else 0.0


def webcam_tab(
    model: Pipeline, scales: Scales, limits: Limits, visitors: Visitors, lives: dict[str, Live]
) -> None:
    """Lay out the tab.

    Gradio would keep the state for an hour after the visitor has left. Therefore `lives` holds it,
    for the latest visitors, by their session.
    """
    annotator = FrameAnnotator(
        with_face_size(model, MIN_FACE_SIZE), detect_every=5, smooth=0.3, max_faces=limits.faces
    )

    @readable
    def webcam(image: NDArray[np.uint8] | None, request: gr.Request) -> tuple[str, str]:
        if image is None:
            return "", ""
        visitor = str(request.session_hash)
        visitors.check(visitor)
        # The latest visitor comes last.
        live = lives.pop(visitor) if visitor in lives else Live(annotator.session())
        lives[visitor] = live
        while len(lives) > limits.sessions:
            del lives[next(iter(lives))]
        rows = live.see(image)
        height, width = image.shape[:2]
        table = pd.DataFrame(live.rows)
        now = float(table["time"].iloc[-1])
        rate = (
            f'<p class="pa-rate" data-rate="{live.rate():.2f}" data-seen="{live.n_seen}">'
            f"{live.rate():.1f} predictions a second</p>"
        )
        drawn = '<p class="pa-note">No face in sight.</p>'
        if table["face"].notna().any():
            drawn = traces(table, scales, max(now - WINDOW, 0.0), max(now, WINDOW))
        return boxes(rows, width, height), rate + drawn

    with gr.Row():
        with gr.Column(elem_id="pa-camera-view", min_width=300):
            camera = gr.Image(
                sources=["webcam"],
                streaming=True,
                show_label=False,
                buttons=[],
                elem_id="pa-camera",
                webcam_options=gr.WebcamOptions(
                    mirror=True, constraints={"video": {"width": 640, "height": 480}}
                ),
            )
            overlay = gr.HTML(elem_id="pa-camera-boxes")
        with gr.Column(min_width=300):
            running = gr.HTML(_EMPTY, elem_id="pa-camera-traces")
    camera.preprocess = readable(_picture)  # type: ignore[method-assign]
    camera.stream(
        webcam,
        camera,
        [overlay, running],
        api_name="webcam",
        api_visibility="undocumented",
        concurrency_limit=limits.at_once,
        time_limit=round(limits.webcam_seconds),
        stream_every=0.05,
        show_progress="hidden",
    )


def _picture(payload: Any) -> NDArray[np.uint8] | None:
    """Read a picture that browsers send inside a data address; it is never on disk."""
    if payload is None:
        return None
    url = payload.url if isinstance(payload, ImageData) else None
    if not url or not url.startswith("data:image/"):
        raise gr.Error("Cameras send pictures as data: addresses.", print_exception=False)
    return open_photo(base64.b64decode(url.partition(",")[2]), max_pixels=MAX_PIXELS)


_EMPTY = (
    '<p class="pa-empty">Switch the camera on, then press Record. Boxes follow every face, '
    "and lines show the last twenty seconds. Pictures are looked at and forgotten: none is stored."
    "</p>"
)
