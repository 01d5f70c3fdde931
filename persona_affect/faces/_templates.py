"""Templates of aligned faces, by name: their sizes, and the positions of the five landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Template:
    """Size of an aligned face, and the positions of its landmarks, as a network needs them.

    Attributes
    ----------
    height, width : int
        Size of the aligned face, in pixels.
    landmarks : tuple of five (x, y)
        Left eye, right eye, nose, left and right mouth corner, as the viewer sees them.

    Examples
    --------
    >>> from persona_affect.faces import Template
    >>> square = Template(64, 64, ((20, 24), (44, 24), (32, 36), (23, 48), (41, 48)))
    >>> square.points(margin=0.25).shape
    (5, 2)
    """

    height: int
    width: int
    landmarks: tuple[tuple[float, float], ...]

    def points(self, margin: float = 0.0) -> npt.NDArray[np.float32]:
        """Return the landmarks, moved towards the centre to leave a margin.

        Parameters
        ----------
        margin : float, default=0.0
            Extra context as a fraction of the template's side: with 0.5 the face is 1.5 times
            smaller.

        Returns
        -------
        ndarray of shape (5, 2), float32
            x and y in pixels.
        """
        centre = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        points = centre + (np.array(self.landmarks) - centre) / (1 + margin)
        return points.astype(np.float32)


_templates: dict[str, Template] = {}

#: All registered templates by name; `register_template` adds to them.
TEMPLATES: Mapping[str, Template] = MappingProxyType(_templates)


def register_template(name: str, template: Template) -> None:
    """Register a template for :class:`persona_affect.FaceAligner` under a name.

    Parameters
    ----------
    name : str
        Name for ``FaceAligner(template=name)`` and specifications of backbones.
    template : Template
        Size of the aligned face, and positions of the five landmarks in it.

    Raises
    ------
    ValueError
        If the name belongs to another template, if the template has no area, or if it does not have
        five different landmarks.

    Examples
    --------
    >>> from persona_affect.faces import TEMPLATES, Template, register_template
    >>> half = tuple((x / 2, y / 2) for x, y in TEMPLATES["sphereface"].landmarks)
    >>> register_template("half_sphereface", Template(56, 48, half))
    >>> from persona_affect import FaceAligner
    >>> aligner = FaceAligner(template="half_sphereface")
    """
    points = np.asarray(template.landmarks, dtype=float)
    if template.height < 1 or template.width < 1:
        raise ValueError(f"template {name!r} has no area: {template.height} x {template.width}.")
    if points.shape != (5, 2) or not np.isfinite(points).all() or not np.ptp(points, axis=0).any():
        raise ValueError(
            f"template {name!r} needs five landmarks (x, y) that differ: left eye, right eye, "
            "nose, left and right mouth corner."
        )
    if _templates.get(name, template) != template:
        raise ValueError(f"template {name!r} is registered already, with other landmarks or size.")
    _templates[name] = template


def get_template(name: str) -> Template:
    """Return the template that is registered under a name.

    Raises
    ------
    ValueError
        If there is none; the message lists all names.
    """
    if name not in _templates:
        raise ValueError(
            f"template={name!r} is not registered: there are {', '.join(map(repr, TEMPLATES))}. "
            "Import the package that registers it, or call persona_affect.faces.register_template."
        )
    return _templates[name]


# The 112x96 crop of SphereFace (Liu et al., CVPR 2017), which many networks use.
register_template(
    "sphereface",
    Template(
        112,
        96,
        (
            (30.2946, 51.6963),
            (65.5318, 51.5014),
            (48.0252, 71.7366),
            (33.5493, 92.3655),
            (62.7299, 92.2041),
        ),
    ),
)

# The 150x150 chip on which dlib's ResNet was trained, cut by dlib with a padding of 0.25 from the
# corners of both eyes and the base of the nose. MTCNN finds other points; therefore this is our
# reconstruction: its eyes are the midpoints of dlib's eye corners, (x + padding) / (1 + 2 padding)
# of 150 pixels, and nose and mouth lie where the similarity that maps SphereFace's eyes onto them
# puts SphereFace's nose and mouth.
register_template(
    "resnet29",
    Template(
        150,
        150,
        (
            (47.7330, 47.1396),
            (100.2814, 47.1233),
            (74.0174, 77.1624),
            (52.2699, 107.8122),
            (95.7862, 107.7987),
        ),
    ),
)
