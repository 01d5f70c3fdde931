"""Face detectors by name: each registers itself, and so can other packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

from .._optional import check_name_is_free
from ._detections import Detections


@dataclass(frozen=True)
class DetectorSpec:
    """Everything that this package must know about a face detector to use it by name.

    Attributes
    ----------
    name : str
        What ``FaceAligner(detector=...)`` takes.
    detect : callable
        ``detect(images, min_face_size=..., thresholds=..., device=...)`` finds all faces in images:
        a list of RGB arrays (H, W, 3) of uint8, of any sizes. It returns one :class:`Detections`
        for each, the most confident face first. The options are those of
        :class:`persona_affect.FaceAligner`, with `device` a name of torch, never "auto"; it may
        ignore those that mean nothing to it. What it returns for an image must not depend on the
        others, except by rounding, and several threads may call it at the same time. A function of
        a module, so that worker processes find it.
    digest : callable
        ``digest()`` returns a text that changes whenever the results of the detector may change,
        such as a checksum of its weights. Stored faces of another text are not used.
    follow : callable, optional
        ``follow(images, boxes, thresholds=..., device=...)`` finds faces again near their boxes
        (n, 4) in the frame before, one array for each image. Without it, faces are detected again
        in each frame.
    look_again : callable, optional
        ``look_again(copies, boxes, min_face_size=..., thresholds=..., device=...)`` finds a face
        that was turned in an upright copy of its surroundings, near its box (1, 4). Without it,
        `detect` does, in a copy of more of its surroundings.
    license : str
        Licence of the weights; empty if nobody states one.
    package : str
        Module whose import registers the detector; by default the one that defines `detect`. A
        saved model names it, so that loading can say what to import.
    takes_max_faces : bool, default=False
        Whether `detect` also takes ``max_faces=``, a number or None, and may end its search in an
        image that has more faces: it then returns more than that number, but not all.

    Examples
    --------
    >>> from persona_affect.faces import Detections, DetectorSpec
    >>> def find_nothing(images, *, min_face_size, thresholds, device):
    ...     return [Detections.none() for _ in images]
    >>> DetectorSpec("nothing", find_nothing, digest=lambda: "1").takes_max_faces
    False
    """

    name: str
    detect: Callable[..., list[Detections]]
    digest: Callable[[], str]
    follow: Callable[..., list[Detections]] | None = None
    look_again: Callable[..., list[Detections]] | None = None
    license: str = ""
    package: str = ""
    takes_max_faces: bool = False

    def __post_init__(self) -> None:
        if not self.package:
            detect = self.detect.func if isinstance(self.detect, partial) else self.detect
            object.__setattr__(self, "package", detect.__module__)


_specs: dict[str, DetectorSpec] = {}

#: All registered detectors by name, also those that are registered later.
DETECTORS: Final[Mapping[str, DetectorSpec]] = MappingProxyType(_specs)


def register_detector(spec: DetectorSpec) -> None:
    """Register a face detector, so that ``FaceAligner(detector=...)`` takes its name.

    Parameters
    ----------
    spec : DetectorSpec
        Its name, its functions, and its licence.

    Raises
    ------
    ValueError
        If another package registered a detector of that name.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect import FaceAligner
    >>> from persona_affect.faces import Detections, DetectorSpec, register_detector
    >>> def find_nothing(images, *, min_face_size, thresholds, device):
    ...     return [Detections.none() for _ in images]
    >>> register_detector(DetectorSpec("nothing", find_nothing, digest=lambda: "1"))
    >>> photo = np.zeros((1, 40, 40, 3), np.uint8)
    >>> [len(faces) for faces in FaceAligner(detector="nothing").detect(photo)]
    [0]
    """
    owner = _specs[spec.name].package if spec.name in _specs else None
    check_name_is_free("detector", spec.name, owner, spec.package)
    _specs[spec.name] = spec


def get_detector_spec(name: str) -> DetectorSpec:
    """Return the specification of a registered detector.

    Parameters
    ----------
    name : str
        As in ``FaceAligner(detector=...)``.

    Returns
    -------
    DetectorSpec
        As it was registered.

    Raises
    ------
    ValueError
        If no detector of that name is registered.

    Examples
    --------
    >>> from persona_affect.faces import get_detector_spec
    >>> get_detector_spec("yunet").license
    'MIT'
    """
    if name not in _specs:
        raise ValueError(
            f"detector={name!r} is not registered: there are {', '.join(map(repr, _specs))}. "
            "Import the package that registers it, or call "
            "persona_affect.faces.register_detector."
        )
    return _specs[name]
