"""The tab for photos."""

import json
import math
from html import escape
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from persona_affect._threads import share_processors
from persona_affect.annotation import PLACE, RELIABILITY, FrameAnnotator, check_photo_model
from persona_affect.datasets import make_affect_faces
from persona_affect.estimators import ConformalAffect
from persona_affect.media import open_photo

from ._limits import Limits, readable, with_face_size
from ._scales import Scales
from ._upload_box import upload_box
from ._uploads import Uploads
from ._views import photo_report
from ._visitors import Visitors

#: Probability that an interval contains a rating.
LEVEL = 0.9

Answer = tuple[list[dict[str, Any]], str]


def photo_tab(
    model: Pipeline | ConformalAffect,
    scales: Scales,
    limits: Limits,
    uploads: Uploads,
    visitors: Visitors,
) -> None:
    """Lay out the tab."""

    def show(image: NDArray[np.uint8], visitor: str) -> Answer:
        rows = predict_photo(model, image, limits)
        answer = rows, photo_report(image, rows, scales)
        visitors.check(visitor)
        return answer

    @readable
    def photo(file: str, request: gr.Request) -> Answer:
        visitor = str(request.session_hash)
        with uploads.using(file) as path:
            visitors.check(visitor)
            image = open_photo(path.read_bytes(), max_pixels=limits.photo_pixels)
        return show(image, visitor)

    @readable
    def example(request: gr.Request) -> Answer:
        visitor = str(request.session_hash)
        visitors.check(visitor)
        image = make_affect_faces(1, image_size=480, random_state=None).data[0]
        return show(image, visitor)

    def clear() -> None:
        """Empty the upload box for the next file: the last is no longer on the server."""

    with gr.Row(elem_classes="pa-inputs"):
        box = upload_box(
            "Photo: drop one here, or choose", ["image"], uploads, elem_id="pa-photo-file"
        )
        button = gr.Button("Try a rendered face", elem_id="pa-photo-example", scale=0)
    rows = gr.JSON(visible=False)
    report = gr.HTML(EMPTY, elem_id="pa-photo-report")
    gr.HTML(_MANY.format(columns=escape(json.dumps([*PLACE[2:], *scales.names, *RELIABILITY]))))
    together: dict[str, Any] = {"concurrency_limit": limits.at_once, "concurrency_id": "photo"}
    box.upload(
        photo,
        box,
        [rows, report],
        api_name="photo",
        api_description="Find every face of a photo and predict it: a row a face, then the page's "
        "own view of them.",
        **together,
    ).then(clear, None, box, api_visibility="private")
    button.click(example, None, [rows, report], api_visibility="private", **together)


EMPTY = (
    '<p class="pa-empty">Every face in the photo gets a number, a place in the distribution of the '
    "ratings that the model learnt from, and a place in the plane of emotion. The photo is not "
    "kept.</p>"
)


_MANY = """
<details class="pa-many" data-columns="{columns}"><summary>Many photos, to a table</summary>
  <p class="pa-note">The photos are sent one by one, predicted and forgotten. The table stays in
    this page, and can be saved as a file (CSV).</p>
  <div class="pa-many-bar">
    <label class="pa-button">Choose photos<input type="file" multiple accept="image/*"></label>
    <button type="button" class="pa-button" data-many="stop" hidden>Stop</button>
    <a class="pa-button" data-many="save" download="impressions.csv" hidden>Save the table (CSV)</a>
  </div>
  <progress max="1" value="0" aria-label="Photos that are done" hidden></progress>
  <p class="pa-note" role="status"></p>
  <div class="pa-scroll" tabindex="0" hidden><table><thead></thead><tbody></tbody></table></div>
</details>
"""


def predict_photo(
    model: Pipeline | ConformalAffect, image: NDArray[np.uint8], limits: Limits
) -> list[dict[str, Any]]:
    """Predict every face of a photo: ``face``, its box, ``confidence``, the targets.

    Then how reliable they are; before that, with a calibration, the ends of 90 % intervals, where
    there are enough calibration persons: wider for faces that are less reliable.

    Raises
    ------
    MediaLimitError
        If it has more faces than the limit.
    """
    share_processors(limits.at_once)
    height, width = image.shape[:2]
    larger = max(1.0, math.sqrt(height * width / limits.search_pixels))
    pipeline = check_photo_model(model)
    sized = with_face_size(pipeline, larger * pipeline[0].min_face_size)
    calibrated = isinstance(model, ConformalAffect)
    annotator = FrameAnnotator(
        model.around(sized) if calibrated else sized,
        track=False,
        max_faces=limits.faces,
        interval=LEVEL if calibrated else None,
        reliability=True,
        widen=True,
    )
    table = annotator.to_dataframe(image[None]).drop(columns=["frame", "time"])
    table = table.dropna(subset=["face"]).astype({"face": int})
    ends = [f"{name}_{end}" for name in pipeline[-1].target_names_ for end in ("low", "high")]
    missing = [name for name in ends if name in table and table[name].isna().all()]
    table = table.drop(columns=missing)
    return [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False)]
