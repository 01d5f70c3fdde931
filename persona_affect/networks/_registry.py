"""Backbones by name."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Final, TypeAlias

from ._backbone import Backbone
from ._faceapi import FACEAPI_PARTS, FaceApi, load_faceapi_weights
from ._inception import InceptionResnetV1, load_inception_weights
from ._resnet29 import ResNet29, load_resnet29_weights
from ._sphereface import SPHEREFACE_UNITS, SphereFace
from ._sphereface_weights import load_sphereface_weights

#: Feature extractors that can be asked for by name.
BACKBONES: Final = (
    *(f"sphereface{depth}" for depth in SPHEREFACE_UNITS),
    "resnet29",
    *(f"faceapi_{part}" for part in FACEAPI_PARTS),
    "inception_resnet_v1",
)

BackboneLike: TypeAlias = str | Callable[[], Backbone]


def make_backbone(
    backbone: BackboneLike,
    weights: str | PathLike[str] | None = None,
    levels: str | Sequence[str] | None = None,
    crops: float | Sequence[float] | None = None,
) -> Backbone:
    """Build a feature extractor.

    Parameters
    ----------
    backbone : str or callable
        A name in `BACKBONES`, or a function without arguments that returns a `Backbone`.
    weights : path-like or "pretrained", optional
        Weights to start from: a torch state dict of a SphereFace or an InceptionResnetV1, or
        dlib's file of the ResNet29. ``"pretrained"`` takes the ResNet29's from the installed
        extra, and those of FaceApi from this package. Without it, the network's own
        initialisation.
    levels : str or sequence of str, optional
        What the ResNet29 gives; see :class:`ResNet29`.
    crops : float or sequence of float, optional
        What the ResNet29 or FaceApi sees of a face; see :class:`ResNet29`.

    Returns
    -------
    Backbone

    Raises
    ------
    ValueError
        If the name is unknown, the factory returned something else, or `weights`, `levels` or
        `crops` mean nothing to the network.
    WeightsError
        If the weights do not fit.
    MissingDependencyError
        If the pretrained weights are not installed, or facenet_pytorch does not import.
    """
    network = _build(backbone, levels, crops)
    if weights is None:
        return network
    if isinstance(network, ResNet29):
        return load_resnet29_weights(network, None if weights == "pretrained" else weights)
    if isinstance(network, FaceApi) and weights == "pretrained":
        return load_faceapi_weights(network)
    if not isinstance(network, SphereFace | InceptionResnetV1):
        known = '"pretrained" or None' if isinstance(network, FaceApi) else "None"
        raise ValueError(f"weights= of {type(network).__name__} must be {known}.")
    if weights == "pretrained":
        raise ValueError(
            f"{type(network).__name__} has no installed weights: give the path of a file; for "
            'SphereFace-20, fetch_backbone("sphereface20") returns one.'
        )
    if isinstance(network, InceptionResnetV1):
        return load_inception_weights(network, weights)
    return load_sphereface_weights(network, weights)


def _build(
    backbone: BackboneLike,
    levels: str | Sequence[str] | None,
    crops: float | Sequence[float] | None,
) -> Backbone:
    if levels is not None and backbone != "resnet29":
        raise ValueError(f"levels= is for the resnet29, not for {backbone!r}; give None.")
    faceapi = isinstance(backbone, str) and backbone.startswith("faceapi_")
    if crops is not None and not (faceapi or backbone == "resnet29"):
        raise ValueError(
            f"crops= is for the resnet29 and face-api's, not for {backbone!r}; give None."
        )
    whole = 1.0 if crops is None else crops
    if backbone == "resnet29":
        return ResNet29("embedding" if levels is None else levels, crops=whole)
    if isinstance(backbone, str):
        if backbone not in BACKBONES:
            raise ValueError(f"backbone={backbone!r} is none of {list(BACKBONES)}.")
        if faceapi:
            return FaceApi(backbone.removeprefix("faceapi_"), crops=whole)
        if backbone == "inception_resnet_v1":
            return InceptionResnetV1()
        return SphereFace(int(backbone.removeprefix("sphereface")))
    network = backbone()
    if not isinstance(network, Backbone):
        raise ValueError(
            f"The backbone factory returned {type(network).__name__}; return a subclass of "
            "persona_affect.networks.Backbone."
        )
    return network
