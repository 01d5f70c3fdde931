"""Networks of the two papers, as torch modules; no scikit-learn."""

from importlib import import_module as _import_module
from pkgutil import iter_modules as _iter_modules

from ._backbone import Backbone, EmbeddingAdapter
from ._dynamics_unet import UNET_LEVELS, DynamicsUNet, stack_context
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
from ._registry import (
    BACKBONES,
    BackboneSpec,
    check_backbone_params,
    get_backbone_spec,
    make_backbone,
    register_backbone,
)
from ._releases import RELEASES, Release, fetch_backbone
from ._resnet29 import RESNET29_LEVELS, ResNet29, load_resnet29_weights
from ._sphereface import (
    SPHEREFACE_UNITS,
    ResidualUnit,
    SphereFace,
    convert_sphereface_state,
    load_sphereface_weights,
)

__all__ = [
    "BACKBONES",
    "HEADS",
    "RAM",
    "RELEASES",
    "RESNET29_LEVELS",
    "SPHEREFACE_UNITS",
    "UNET_LEVELS",
    "Backbone",
    "BackboneSpec",
    "DynamicsUNet",
    "EmbeddingAdapter",
    "FaceApi",
    "InceptionResnetV1",
    "PersEmoN",
    "PersEmoNOutput",
    "PersonFilters",
    "Release",
    "ResNet29",
    "ResidualUnit",
    "SphereFace",
    "check_backbone_params",
    "convert_sphereface_state",
    "fetch_backbone",
    "from_person_mean",
    "get_backbone_spec",
    "load_resnet29_weights",
    "load_sphereface_weights",
    "make_backbone",
    "parameter_groups",
    "register_backbone",
    "stack_context",
]

# Each module registers the backbones that it defines: a new one needs no line here.
for _module in _iter_modules(__path__):
    _import_module(f"{__name__}.{_module.name}")
