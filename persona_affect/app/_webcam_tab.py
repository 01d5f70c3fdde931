"""The tab for a webcam: boxes over the live picture, and curves over time.

The browser sends the newest picture when there is an answer, so that pictures are dropped: one is
predicted and at most one waits. It draws the answers itself (`camera.js`).
"""

import json
from html import escape

import gradio as gr
from sklearn.pipeline import Pipeline

from persona_affect.annotation import FrameAnnotator

from ._cameras import Cameras
from ._limits import Limits, with_face_size
from ._scales import Scales

#: Side of the smallest faces that are found, in pixels: a person in front of a webcam is near, and
#: finding faces of half the size takes four times as long.
MIN_FACE_SIZE = 40
#: Sizes of the camera's pictures that can be chosen.
SIZES = ("640 x 480", "1280 x 720", "1920 x 1080")


def make_cameras(model: Pipeline, limits: Limits) -> Cameras:
    """Make the place for the cameras of all visitors."""
    annotator = FrameAnnotator(
        with_face_size(model, MIN_FACE_SIZE), detect_every=5, smooth=0.3, max_faces=limits.faces
    )
    return Cameras(annotator.session, at_once=limits.at_once, seconds=limits.webcam_seconds)


def webcam_tab(scales: Scales) -> None:
    """Lay out the tab."""
    gr.HTML(_TAB.format(targets=escape(json.dumps(scales.describe())), sizes=_sizes()))


def _sizes() -> str:
    return "".join(f"<option>{size}</option>" for size in SIZES)


_TAB = """
<div class="pa-camera" data-targets="{targets}">
  <div class="pa-camera-bar">
    <button type="button" class="pa-button" data-camera="start">Start the camera</button>
    <label>Picture <select data-camera="size">{sizes}</select></label>
    <p class="pa-rate" role="status"></p>
  </div>
  <div class="pa-camera-grid">
    <div class="pa-camera-view"><video muted playsinline></video>
      <svg class="pa-boxes" aria-hidden="true"></svg></div>
    <div class="pa-camera-traces"><p class="pa-empty">Boxes follow every face, and lines show the
      last twenty seconds. Pictures are looked at and forgotten: none is stored.</p></div>
  </div>
</div>
"""
