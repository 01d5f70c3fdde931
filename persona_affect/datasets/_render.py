"""Parametric faces as pixels: our own renderer, for data of which every cause is known.

A face is drawn in *face units*: the origin between the eyes and the nose, x to the right of the
picture, y down, the chin at y = 1. Flat shapes are drawn first, anti-aliased; then one soft map of
shadows and highlights multiplies all of them.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from persona_affect.datasets._face_parameters import (
    GEOMETRY_NAMES,
    Color,
    FaceExpression,
    FaceIdentity,
    FaceScene,
    as_color,
)

_SUBPIXEL_BITS = 4
_ARC = np.linspace(0, 2 * np.pi, 41)[:-1]
_CIRCLE = np.column_stack([np.cos(_ARC), np.sin(_ARC)])


def render_face(
    identity: FaceIdentity, expression: FaceExpression, scene: FaceScene, size: int = 128
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Render one face in one frame.

    Parameters
    ----------
    identity : FaceIdentity
    expression : FaceExpression
    scene : FaceScene
    size : int, default=128
        Side of the square picture, in pixels.

    Returns
    -------
    image : ndarray of shape (size, size, 3), uint8
        RGB.
    landmarks : ndarray of shape (5, 2)
        Left eye, right eye, nose tip, left and right mouth corner (left as seen in the picture), in
        pixels (x, y).
    """
    canvas = _Canvas(scene, size)
    shape = _Shape.of(identity, expression)
    _draw_body_and_head(canvas, shape, identity, scene)
    _draw_eyes(canvas, shape, identity, expression)
    _draw_brows(canvas, shape, identity, expression)
    _draw_nose(canvas, shape, identity)
    _draw_mouth(canvas, shape, identity, expression)
    _draw_hair(canvas, shape, identity)
    return canvas.shaded(scene, shape.width), canvas.to_pixels(shape.landmarks)


