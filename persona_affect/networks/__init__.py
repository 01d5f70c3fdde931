"""Networks of the two papers, as torch modules; no scikit-learn."""

from ._backbone import Backbone, EmbeddingAdapter
from ._dynamics_unet import LEVELS, DynamicsUNet, stack_context
from ._faceapi import FaceApi
from ._inception import InceptionResnetV1
from ._persemon import (
    HEADS,
    RAM,
    PersEmoN,
    PersEmoNOutput,
    parameter_groups,
)
from ._person_filters import PersonFilters, from_person_mean
from ._registry import BACKBONES, make_backbone
from ._releases import RELEASES, fetch_backbone
from ._resnet29 import RESNET29_LEVELS, ResNet29, load_resnet29_weights
from ._sphereface import SPHEREFACE_UNITS, ResidualUnit, SphereFace
from ._sphereface_weights import convert_sphereface_state, load_sphereface_weights

__all__ = [
    "BACKBONES",
    "HEADS",
    "LEVELS",
    "RAM",
    "RELEASES",
    "RESNET29_LEVELS",
    "SPHEREFACE_UNITS",
    "Backbone",
    "DynamicsUNet",
    "EmbeddingAdapter",
    "FaceApi",
    "InceptionResnetV1",
    "PersEmoN",
    "PersEmoNOutput",
    "PersonFilters",
    "ResNet29",
    "ResidualUnit",
    "SphereFace",
    "convert_sphereface_state",
    "fetch_backbone",
    "from_person_mean",
    "load_resnet29_weights",
    "load_sphereface_weights",
    "make_backbone",
    "parameter_groups",
    "stack_context",
]
