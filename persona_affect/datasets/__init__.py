"""Data sets: loaders of the public ones, and synthetic persons whose every cause is known."""

from persona_affect.datasets._afew_va import load_afew_va
from persona_affect.datasets._aff_wild import load_aff_wild
from persona_affect.datasets._combine import FORMATS, combine, load_dataset
from persona_affect.datasets._dynamics import make_dynamic_clips
from persona_affect.datasets._first_impressions import load_first_impressions
from persona_affect.datasets._miniatures import write_miniature
from persona_affect.datasets._omi import load_omi
from persona_affect.datasets._synthetic import make_affect_clips, make_affect_faces
from persona_affect.datasets._tables import load_csv

__all__ = [
    "FORMATS",
    "combine",
    "load_afew_va",
    "load_aff_wild",
    "load_csv",
    "load_dataset",
    "load_first_impressions",
    "load_omi",
    "make_affect_clips",
    "make_affect_faces",
    "make_dynamic_clips",
    "write_miniature",
]
