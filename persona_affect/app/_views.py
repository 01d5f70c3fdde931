"""Predictions as HTML and SVG, coloured by the page's theme.

Every text from outside (names of targets come from a model's file) is escaped.
"""

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from persona_affect.annotation import REACH
from persona_affect.inspection import iter_face_tracks

from ._scales import Scales

#: Longest side, in pixels, of a photo that is sent back.
SHOWN_SIDE = 1600
#: Number of colours of faces.
N_COLOURS = 6

Row = Mapping[str, Any]


def photo_report(image: NDArray[np.uint8], rows: Sequence[Row], scales: Scales) -> str:
    """Show a photo with boxes and numbers on its faces, and the impressions of each."""
    height, width = image.shape[:2]
    found = "No face was found" if not rows else _count(len(rows), "face")
    picture = (
        f'<figure class="pa-photo"><div class="pa-frame">'
        f'<img src="{_data_uri(image)}" alt="The photo. {found}." '
        f'width="{width}" height="{height}">{boxes(rows, width, height)}</div>'
        f"<figcaption>{found}.</figcaption></figure>"
    )
    if not rows:
        hint = "Faces that are not too small, seen from the front, are found best."
        return f'<div class="pa-report">{picture}<p class="pa-note">{hint}</p></div>'
    alone = len(rows) == 1
    cards = "".join(_card(row, scales, hidden=not alone) for row in rows)
    several = "" if alone else _picks(rows) + _table(rows, scales)
    return (
        f'<div class="pa-report">{picture}<div class="pa-side">{_plane(rows, scales)}<section '
        f'class="pa-card pa-faces" aria-label="Faces">{several}{cards}</section></div></div>'
    )


def _picks(rows: Sequence[Row]) -> str:
    """Draw a button for each face, and one for the table of all."""
    buttons = [
        f'<button type="button" class="pa-pick pa-c{int(row["face"]) % N_COLOURS}" '
        f'data-pick="{int(row["face"])}" aria-pressed="false" '
        f'aria-label="Face {int(row["face"])}">{int(row["face"])}</button>'
        for row in rows
    ]
    return (
        '<div class="pa-picks" role="group" aria-label="Which face"><button type="button" '
        'class="pa-pick" data-pick="all" aria-pressed="true">Compare</button>'
        f"{''.join(buttons)}</div>"
    )


