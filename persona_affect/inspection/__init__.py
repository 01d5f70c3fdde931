"""Predictions as plots, in the style of scikit-learn's Displays.

What they show are *apparent* traits and emotions: impressions that faces make on raters.
"""

from ._circumplex import CircumplexDisplay, find_circumplex_names
from ._reference import RatingDistribution
from ._timeline import AffectTimelineDisplay, iter_face_tracks
from ._traits import TraitDisplay

__all__ = [
    "AffectTimelineDisplay",
    "CircumplexDisplay",
    "RatingDistribution",
    "TraitDisplay",
    "find_circumplex_names",
    "iter_face_tracks",
]
