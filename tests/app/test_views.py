import re

import numpy as np
import pandas as pd

from persona_affect.app._scales import Scales
from persona_affect.app._views import boxes, photo_report, timeline

NAMES = ["warm", "<b>up</b>", "across"]
SCALES = Scales(
    NAMES, dict.fromkeys(NAMES, 50.0), dict.fromkeys(NAMES, 10.0), ("<b>up</b>", "across")
)
PLACE = {"x": 4.0, "y": 20.0, "width": 30.0, "height": 40.0, "confidence": 0.99}
ROWS = [{"face": i, **PLACE, "warm": 60.0, "<b>up</b>": 70.0, "across": 40.0} for i in (0, 1)]
IMAGE = np.full((90, 120, 3), 128, np.uint8)


def test_a_report_shows_every_face_and_number():
    report = photo_report(IMAGE, ROWS, SCALES)
    found = re.findall(
        r'data-face="(\d)" data-target="warm" data-value="([\d.]+)">([\d.]+)', report
    )
    assert found == [("0", "60.0", "60.0"), ("1", "60.0", "60.0")]
    assert "higher than 84 in 100" in report
    assert "2 faces were found" in report


def test_intervals_and_remarks_are_shown_where_there_are_some():
    plain = photo_report(IMAGE, ROWS, SCALES)
    assert "interval" not in plain
    assert "Less reliable" not in plain
    rows = [
        ROWS[0] | {"warm_low": 51.24, "warm_high": 68.8, "remarks": "blurred <i>"},
        ROWS[1] | {"warm_low": np.nan, "warm_high": np.nan, "remarks": ""},
    ]
    report = photo_report(IMAGE, rows, SCALES)
    assert re.findall(r'90 % interval">([^<]*)<', report) == ["51.2 to 68.8"] * 2
    assert report.count("Less reliable: blurred &lt;i&gt;.") == 1


def test_several_faces_are_compared_and_can_be_picked():
    report = photo_report(IMAGE, ROWS, SCALES)
    assert len(re.findall(r'<td class="pa-bar[^>]*>60.0</td>', report)) == 2
    assert re.findall(r'<button[^>]*data-pick="(\w+)"', report) == ["all", "0", "1"]
    assert re.findall(r'<g class="pa-c\d" data-pick="(\d)"><rect', report) == ["0", "1"]
    # Each card is there, and hidden until its face is picked.
    assert re.findall(r'data-of="(\d)" aria-label="Face \d"( hidden)?', report) == [
        ("0", " hidden"),
        ("1", " hidden"),
    ]
    alone = photo_report(IMAGE, ROWS[:1], SCALES)
    assert "<table" not in alone
    assert " hidden" not in alone


def test_names_from_a_model_are_text_and_never_markup():
    report = photo_report(IMAGE, ROWS, SCALES)
    assert "<b>up</b>" not in report
    assert "&lt;b&gt;up&lt;/b&gt;" in report


def test_the_plane_says_what_stands_for_what():
    assert "are shown instead" in photo_report(IMAGE, ROWS, SCALES)
    # 40 is one deviation left of the middle, 70 two above it.
    assert "translate(80.0 40.0)" in photo_report(IMAGE, ROWS, SCALES)


def test_no_face_is_said():
    report = photo_report(IMAGE, [], SCALES)
    assert "No face was found" in report
    assert "<output" not in report


def test_a_box_is_where_the_face_is():
    drawn = boxes(ROWS[:1], 120, 90)
    assert 'x="4.0" y="20.0" width="30.0" height="40.0"' in drawn
    assert 'viewBox="0 0 120 90"' in drawn


def test_a_timeline_has_a_line_a_face_and_gaps():
    table = pd.DataFrame(
        {"frame": [0, 1, 3], "time": [0.0, 0.5, 1.0], "face": 0.0, **dict.fromkeys(NAMES, 50.0)}
    )
    view = timeline(table, SCALES)
    (warm, *_) = re.findall(r'<path class="pa-line pa-c0" d="([^"]*)"', view)
    assert warm == "M0.0 50.0L500.0 50.0M1000.0 50.0"
    assert 'data-end="1.000"' in view


def test_a_clip_without_a_face_is_said():
    table = pd.DataFrame(
        {"frame": [0], "time": [0.0], "face": [np.nan]} | dict.fromkeys(NAMES, np.nan)
    )
    assert "No face" in timeline(table, SCALES)
