"""Networks of the two papers, as torch modules; no scikit-learn."""

from ._backbone import Backbone, EmbeddingAdapter
from ._persemon import (
    HEADS,
    RAM,
    PersEmoN,
    PersEmoNOutput,
    parameter_groups,
)
from ._registry import BACKBONES, make_backbone
from ._sphereface import SPHEREFACE_UNITS, ResidualUnit, SphereFace
from ._sphereface_weights import convert_sphereface_state, load_sphereface_weights

__all__ = [
    "BACKBONES",
    "HEADS",
    "RAM",
    "SPHEREFACE_UNITS",
    "Backbone",
    "EmbeddingAdapter",
    "PersEmoN",
    "PersEmoNOutput",
    "ResidualUnit",
    "SphereFace",
    "convert_sphereface_state",
    "load_sphereface_weights",
    "make_backbone",
    "parameter_groups",
]
