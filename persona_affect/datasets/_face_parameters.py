"""Parameters of a rendered face: identity, expression and scene."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Parameters of the shape of a face, each in [-1, 1].
GEOMETRY_NAMES = (
    "face_width",
    "jaw_width",
    "eye_size",
    "eye_spacing",
    "nose_length",
    "nose_width",
    "lip_fullness",
    "brow_thickness",
)
HAIR_STYLES = ("shaved", "short", "fringe", "long", "curly")

Color = tuple[float, float, float]

_SKIN_TONES = np.array(
    [(247, 219, 196), (236, 194, 160), (214, 163, 124), (178, 124, 86), (132, 88, 60)]
)
_HAIR_COLORS = np.array(
    [(32, 26, 24), (66, 44, 30), (112, 74, 44), (182, 142, 84), (142, 64, 34), (150, 148, 146)]
)
_EYE_COLORS = np.array([(62, 40, 26), (96, 66, 36), (74, 104, 74), (76, 112, 148)])


@dataclass(frozen=True)
class FaceIdentity:
    """The look of a person, the same in all frames.

    Parameters
    ----------
    geometry : ndarray of shape (8,)
        Shape of the face, in the order of `GEOMETRY_NAMES`, each in [-1, 1].
    skin, hair, eyes : tuple of three floats
        RGB colours, 0 to 255.
    hair_style : str
        One of `HAIR_STYLES`.
    """

    geometry: NDArray[np.float64]
    skin: Color
    hair: Color
    eyes: Color
    hair_style: str


@dataclass(frozen=True)
class FaceExpression:
    """The expression of a face in one frame.

    Parameters
    ----------
    mouth_curve : float
        Corners down (-1) to up (1).
    mouth_open : float
        Closed (0) to wide open (1).
    mouth_width : float
        Factor on the width of the mouth, about 1.
    eye_open : float
        Closed (0) to wide open (1).
    brow_raise : float
        Lowered (-1) to raised (1).
    brow_angle : float
        Inner ends down (-1) to up (1).
    cheek_raise : float
        Resting (0) to raised (1).
    """

    mouth_curve: float = 0.0
    mouth_open: float = 0.0
    mouth_width: float = 1.0
    eye_open: float = 0.6
    brow_raise: float = 0.0
    brow_angle: float = 0.0
    cheek_raise: float = 0.0


@dataclass(frozen=True)
class FaceScene:
    """Position of the face in the picture, light and background.

    Parameters
    ----------
    light : tuple of two floats
        Direction the light comes from, (x, y) in [-1, 1]; (0, 0) is frontal.
    light_strength : float
        How much of the light has a direction, 0 to 1.
    background, clothes : tuple of three floats
        RGB colours, 0 to 255.
    roll : float
        Rotation in the picture plane, in degrees, clockwise.
    x, y : float
        Centre of the face, as fractions of the picture's side.
    scale : float
        Eyes-to-chin distance as a fraction of the picture's side.
    """

    light: tuple[float, float] = (0.0, -0.5)
    light_strength: float = 0.35
    background: Color = (150.0, 160.0, 170.0)
    clothes: Color = (70.0, 80.0, 110.0)
    roll: float = 0.0
    x: float = 0.5
    y: float = 0.5
    scale: float = 0.3


def draw_identity(rng: np.random.RandomState) -> FaceIdentity:
    """Draw a person: shape uniform in [-1, 1], colours and hair independent of it."""
    return FaceIdentity(
        geometry=rng.uniform(-1, 1, len(GEOMETRY_NAMES)),
        skin=_between(_SKIN_TONES, rng.uniform(0, len(_SKIN_TONES) - 1)),
        hair=as_color(_HAIR_COLORS[rng.randint(len(_HAIR_COLORS))] * rng.uniform(0.8, 1.2)),
        eyes=_between(_EYE_COLORS, rng.uniform(0, len(_EYE_COLORS) - 1)),
        hair_style=HAIR_STYLES[rng.randint(len(HAIR_STYLES))],
    )


def draw_scene(rng: np.random.RandomState) -> FaceScene:
    """Draw a light, a background and a place in the picture."""
    return FaceScene(
        light=(rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.2)),
        light_strength=rng.uniform(0.15, 0.5),
        background=as_color(rng.uniform(50, 210) + rng.uniform(-35, 35, 3)),
        clothes=as_color(rng.uniform(30, 220, 3)),
        roll=rng.uniform(-10, 10),
        x=rng.uniform(0.46, 0.54),
        y=rng.uniform(0.47, 0.55),
        scale=rng.uniform(0.26, 0.34),
    )


def expression_from_emotion(arousal: float, valence: float) -> FaceExpression:
    """Return the expression that shows an emotion.

    Arousal opens the eyes and the mouth and raises the brows; valence bends and widens the mouth,
    turns the brows and raises the cheeks. Continuous, and never saturated in the open square.

    Parameters
    ----------
    arousal, valence : float
        In [-1, 1].

    Returns
    -------
    expression : FaceExpression
    """
    smile = max(valence, 0.0)
    return FaceExpression(
        mouth_curve=valence,
        mouth_open=(0.5 + 0.5 * arousal) ** 1.5 * 0.8,
        mouth_width=1.0 + 0.14 * valence - 0.08 * arousal,
        eye_open=0.6 + 0.34 * arousal - 0.08 * smile,
        brow_raise=0.9 * arousal,
        brow_angle=0.8 * valence,
        cheek_raise=smile,
    )


def as_color(values: ArrayLike) -> Color:
    red, green, blue = np.clip(values, 0, 255)
    return float(red), float(green), float(blue)


def _between(palette: NDArray[np.int_], position: float) -> Color:
    at = np.arange(len(palette))
    return as_color([np.interp(position, at, channel) for channel in palette.T])