class _Canvas:
    """A picture under construction: flat colours, and a map of light (128 = unchanged)."""

    def __init__(self, scene: FaceScene, size: int) -> None:
        angle = np.deg2rad(scene.roll)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        self.unit = scene.scale * size
        self.turn = turn
        # Pixel centres are at integer coordinates, so the middle of the picture is (size - 1) / 2.
        self.origin = np.array([scene.x, scene.y]) * size - 0.5
        self.size = size
        self.image = np.empty((size, size, 3), np.uint8)
        self.image[:] = scene.background
        self.light = np.full((size, size), 128, np.uint8)

    def to_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return points @ self.turn.T * self.unit + self.origin

    def fill(self, points: NDArray[np.float64], color: Color) -> None:
        cv2.fillPoly(self.image, [self._fixed(points)], color, cv2.LINE_AA, _SUBPIXEL_BITS)

    def line(self, points: NDArray[np.float64], color: Color, width: float) -> None:
        """Draw a line as a polygon; OpenCV's own lines are a whole number of pixels wide."""
        along = np.gradient(points, axis=0)
        normal = np.column_stack([-along[:, 1], along[:, 0]])
        normal *= width / 2 / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        self.fill(np.vstack([points + normal, (points - normal)[::-1]]), color)

    def shade(self, points: NDArray[np.float64], level: int) -> None:
        cv2.fillPoly(self.light, [self._fixed(points)], level, cv2.LINE_AA, _SUBPIXEL_BITS)

    def shaded(self, scene: FaceScene, width: float) -> NDArray[np.uint8]:
        """Multiply the colours by soft shadows and by the light on an ellipsoid."""
        x, y = self._face_coordinates()
        nx, ny = x / (1.15 * width), y / 1.25
        nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0.05, None))
        direction = np.array([*scene.light, 1.0])
        lx, ly, lz = (direction / np.linalg.norm(direction)).astype(np.float32)
        side = np.clip(nx * lx + ny * ly + nz * lz, 0, 1)
        soft = cv2.GaussianBlur(self.light, (0, 0), 0.055 * self.unit)
        light = soft * (1 - scene.light_strength + 1.15 * scene.light_strength * side)
        # In fixed point, by 128: faster than a picture of floats.
        gain = cv2.merge([light.astype(np.uint8)] * 3)
        return np.asarray(cv2.multiply(self.image, gain, scale=1 / 128), np.uint8)

    def _face_coordinates(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        columns, rows = _pixel_grid(self.size)
        columns, rows = columns - np.float32(self.origin[0]), rows - np.float32(self.origin[1])
        back = (self.turn.T / self.unit).astype(np.float32)
        return back[0, 0] * columns + back[0, 1] * rows, back[1, 0] * columns + back[1, 1] * rows

    def _fixed(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        return np.rint(self.to_pixels(points) * 2**_SUBPIXEL_BITS).astype(np.int32)


@dataclass(frozen=True)
class _Shape:
    """Measures of one face in face units, with its expression."""

    width: float
    jaw: float
    eye_x: float
    eye_y: float
    eye_width: float
    nose_y: float
    nose_width: float
    mouth_y: float
    mouth_width: float
    corner_y: float
    lip: float
    brow: float

    @classmethod
    def of(cls, identity: FaceIdentity, expression: FaceExpression) -> "_Shape":
        look = dict(zip(GEOMETRY_NAMES, identity.geometry, strict=True))
        mouth_y = 0.62 - 0.02 * expression.mouth_open
        return cls(
            width=0.75 + 0.08 * look["face_width"],
            jaw=2.2 + 0.8 * look["jaw_width"],
            eye_x=0.335 + 0.045 * look["eye_spacing"],
            eye_y=-0.06,
            eye_width=0.155 + 0.03 * look["eye_size"],
            nose_y=0.31 + 0.06 * look["nose_length"],
            nose_width=0.125 + 0.04 * look["nose_width"],
            mouth_y=mouth_y,
            mouth_width=0.28 * expression.mouth_width,
            corner_y=mouth_y - 0.09 * expression.mouth_curve,
            lip=0.06 + 0.03 * look["lip_fullness"],
            brow=0.055 + 0.03 * look["brow_thickness"],
        )

    @property
    def landmarks(self) -> NDArray[np.float64]:
        return np.array(
            [
                (-self.eye_x, self.eye_y),
                (self.eye_x, self.eye_y),
                (0.0, self.nose_y),
                (-self.mouth_width, self.corner_y),
                (self.mouth_width, self.corner_y),
            ]
        )

    def outline(self, grow: float = 0.0) -> NDArray[np.float64]:
        """Return the head: half an ellipse above, a superellipse below; a wide jaw is squarer."""
        x, y = _CIRCLE.T
        half = np.where(y > 0, np.sign(x) * (1 - np.abs(y) ** self.jaw) ** 0.5, x)
        return np.column_stack([half * (self.width + grow), y * (1.02 + grow) - 0.02])


def _draw_body_and_head(
    canvas: _Canvas, shape: _Shape, identity: FaceIdentity, scene: FaceScene
) -> None:
    hair, skin = identity.hair, identity.skin
    behind = shape.outline(0.1)
    if identity.hair_style == "long":
        canvas.fill(behind * (1.12, 1.0) + (0, 0.02), hair)
        canvas.fill(_box(1.16 * (shape.width + 0.1), 0.0, 1.45), hair)
    elif identity.hair_style == "curly":
        canvas.fill(_ellipse(0, -0.35, shape.width + 0.32, 0.95), hair)
    neck = 0.62 * shape.width
    canvas.fill(_ellipse(0, 2.15, 1.75, 0.95), scene.clothes)
    canvas.fill(_box(neck, 0.5, 1.3), skin)
    canvas.fill(_ellipse(0, 1.3, neck, 0.18), skin)
    canvas.shade(_ellipse(0, 1.1, neck, 0.22), 92)
    for side in (-1, 1):
        canvas.fill(_ellipse(side * (shape.width + 0.01), 0.05, 0.085, 0.2), _darker(skin, 0.9))
    canvas.fill(shape.outline(), skin)
    canvas.shade(shape.outline(-0.02), 122)
    canvas.shade(_ellipse(0, -0.45, 0.55 * shape.width, 0.22), 136)


def _draw_eyes(
    canvas: _Canvas, shape: _Shape, identity: FaceIdentity, expression: FaceExpression
) -> None:
    height = 0.13 * shape.eye_width / 0.155 * np.clip(expression.eye_open, 0.03, 1.1)
    iris = 0.46 * shape.eye_width
    t = np.linspace(-1, 1, 13)
    lens = 1 - t**2
    for side in (-1, 1):
        x, y = side * shape.eye_x, shape.eye_y
        canvas.shade(_ellipse(x, y - 0.03, 1.35 * shape.eye_width, 0.16), 100)
        canvas.shade(_ellipse(x, y + 0.3, 0.17, 0.12 + 0.03 * expression.cheek_raise), 140)
        upper = np.column_stack([x + t * shape.eye_width, y - height * lens])
        lower = np.column_stack([x + t * shape.eye_width, y + (0.62 * height) * lens])
        opening = np.vstack([upper, lower[::-1]])
        canvas.fill(opening, (238, 234, 230))
        # The iris is cut by the lids, so that an eye half closed shows half an iris.
        for radius, color in ((iris, identity.eyes), (0.5 * iris, (16, 14, 14))):
            disc = _ellipse(x, y - 0.1 * height, radius, radius)
            at = (disc[:, 0] - x) / shape.eye_width
            bound = np.clip(1 - at**2, 0, None) * height
            disc[:, 1] = np.clip(disc[:, 1], y - bound, y + 0.62 * bound)
            canvas.fill(disc, color)
        glint = 0.16 * iris if expression.eye_open > 0.2 else 0.0
        canvas.fill(_ellipse(x + 0.25 * iris, y - 0.35 * height, glint, glint), (250, 250, 250))
        canvas.line(upper, _darker(identity.skin, 0.22), 0.04)
        canvas.line(lower, _darker(identity.skin, 0.62), 0.018)
        crease = np.column_stack([x + t * shape.eye_width * 1.05, y - (height + 0.07) * lens])
        canvas.line(crease, _darker(identity.skin, 0.7), 0.018)
        # Raised cheeks fold the skin under the eye.
        if expression.cheek_raise > 0:
            fold = np.column_stack([x + t * 0.15, y + 0.19 - 0.03 * expression.cheek_raise * lens])
            canvas.line(fold, _darker(identity.skin, 1 - 0.28 * expression.cheek_raise), 0.025)


def _draw_brows(
    canvas: _Canvas, shape: _Shape, identity: FaceIdentity, expression: FaceExpression
) -> None:
    t = np.linspace(0, 1, 9)
    color = _darker(identity.hair, 0.75)
    height = shape.eye_y - 0.235 - 0.065 * expression.brow_raise
    for side in (-1, 1):
        x = side * (shape.eye_x - 0.17 + 0.36 * t)
        inner = -0.07 * expression.brow_angle * (1 - t) ** 1.5
        y = height + inner - 0.05 * np.sin(np.pi * (0.15 + 0.7 * t)) + 0.05 * t
        taper = (shape.brow * (1 - 0.65 * t**2))[:, None] / 2 * np.array([0.0, 1.0])
        middle = np.column_stack([x, y])
        canvas.fill(np.vstack([middle - taper, (middle + taper)[::-1]]), color)


def _draw_nose(canvas: _Canvas, shape: _Shape, identity: FaceIdentity) -> None:
    y, width = shape.nose_y, shape.nose_width
    skin = identity.skin
    for side in (-1, 1):
        edge = np.array([(0.05, -0.1), (0.09, -0.05), (width + 0.04, y - 0.02), (0.5 * width, y)])
        canvas.shade(edge * (side, 1), 106)
        canvas.fill(_ellipse(side * width * 0.55, y + 0.055, 0.035, 0.02), _darker(skin, 0.35))
        wing = np.array([(0.95, -0.05), (1.1, 0.0), (1.0, 0.06), (0.75, 0.07)])
        canvas.line(wing * (side * width, 1) + (0, y), _darker(skin, 0.68), 0.022)
    canvas.shade(np.array([(-0.03, -0.1), (0.03, -0.1), (0.05, y), (-0.05, y)]), 148)
    canvas.shade(_ellipse(0, y + 0.11, 1.0 * width, 0.04), 96)


def _draw_mouth(
    canvas: _Canvas, shape: _Shape, identity: FaceIdentity, expression: FaceExpression
) -> None:
    t = np.linspace(-1, 1, 17)
    lens = 1 - t**2
    x = t * shape.mouth_width
    # The middle of the mouth moves against its corners, so that the curve turns about its height.
    middle = shape.corner_y + (0.13 * expression.mouth_curve) * lens
    gap = 0.17 * expression.mouth_open * lens
    bow = shape.lip * (lens**0.7 - 0.25 * np.exp(-((t / 0.15) ** 2)))
    lips = as_color(np.array(identity.skin) * (0.82, 0.55, 0.55))
    upper_in, lower_in = middle - 0.35 * gap, middle + 0.65 * gap

    def band(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.vstack([np.column_stack([x, top]), np.column_stack([x, bottom])[::-1]])

    lowest = lower_in + 1.25 * shape.lip * lens**0.7
    canvas.shade(band(lowest, lowest + 0.09 * lens), 100)
    canvas.fill(band(upper_in - bow, upper_in), _darker(lips, 0.86))
    canvas.fill(band(lower_in, lowest), lips)
    canvas.fill(band(upper_in, lower_in), (58, 22, 24))
    canvas.fill(band(upper_in, upper_in + np.minimum(0.06 * lens, 0.8 * gap)), (240, 236, 228))
    canvas.line(np.column_stack([x, upper_in]), _darker(lips, 0.5), 0.02)
    for side in (-1, 1):
        fold = np.array([(shape.nose_width + 0.05, shape.nose_y + 0.02), (0.33, 0.5), (0.36, 0.62)])
        strength = 0.84 - 0.24 * expression.cheek_raise
        canvas.line(fold * (side, 1), _darker(identity.skin, strength), 0.022)


def _draw_hair(canvas: _Canvas, shape: _Shape, identity: FaceIdentity) -> None:
    style = identity.hair_style
    hairline = {"shaved": -0.82, "short": -0.66, "fringe": -0.42, "long": -0.68, "curly": -0.62}
    grow = 0.02 if style == "shaved" else 0.09
    temple = -0.12 if style in ("long", "fringe") else -0.3
    outer = shape.outline(grow)
    crown = outer[outer[:, 1] <= temple]
    crown = crown[np.argsort(crown[:, 0])]
    t = np.linspace(1, -1, 13)
    front = np.column_stack(
        [t * 0.93 * shape.width, hairline[style] + (temple - hairline[style]) * np.abs(t) ** 4]
    )
    canvas.fill(np.vstack([crown, front]), identity.hair)
    canvas.shade(_ellipse(0.1, -0.92, 0.4, 0.08), 150)


def _ellipse(x: float, y: float, rx: float, ry: float) -> NDArray[np.float64]:
    return _CIRCLE * (rx, ry) + (x, y)


def _box(half_width: float, top: float, bottom: float) -> NDArray[np.float64]:
    return np.array(
        [(-half_width, top), (half_width, top), (half_width, bottom), (-half_width, bottom)]
    )


def _darker(color: Color, factor: float) -> Color:
    return as_color(np.multiply(color, factor))


@lru_cache(maxsize=4)
def _pixel_grid(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    line = np.arange(size, dtype=np.float32)
    return line[None, :], line[:, None]
