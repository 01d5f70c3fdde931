"""Predictions as plots, in the style of scikit-learn's Displays.

What they show are *apparent* traits and emotions: impressions that faces make on raters.
"""

from ._audit import AUDIT_DISTURBANCES, audit
from ._audit_display import AuditDisplay
from ._audit_report import Audit
from ._cards import ModelCard, model_card
from ._circumplex import CircumplexDisplay, find_circumplex_names
from ._disturbances import (
    DISTURBANCE_KINDS,
    DISTURBANCES,
    Disturbance,
    disturb_faces,
    draw_regions,
)
from ._dynamics import DynamicsDisplay
from ._reference import RatingDistribution
from ._relation import RelationDisplay
from ._saliency import explain_faces
from ._saliency_checks import check_saliency_labels, check_saliency_weights, score_saliency
from ._saliency_display import SaliencyDisplay
from ._timeline import AffectTimelineDisplay, iter_face_tracks
from ._traits import TraitDisplay

__all__ = [
    "AUDIT_DISTURBANCES",
    "DISTURBANCES",
    "DISTURBANCE_KINDS",
    "AffectTimelineDisplay",
    "Audit",
    "AuditDisplay",
    "CircumplexDisplay",
    "Disturbance",
    "DynamicsDisplay",
    "ModelCard",
    "RatingDistribution",
    "RelationDisplay",
    "SaliencyDisplay",
    "TraitDisplay",
    "audit",
    "check_saliency_labels",
    "check_saliency_weights",
    "disturb_faces",
    "draw_regions",
    "explain_faces",
    "find_circumplex_names",
    "iter_face_tracks",
    "model_card",
    "score_saliency",
]