def _table(rows: Sequence[Row], scales: Scales) -> str:
    """Compare the faces: a row for each target, a column for each face."""
    heads = "".join(
        f'<th scope="col"><span class="pa-dot pa-c{int(row["face"]) % N_COLOURS}">'
        f"{int(row['face'])}</span></th>"
        for row in rows
    )
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(_cell(row, name, scales) for row in rows)
        + "</tr>"
        for name in scales.names
    )
    return (
        '<div class="pa-scroll pa-compared" data-of="all" tabindex="0"><table>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _cell(row: Row, name: str, scales: Scales) -> str:
    value, face, bar = float(row[name]), int(row["face"]), ""
    ends = _interval(row, name, scales)
    if scales.known(name) and math.isfinite(value):
        share = 100 * float(scales.place(name, value))
        bar = f' class="pa-bar pa-c{face % N_COLOURS}" style="--share:{share:.0f}%"'
    return f"<td{bar}>{scales.write(name, value)}{ends}</td>"


def boxes(rows: Iterable[Row], width: int, height: int) -> str:
    """Draw boxes with numbers over a picture of that size."""
    unit = max(width, height) / 100
    marks = []
    for row in rows:
        x, y, face = float(row["x"]), float(row["y"]), int(row["face"])
        # The number sits above the box, or within it at the picture's upper edge.
        top = y - 5 * unit if y > 5 * unit else y
        marks.append(
            f'<g class="pa-c{face % N_COLOURS}" data-pick="{face}">'
            f'<rect class="pa-box" x="{x:.1f}" y="{y:.1f}" '
            f'width="{row["width"]:.1f}" height="{row["height"]:.1f}" rx="{unit:.1f}"/>'
            f'<rect class="pa-tag" x="{x:.1f}" y="{top:.1f}" width="{5 * unit:.1f}" '
            f'height="{5 * unit:.1f}" rx="{unit:.1f}"/><text x="{x + 2.5 * unit:.1f}" '
            f'y="{top + 3.8 * unit:.1f}" font-size="{3.6 * unit:.1f}">{face}</text></g>'
        )
    return (
        f'<svg class="pa-boxes" viewBox="0 0 {width} {height}" aria-hidden="true">'
        f"{''.join(marks)}</svg>"
    )


def _card(row: Row, scales: Scales, *, hidden: bool) -> str:
    face = int(row["face"])
    traits = "".join(_trait(row, name, scales) for name in scales.names)
    remarks = str(row.get("remarks", ""))
    note = f'<p class="pa-note">Less reliable: {escape(remarks)}.</p>' if remarks else ""
    return (
        f'<section class="pa-c{face % N_COLOURS}" data-of="{face}" aria-label="Face {face}"'
        f"{' hidden' if hidden else ''}>"
        f'<h3><span class="pa-dot" aria-hidden="true">{face}</span> Face {face}</h3>'
        f'{note}<dl class="pa-traits">{traits}</dl></section>'
    )


def _interval(row: Row, name: str, scales: Scales) -> str:
    """Write the ends of the 90 % interval, if there is one."""
    ends = [float(row.get(f"{name}_{end}", math.nan)) for end in ("low", "high")]
    if not all(map(math.isfinite, ends)):
        return ""
    low, high = (scales.write(name, end) for end in ends)
    return f'<span class="pa-rank" title="90 % interval">{low} to {high}</span>'


def _trait(row: Row, name: str, scales: Scales) -> str:
    value, face, chart, rank = float(row[name]), int(row["face"]), "", ""
    interval = _interval(row, name, scales)
    if scales.known(name) and math.isfinite(value):
        chart = _curve(float(scales.place(name, value)))
        percent = min(max(round(scales.rank(name, value)), 1), 99)
        rank = f'<span class="pa-rank">higher than {percent} in 100</span>'
    return (
        f'<div class="pa-trait"><dt>{escape(name)}</dt><dd class="pa-chart">{chart}</dd>'
        f'<dd class="pa-value"><output data-face="{face}" data-target="{escape(name)}" '
        f'data-value="{value!r}">{scales.write(name, value)}</output>{interval}{rank}</dd></div>'
    )


_X = np.linspace(-REACH, REACH, 61)
_CURVE = [(200 * (x + REACH) / (2 * REACH), 27 - 23 * math.exp(-x * x / 2)) for x in _X.tolist()]


def _curve(place: float) -> str:
    """Draw the position of a value in the distribution of the ratings."""
    x = 200 * place
    z = (2 * place - 1) * REACH
    y = 27 - 23 * math.exp(-z * z / 2)
    below = [*(point for point in _CURVE if point[0] < x), (x, y), (x, 27.0)]
    return (
        '<svg viewBox="0 0 200 30" aria-hidden="true">'
        f'<path class="pa-all" d="{_path(_CURVE)}"/>'
        f'<path class="pa-below" d="{_path([(0.0, 27.0), *below])}Z"/>'
        f'<line class="pa-base" x1="0" y1="27" x2="200" y2="27"/>'
        f'<line class="pa-mark" x1="{x:.1f}" y1="27" x2="{x:.1f}" y2="{y:.1f}"/>'
        f'<circle class="pa-point" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/></svg>'
    )


def _plane(rows: Sequence[Row], scales: Scales) -> str:
    """Draw the circumplex: valence, or its substitute, across; arousal, or its substitute, up."""
    if scales.plane is None or not all(map(scales.known, scales.plane)):
        return ""
    up, across = scales.plane
    marks = []
    for row in rows:
        if not (math.isfinite(row[across]) and math.isfinite(row[up])):
            continue
        x, y = 240 * scales.place(across, row[across]), 240 * (1 - scales.place(up, row[up]))
        face = int(row["face"])
        marks.append(
            f'<g class="pa-c{face % N_COLOURS}" data-pick="{face}" '
            f'transform="translate({x:.1f} {y:.1f})">'
            f'<circle class="pa-tag" r="9"/><text y="4" font-size="11">{face}</text></g>'
        )
    rings = "".join(f'<circle class="pa-ring" cx="120" cy="120" r="{r}"/>' for r in (40, 80, 120))
    stand_in = ""
    if (up, across) != ("arousal", "valence"):
        stand_in = (
            f" This model was not trained on valence and arousal: its targets "
            f"<em>{escape(across)}</em> and <em>{escape(up)}</em> are shown instead."
        )
    return (
        '<section class="pa-card pa-circumplex" aria-label="Circumplex"><h3>Emotion</h3>'
        f'<div class="pa-plane"><span class="pa-up">{escape(up)} →</span>'
        '<svg viewBox="-2 -2 244 244" role="img" '
        f'aria-label="Faces by {escape(across)} and {escape(up)}">{rings}'
        '<line class="pa-base" x1="0" y1="120" x2="240" y2="120"/>'
        f'<line class="pa-base" x1="120" y1="0" x2="120" y2="240"/>{"".join(marks)}</svg>'
        f'<span class="pa-across">{escape(across)} →</span></div>'
        f'<p class="pa-note">Rings: one, two and three standard deviations of the ratings around '
        f"their mean.{stand_in}</p></section>"
    )


def timeline(table: pd.DataFrame, scales: Scales) -> str:
    """Draw each target over the time of a clip, a colour a face, with a cursor to follow."""
    if table["face"].isna().all():
        return '<p class="pa-note" role="status">No face was found in this clip.</p>'
    end = float(table["time"].max()) or 1.0
    faces = ", ".join(str(face) for face, _ in iter_face_tracks(table))
    return (
        f'<div class="pa-timeline" data-end="{end:.3f}" tabindex="0" role="slider" '
        f'aria-label="Position in the clip" aria-valuemin="0" aria-valuemax="{end:.2f}" '
        f'aria-valuenow="0"><div class="pa-cursor"></div>{traces(table, scales, 0.0, end)}'
        f'<div class="pa-row pa-axis"><span></span><span><b>0 s</b><b>{end:.1f} s</b></span>'
        f"<span></span></div></div>"
        f'<p class="pa-note">Faces {faces}. Each row spans three standard deviations to both sides '
        "of the mean rating, where the model knows them. Click, or use the arrow keys, to move.</p>"
    )


def traces(table: pd.DataFrame, scales: Scales, start: float, end: float) -> str:
    """Draw a row for each target from `start` to `end` seconds, and write its latest values."""
    places = table.assign(**{name: scales.place(name, table[name]) for name in scales.names})
    tracks = list(iter_face_tracks(places))
    latest = table.dropna(subset=["face"]).groupby("face").last()
    return "".join(
        f'<div class="pa-row"><span>{escape(name)}</span>'
        '<svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">'
        '<line class="pa-base" x1="0" y1="50" x2="1000" y2="50"/>'
        + "".join(_trace(face, seen, name, start, end) for face, seen in tracks)
        + '</svg><span class="pa-latest">'
        + "".join(
            f'<output class="pa-c{int(face) % N_COLOURS}" data-face="{int(face)}" '
            f'data-target="{escape(name)}" data-value="{value!r}">{scales.write(name, value)}'
            "</output>"
            for face, value in zip(latest.index, latest[name].tolist(), strict=True)
        )
        + "</span></div>"
        for name in scales.names
    )


def _trace(face: int, seen: pd.DataFrame, name: str, start: float, end: float) -> str:
    at = 1000 * (seen["time"].to_numpy(float) - start) / max(end - start, 1e-9)
    height = 100 * (1 - seen[name].to_numpy(float))
    points = zip(at.tolist(), height.tolist(), strict=True)
    return f'<path class="pa-line pa-c{face % N_COLOURS}" d="{_path(points)}"/>'


def _path(points: Iterable[tuple[float, float]]) -> str:
    """Join points to a path, with a gap at each NaN."""
    steps, pen = [], "M"
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            steps.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(steps)


def _data_uri(image: NDArray[np.uint8]) -> str:
    """Encode a photo as a data address, so that it is never on the server's disk."""
    picture = Image.fromarray(image)
    picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _count(n: int, what: str) -> str:
    return f"1 {what} was found" if n == 1 else f"{n} {what}s were found"
