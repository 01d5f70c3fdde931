"""Changes of a photo, or of an aligned face, that should not change an impression much."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Any, Final

import cv2
import numpy as np
import PIL.Image
from numpy.typing import ArrayLike, NDArray

from persona_affect.faces import TEMPLATES, Template, estimate_similarity

Image = NDArray[np.uint8]
_Matrix = NDArray[np.float64]

#: Width of a face as MTCNN boxes it, in distances between the eyes; the mean over 20 photographs.
_FACE_WIDTH: Final = 2.15
#: Ellipses in distances between the eyes, from the point between them, y downwards: centre y, half
#: width, half height. From anthropometric means (eyes 63 mm apart, face 137 mm wide, hairline 70 mm
#: above and chin 118 mm below the eyes), and the head with short hair around them.
_FACE_OVAL: Final = (0.38, 1.12, 1.5)
_HEAD_OVAL: Final = (0.1, 1.6, 2.0)
#: Left, top, right and bottom of crops, in the same units.
_CROPS: Final = {
    "face": (-1.15, -1.15, 1.15, 1.9),
    "head": (-1.7, -1.9, 1.7, 2.3),
    "side": (-1.0, -1.9, 2.4, 2.3),
}
#: Width of the edges of the ellipses, in distances between the eyes.
_SOFTNESS: Final = 0.06
#: Share of red, green and blue in luminance (ITU-R BT.709).
_LUMINANCE: Final = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class Disturbance:
    """A change of a picture.

    Parameters
    ----------
    name : str
        Key in :data:`DISTURBANCES`, or a name of your own.
    kind : str
        What is changed: a key of :data:`DISTURBANCE_KINDS`.
    strength : float or str
        How much; its unit depends on the kind.

    Raises
    ------
    ValueError
        If there is no such `kind`.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.inspection import DISTURBANCES, Disturbance
    >>> photo = np.full((40, 30, 3), 100, np.uint8)
    >>> int(DISTURBANCES["brighter"].apply(photo).mean())
    138
    >>> int(Disturbance("dark", "exposure", -2).apply(photo).mean())
    50
    """

    name: str
    kind: str
    strength: float | str

    def __post_init__(self) -> None:
        if self.kind not in DISTURBANCE_KINDS:
            raise ValueError(f"kind={self.kind!r} is none of {list(DISTURBANCE_KINDS)}.")

    @property
    def needs_landmarks(self) -> bool:
        """Whether it depends on where the face is."""
        return self.kind not in _WITHOUT_FACE

    def apply(
        self, image: Image, landmarks: ArrayLike | None = None, *, keep_shape: bool = False
    ) -> Image:
        """Change a picture.

        Parameters
        ----------
        image : ndarray of uint8, shape (height, width, 3)
            RGB; it is not changed.
        landmarks : array-like of shape (5, 2), optional
            x and y, in pixels, of the left eye, right eye, nose, left and right mouth corner;
            for kinds that depend on where the face is.
        keep_shape : bool, default=False
            For aligned faces: return a picture of the same shape. What a crop cuts off is filled
            with the pixels at its edge, as :class:`persona_affect.FaceAligner` fills what lies
            outside a photo, and a small face is enlarged again.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            The shape differs for ``"crop"`` and ``"face_width"``, unless `keep_shape`.

        Raises
        ------
        ValueError
            If landmarks are needed and not given.
        """
        matrix = np.eye(2, 3)
        if self.needs_landmarks:
            if landmarks is None or not np.isfinite(np.asarray(landmarks, float)).all():
                raise ValueError(f"{self.name!r} needs the landmarks of a face.")
            matrix = _face_to_image(np.asarray(landmarks, float))
        change, _ = DISTURBANCE_KINDS[self.kind]
        return np.ascontiguousarray(change(image, matrix, self.strength, keep_shape))

    @property
    def text(self) -> str:
        """What it does, in words."""
        return DISTURBANCE_KINDS[self.kind][1].format(self.strength)


def disturb_faces(
    clips: Sequence[Image], disturbance: str | Disturbance, template: str | Template, margin: float
) -> NDArray[np.object_]:
    """Change aligned faces.

    Parameters
    ----------
    clips : sequence of n_samples face clips
        Arrays (n_frames, height, width, 3) of uint8, as :class:`persona_affect.FaceAligner` gives.
    disturbance : str or Disturbance
        A key of :data:`DISTURBANCES`, or one of your own.
    template : str or Template
        Of the aligner.
    margin : float
        Of the aligner.

    Returns
    -------
    ndarray of shape (n_samples,), of objects
        Face clips of the same shapes.

    Raises
    ------
    ValueError
        If there is no disturbance of this name.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.inspection import DISTURBANCES, disturb_faces
    >>> clip = np.full((1, 112, 96, 3), 128, np.uint8)
    >>> disturb_faces([clip], next(iter(DISTURBANCES)), "sphereface", 0.0)[0].shape
    (1, 112, 96, 3)
    """
    change = find_disturbance(disturbance)
    points = (TEMPLATES[template] if isinstance(template, str) else template).points(margin)
    changed = np.empty(len(clips), dtype=object)
    for i, clip in enumerate(clips):
        frames = [change.apply(frame, points, keep_shape=True) for frame in clip]
        changed[i] = np.stack(frames) if frames else clip
    return changed


def find_disturbance(disturbance: str | Disturbance) -> Disturbance:
    """Return a disturbance by its name.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if isinstance(disturbance, Disturbance):
        return disturbance
    if disturbance not in DISTURBANCES:
        raise ValueError(f"disturbance={disturbance!r} is none of {list(DISTURBANCES)}.")
    return DISTURBANCES[disturbance]


