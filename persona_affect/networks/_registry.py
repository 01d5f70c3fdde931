"""Backbones by name."""

from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Final

from ._backbone import Backbone
from ._sphereface import SPHEREFACE_UNITS, SphereFace
from ._sphereface_weights import load_sphereface_weights

#: Feature extractors that can be asked for by name.
BACKBONES: Final[dict[str, Callable[[], Backbone]]] = {
    f"sphereface{depth}": partial(SphereFace, depth) for depth in SPHEREFACE_UNITS
}


def make_backbone(
    backbone: str | Callable[[], Backbone], weights: str | PathLike[str] | None = None
) -> Backbone:
    """Build a feature extractor.

    Parameters
    ----------
    backbone : str or callable
        A name in `BACKBONES`, or a function without arguments that returns a `Backbone`.
    weights : path-like, optional
        A torch state dict to start from; without it, the network's own initialisation.

    Returns
    -------
    Backbone

    Raises
    ------
    ValueError
        If the name is unknown, or the factory returned something else.
    WeightsError
        If the weights do not fit.
    """
    if isinstance(backbone, str):
        if backbone not in BACKBONES:
            raise ValueError(f"backbone={backbone!r} is none of {sorted(BACKBONES)}.")
        network = BACKBONES[backbone]()
    else:
        network = backbone()
        if not isinstance(network, Backbone):
            raise ValueError(
                f"The backbone factory returned {type(network).__name__}; return a subclass of "
                "persona_affect.networks.Backbone."
            )
    if weights is not None:
        if not isinstance(network, SphereFace):
            raise ValueError("weights= loads into a SphereFace backbone; give None for another.")
        load_sphereface_weights(network, weights)
    return network
