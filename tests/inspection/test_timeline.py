import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from persona_affect import FrameAnnotator
from persona_affect.inspection import AffectTimelineDisplay

TABLE = pd.DataFrame(
    {
        "frame": [0, 0, 1, 2, 3, 3],
        "time": [0.0, 0.0, 0.1, 0.2, 0.3, 0.3],
        "face": [0, 1, 0, np.nan, 0, 1],
        "happy": [1.0, 5.0, 2.0, np.nan, 3.0, 6.0],
        "alert": [0.1, 0.2, 0.3, np.nan, 0.5, 0.6],
    }
)


def test_a_line_for_each_face_and_target_with_gaps():
    display = AffectTimelineDisplay.from_predictions(TABLE, targets=["happy", "alert"])
    assert set(display.lines_) == {(f, t) for f in (0, 1) for t in ("happy", "alert")}
    np.testing.assert_array_equal(display.lines_[0, "happy"].get_ydata(), [1, 2, np.nan, 3])
    np.testing.assert_array_equal(display.lines_[1, "happy"].get_xdata(), [0, np.nan, 0.3])
    assert display.ax_.get_xlabel() == "time (s)"
    assert len(display.ax_.get_legend().get_texts()) == 4


def test_faces_differ_in_style_and_targets_in_colour():
    lines = AffectTimelineDisplay.from_predictions(TABLE, targets=["happy", "alert"]).lines_
    assert lines[0, "happy"].get_linestyle() != lines[1, "happy"].get_linestyle()
    assert lines[0, "happy"].get_color() == lines[1, "happy"].get_color()
    assert lines[0, "happy"].get_color() != lines[0, "alert"].get_color()


def test_from_estimator_annotates_a_clip(model, faces):
    _, ax = plt.subplots()
    display = AffectTimelineDisplay.from_estimator(model, faces.data[:4], track=False, ax=ax)
    expected = FrameAnnotator(model, track=False).to_dataframe(faces.data[:4])
    assert set(display.lines_) == {(0, "arousal"), (0, "valence")}
    np.testing.assert_allclose(display.lines_[0, "valence"].get_ydata(), expected["valence"])
    assert display.ax_ is ax


def test_a_clip_without_faces_is_an_empty_plot(model):
    display = AffectTimelineDisplay.from_estimator(
        model, np.full((2, 64, 64, 3), 128, np.uint8), track=False, targets=["openness"]
    )
    assert display.lines_ == {}
    display.figure_.canvas.draw()


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="no columns \\['calm'\\]"):
        AffectTimelineDisplay.from_predictions(TABLE, targets=["calm"])