def draw_regions(
    landmarks: ArrayLike, shape: tuple[int, int], *, softness: float = _SOFTNESS
) -> dict[str, NDArray[np.float64]]:
    """Draw where face, hair and background are, by the position of the landmarks alone.

    Nothing is segmented: the regions are ellipses of average size, so that long hair belongs to
    the background, and a bald head has "hair".

    Parameters
    ----------
    landmarks : array-like of shape (5, 2)
        x and y in pixels, in the order of :class:`persona_affect.faces.Detections`.
    shape : tuple of (height, width)
        Of the face, in pixels.
    softness : float, default=0.06
        Width of the edges, in distances between the eyes.

    Returns
    -------
    dict of str to ndarray of shape (height, width)
        ``"face"``, ``"hair"`` and ``"background"``: shares in [0, 1], which add up to one.

    Examples
    --------
    >>> from persona_affect.inspection import draw_regions
    >>> landmarks = [[38, 52], [74, 52], [56, 72], [42, 92], [70, 92]]
    >>> regions = draw_regions(landmarks, (112, 96))
    >>> sorted(regions), regions["face"].shape
    (['background', 'face', 'hair'], (112, 96))
    """
    return _draw_regions(_face_to_image(np.asarray(landmarks, float)), shape, softness)


def _draw_regions(
    matrix: _Matrix, shape: tuple[int, int], softness: float
) -> dict[str, NDArray[np.float64]]:
    face, head = (_draw_oval(matrix, oval, shape, softness) for oval in (_FACE_OVAL, _HEAD_OVAL))
    head = np.maximum(head, face)
    return {"face": face, "hair": head - face, "background": 1 - head}


def _face_to_image(landmarks: _Matrix) -> _Matrix:
    """Map face coordinates, in distances between the eyes and from their middle, to pixels."""
    points = np.array(TEMPLATES["resnet29"].landmarks)
    canonical = (points - points[:2].mean(0)) / np.linalg.norm(points[1] - points[0])
    return estimate_similarity(canonical[None], landmarks)[0]


def _eye_distance(matrix: _Matrix) -> float:
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def _draw_oval(
    matrix: _Matrix, oval: tuple[float, float, float], shape: tuple[int, int], softness: float
) -> NDArray[np.float64]:
    inverse = cv2.invertAffineTransform(matrix)
    y, x = np.mgrid[: shape[0], : shape[1]]
    u = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
    v = inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]
    centre, width, height = oval
    inside = np.hypot(u / width, (v - centre) / height) <= 1
    sigma = softness * _eye_distance(matrix)
    drawn: NDArray[np.float64] = inside.astype(float)
    return cv2.GaussianBlur(drawn, (0, 0), sigma).astype(float) if sigma > 0 else drawn


def _to_linear(image: Image) -> NDArray[np.float64]:
    x = image / 255.0
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def _from_linear(light: NDArray[np.float64]) -> Image:
    light = np.clip(light, 0, 1)
    x = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * x).astype(np.uint8)


def _mirror(image: Image, matrix: _Matrix, strength: Any, keep_shape: bool) -> Image:
    return image[:, ::-1]


def _expose(image: Image, matrix: _Matrix, stops: Any, keep_shape: bool) -> Image:
    return _from_linear(_to_linear(image) * 2.0**stops)


