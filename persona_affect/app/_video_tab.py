"""The tab for clips."""

import time
from collections.abc import Sequence
from pathlib import Path

import gradio as gr
import pandas as pd
from sklearn.pipeline import Pipeline

from persona_affect.annotation import FrameAnnotator, Seen, Session
from persona_affect.exceptions import MediaLimitError
from persona_affect.media import Frame

from ._limits import Limits, readable
from ._scales import Scales
from ._upload_box import upload_box
from ._uploads import Uploads
from ._views import timeline
from ._visitors import Visitors

Answer = tuple[str, str, str, str]


class VisitorAnnotator(FrameAnnotator):
    """Annotates a visitor's clip while the visitor waits, within a limit of time."""

    def __init__(self, model: Pipeline, limits: Limits, visitors: Visitors, visitor: str) -> None:
        super().__init__(model, detect_every=5, max_faces=limits.faces)
        self._limits, self._visitors, self._visitor = limits, visitors, visitor

    def session(self) -> Session:
        """Start a session that checks before it takes each batch of frames."""
        session, until = super().session(), time.monotonic() + self._limits.work_seconds
        make_rows = session.make_rows

        def checked(frames: Sequence[Frame], seen: Seen) -> list[list[dict[str, object]]]:
            self._visitors.check(self._visitor)
            if time.monotonic() > until:
                raise MediaLimitError(
                    f"it takes more than {self._limits.work_seconds:g} seconds. Please cut it."
                )
            return make_rows(frames, seen)

        session.make_rows = checked  # type: ignore[method-assign]
        return session


def video_tab(
    model: Pipeline, scales: Scales, limits: Limits, uploads: Uploads, visitors: Visitors
) -> None:
    """Lay out the tab."""

    @readable
    def video(file: str, request: gr.Request) -> Answer:
        annotator = VisitorAnnotator(model, limits, visitors, str(request.session_hash))
        with uploads.using(file) as path, uploads.making() as folder:
            clip, rows, subtitles = (Path(folder, f"annotated.{s}") for s in ("mp4", "csv", "vtt"))
            limits.check_clip(path)
            annotator.to_file(path, [rows, subtitles], video=clip)
            view = timeline(pd.read_csv(rows), scales)
            visitors.check(str(request.session_hash))
        return str(clip), str(rows), str(subtitles), view

    with gr.Row(elem_classes="pa-inputs"):
        box = upload_box(
            f"Clip, up to {limits.clip_seconds:g} seconds: drop one here, or choose",
            ["video"],
            uploads,
            elem_id="pa-video-file",
        )
    hint = gr.HTML(_EMPTY)
    player = gr.Video(
        visible="hidden", interactive=False, show_label=False, elem_id="pa-player", height=440
    )
    view = gr.HTML(elem_id="pa-video-timeline")
    with gr.Row(visible=False, elem_classes="pa-downloads") as downloads:
        rows = gr.DownloadButton("Numbers (CSV)", elem_id="pa-video-csv")
        clip = gr.DownloadButton("Annotated clip (MP4)", elem_id="pa-video-mp4")
        subtitles = gr.DownloadButton("Subtitles (WebVTT)", elem_id="pa-video-vtt")

    # What the player shows is the file itself, as it was made.
    player.preprocess = lambda payload: payload and payload.path

    def reveal(path: str | None) -> tuple[object, ...]:
        shown = path is not None
        return (
            None,
            gr.HTML(visible=not shown),
            gr.Video(visible=shown or "hidden"),
            gr.Row(visible=shown),
            gr.DownloadButton(value=path),
        )

    box.upload(
        video,
        box,
        [player, rows, subtitles, view],
        api_name="video",
        api_description="Annotate a clip: the clip with its faces marked (MP4), a row a frame and "
        "face (CSV), subtitles (WebVTT), then the page's own view of them.",
        concurrency_limit=1,
        show_progress_on=view,
    ).then(reveal, player, [box, hint, player, downloads, clip], api_visibility="private")


_EMPTY = (
    '<p class="pa-empty">The clip comes back with its faces marked and its sound, beside a '
    "timeline that moves with it, as a table and as subtitles. Your clip is deleted at once.</p>"
)
