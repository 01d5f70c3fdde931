"""Drawing faces into a picture: boxes, numbers, and a bar for each target."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ._ranges import default_ranges, format_value

Picture = NDArray[np.uint8]
Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]

#: Colours of Okabe and Ito, which people with any colour vision can distinguish
#: (jfly.uni-koeln.de/color); those that differ most come first.
COLOURS: Final[tuple[Colour, ...]] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
)
_WHITE: Final[Colour] = (255, 255, 255)
_BLACK: Final[Colour] = (0, 0, 0)
_GREY: Final[Colour] = (110, 110, 110)

#: Text height: the smallest readable one, in pixels, and the fraction of the picture's shorter
#: side.
_SMALLEST_TEXT, _TEXT_SHARE = 11, 1 / 34


def draw_faces(
    image: Picture,
    rows: Iterable[Mapping[str, Any]],
    targets: Mapping[str, tuple[float, float]] | Sequence[str],
    *,
    caption: str = "apparent impressions",
) -> Picture:
    """Mark faces: a box and a number in the colour of the face, and a bar for each target.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB; it is not changed. Text is readable from about 240 pixels on. On smaller pictures, and
        if bars do not fit, only boxes and numbers are drawn.
    rows : iterable of mappings
        One for each face, as :meth:`persona_affect.FrameAnnotator.annotate` yields them; rows
        without a face are skipped.
    targets : mapping of str to (float, float), or sequence of str
        Which targets, and the values at which bars are empty and full; see `target_ranges`. By
        default -1 to 1 for arousal and valence, and 0 to 1.
    caption : str, default="apparent impressions"
        Text in the corner: predictions are not facts about people.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        A copy with the marks.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.annotation import draw_faces
    >>> row = {"face": 0, "x": 40, "y": 40, "width": 60, "height": 70, "happy": 61.5}
    >>> picture = draw_faces(np.zeros((240, 320, 3), np.uint8), [row], {"happy": (0, 100)})
    >>> picture.shape, bool(picture.any())
    ((240, 320, 3), True)
    """
    ranges = dict(targets) if isinstance(targets, Mapping) else default_ranges(targets)
    canvas = np.ascontiguousarray(image).copy()
    height, width = canvas.shape[:2]
    size = max(_SMALLEST_TEXT, round(min(height, width) * _TEXT_SHARE))
    faces = [row for row in rows if not math.isnan(row["face"])]
    boxes = [_box(row) for row in faces]
    for row, box in zip(faces, boxes, strict=True):
        _draw_box(canvas, box, int(row["face"]), size)
    taken = [*boxes]
    for row in faces:
        panel = _panel(row, ranges, size) if ranges else None
        if panel is None or panel.shape[0] > height or panel.shape[1] > width:
            continue
        x, y = _place(panel.shape[:2], _box(row), taken, (height, width), size // 2)
        taken.append((x, y, x + panel.shape[1], y + panel.shape[0]))
        part = canvas[y : y + panel.shape[0], x : x + panel.shape[1]]
        # The background is darkened, so that white text on it is readable.
        glass = part // np.uint8(4)
        part[:] = np.where(panel[..., 3:] > 0, _mix(glass, panel), glass)
    if caption:
        small = max(_SMALLEST_TEXT, round(0.8 * size))
        mask = _text(caption, small)
        if mask.shape[1] + size <= width and mask.shape[0] + size <= height:
            y = height - mask.shape[0] - size // 3
            _write(canvas, mask, size // 2 + 1, y + 1, _BLACK)
            _write(canvas, mask, size // 2, y, _WHITE)
    return canvas


def _box(row: Mapping[str, Any]) -> Box:
    x, y = row["x"], row["y"]
    return round(x), round(y), round(x + row["width"]), round(y + row["height"])


def _draw_box(canvas: Picture, box: Box, face: int, size: int) -> None:
    x1, y1, x2, y2 = box
    colour = COLOURS[face % len(COLOURS)]
    stroke = max(2, size // 6)
    # A dark border makes the colour visible on any background.
    cv2.rectangle(canvas, (x1, y1), (x2, y2), _BLACK, stroke + 2)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, stroke)
    mask = _text(str(face), size)
    pad = max(2, size // 4)
    tab_height, tab_width = mask.shape[0] + pad, mask.shape[1] + 2 * pad
    # Above the box, or inside it at the top of the picture.
    top = y1 - tab_height if y1 >= tab_height else max(y1, 0)
    left = max(x1 - stroke // 2, 0)
    cv2.rectangle(canvas, (left, top), (left + tab_width, top + tab_height), colour, cv2.FILLED)
    _write(canvas, mask, left + pad, top + pad // 2, _BLACK)


def _panel(row: Mapping[str, Any], ranges: Mapping[str, tuple[float, float]], size: int) -> Any:
    """Draw names, bars and numbers: RGB and opacity, (h, w, 4)."""
    names = {name: _text(name, size) for name in ranges}
    pad, bar = size // 2, 4 * size
    line = max(mask.shape[0] for mask in names.values()) + max(2, size // 4)
    left = pad + max(mask.shape[1] for mask in names.values()) + pad
    values = {
        name: _text(format_value(row[name], ends[1] - ends[0]), size)
        for name, ends in ranges.items()
    }
    # As wide as the widest possible number, so that the width does not change between frames.
    digits = max(
        _text(format_value(end, ends[1] - ends[0]), size).shape[1]
        for ends in ranges.values()
        for end in ends
    )
    digits = max(digits, *(mask.shape[1] for mask in values.values()))
    panel = np.zeros((line * len(ranges) + pad, left + bar + pad + digits + pad, 4), np.uint8)
    colour = COLOURS[int(row["face"]) % len(COLOURS)]
    for place, (name, (low, high)) in enumerate(ranges.items()):
        y = pad // 2 + place * line
        _write(panel, names[name], pad, y, _WHITE)
        _write(panel, values[name], left + bar + pad + digits - values[name].shape[1], y, _WHITE)
        top, bottom = y + line // 4, y + line - line // 4
        panel[top:bottom, left : left + bar] = (*_GREY, 255)
        if math.isfinite(row[name]):
            share = min(max((row[name] - low) / (high - low), 0.0), 1.0)
            panel[top:bottom, left : left + max(1, round(share * bar))] = (*colour, 255)
        middle = left + bar // 2
        panel[top - 1 : bottom + 1, middle : middle + max(1, size // 12)] = (*_WHITE, 255)
    return panel


def _place(
    shape: tuple[int, ...], box: Box, taken: Sequence[Box], picture: tuple[int, int], gap: int
) -> tuple[int, int]:
    """Find the place where a panel hides the least: beside, below or above its face."""
    (height, width), (x1, y1, x2, y2) = shape, box
    rows, columns = picture
    inside = {
        (min(max(x, 0), columns - width), min(max(y, 0), rows - height))
        for x in (x2 + gap, x1 - gap - width, x1, 0, columns)
        for y in (y1, y2 + gap, y1 - 2 * gap - height, 0, rows)
    }

    def cost(corner: tuple[int, int]) -> tuple[int, int, int]:
        x, y = corner
        hidden = sum(
            max(0, min(x + width, right) - max(x, left))
            * max(0, min(y + height, low) - max(y, top))
            for left, top, right, low in taken
        )
        # To the right, if all else is equal.
        return hidden, abs(2 * x + width - x1 - x2) + abs(2 * y - 2 * y1), -x

    return min(inside, key=cost)


def _mix(under: Picture, over: Picture) -> Picture:
    weight = over[..., 3:].astype(np.uint16)
    mixed = (over[..., :3] * weight + under * (255 - weight) + 127) // 255
    return mixed.astype(np.uint8)


def _write(canvas: Picture, mask: Picture, x: int, y: int, colour: Colour) -> None:
    """Draw text on RGB, or into RGB with opacity; parts outside the picture are ignored."""
    height, width = canvas.shape[:2]
    x0, y0 = max(x, 0), max(y, 0)
    mask = mask[y0 - y : max(height - y, 0), x0 - x : max(width - x, 0)]
    if not mask.size:
        return
    part = canvas[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
    if canvas.shape[2] == 4:
        part[..., :3], part[..., 3] = colour, np.maximum(part[..., 3], mask)
    else:
        ink = np.empty((*mask.shape, 4), np.uint8)
        ink[..., :3], ink[..., 3] = colour, mask
        part[:] = _mix(part, ink)


@lru_cache(maxsize=4096)
def _text(text: str, size: int) -> Picture:
    """Draw a line of text as opacity, (h, w), with the same height for any text."""
    font = _font(size)
    ascent, descent = font.getmetrics()
    canvas = Image.new("L", (max(1, math.ceil(font.getlength(text))), ascent + descent))
    ImageDraw.Draw(canvas).text((0, 0), text, fill=255, font=font)
    return np.asarray(canvas)


@lru_cache(maxsize=16)
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