def _balance(image: Image, matrix: _Matrix, stops: Any, keep_shape: bool) -> Image:
    gains = np.array([2.0**stops, 1.0, 2.0**-stops])
    return _from_linear(_to_linear(image) * gains / (gains @ _LUMINANCE))


def _compress(image: Image, matrix: _Matrix, quality: Any, keep_shape: bool) -> Image:
    file = BytesIO()
    PIL.Image.fromarray(image).save(file, "JPEG", quality=int(quality))
    return np.asarray(PIL.Image.open(file))


def _blur(image: Image, matrix: _Matrix, sigma: Any, keep_shape: bool) -> Image:
    sigma = sigma * _eye_distance(matrix)
    if sigma <= 0:
        return image
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE).astype(np.uint8)


def _shrink(image: Image, matrix: _Matrix, width: Any, keep_shape: bool) -> Image:
    scale = min(1.0, width / (_FACE_WIDTH * _eye_distance(matrix)))
    height, across = image.shape[:2]
    size = max(1, round(across * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if keep_shape:
        small = cv2.resize(small, (across, height), interpolation=cv2.INTER_LINEAR)
    return small.astype(np.uint8)


def _roll(image: Image, matrix: _Matrix, degrees: Any, keep_shape: bool) -> Image:
    centre = matrix @ [0, _FACE_OVAL[0], 1]
    turn = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), degrees, 1.0)
    size = image.shape[1], image.shape[0]
    turned = cv2.warpAffine(
        image, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return turned.astype(np.uint8)


def _crop(image: Image, matrix: _Matrix, which: Any, keep_shape: bool) -> Image:
    left, top, right, bottom = _CROPS[which]
    corners = np.array([(x, y, 1.0) for x in (left, right) for y in (top, bottom)]) @ matrix.T
    height, width = image.shape[:2]
    # A rotated face: the upright rectangle around the rotated one.
    x1, y1 = np.clip(np.floor(corners.min(0)).astype(int), 0, [width - 1, height - 1])
    x2, y2 = np.clip(np.ceil(corners.max(0)).astype(int), [x1 + 1, y1 + 1], [width, height])
    cut = image[y1:y2, x1:x2]
    if keep_shape:
        cut = np.pad(cut, ((y1, height - y2), (x1, width - x2), (0, 0)), mode="edge")
    return cut


def _hide(image: Image, matrix: _Matrix, region: Any, keep_shape: bool) -> Image:
    share = _draw_regions(matrix, (image.shape[0], image.shape[1]), _SOFTNESS)[region][..., None]
    return np.rint(image * (1 - share) + 128 * share).astype(np.uint8)


#: Each kind of change: how it is made, and what it does, with its strength, in words.
DISTURBANCE_KINDS: Mapping[str, tuple[Callable[..., Image], str]] = MappingProxyType(
    {
        "mirror": (_mirror, "mirrored"),
        "exposure": (_expose, "exposed by {:+g} stops"),
        "white_balance": (_balance, "red by {:+g} stops, blue by as much the other way"),
        "jpeg": (_compress, "JPEG of quality {}"),
        "blur": (_blur, "blurred by a Gaussian of {:g} of the distance between the eyes"),
        "face_width": (_shrink, "a face {:g} pixels wide"),
        "roll": (_roll, "rotated by {:+g} degrees"),
        "crop": (_crop, "cropped to the {}"),
        "hide": (_hide, "{} grey"),
    }
)
_WITHOUT_FACE: Final = {"mirror", "exposure", "white_balance", "jpeg"}

#: The standard set by name. Strengths: stops of light, quality of the JPEG, distances between the
#: eyes (blur), pixels (width of the face), degrees counter-clockwise.
DISTURBANCES: Mapping[str, Disturbance] = MappingProxyType(
    {
        name: Disturbance(name, kind, strength)
        for name, kind, strength in (
            ("mirror", "mirror", 1),
            ("darker", "exposure", -1),
            ("brighter", "exposure", 1),
            ("warmer", "white_balance", 0.35),
            ("cooler", "white_balance", -0.35),
            ("jpeg", "jpeg", 30),
            ("blur", "blur", 0.05),
            ("small", "face_width", 40),
            ("roll_left", "roll", 20),
            ("roll_right", "roll", -20),
            ("tilt_left", "roll", 5),
            ("tilt_right", "roll", -5),
            ("crop_face", "crop", "face"),
            ("crop_head", "crop", "head"),
            ("crop_side", "crop", "side"),
            ("no_background", "hide", "background"),
            ("no_hair", "hide", "hair"),
        )
    }
)
