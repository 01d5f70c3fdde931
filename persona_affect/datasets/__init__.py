"""Data sets: synthetic persons whose every cause is known."""

from persona_affect.datasets._dynamics import make_dynamic_clips
from persona_affect.datasets._synthetic import make_affect_clips, make_affect_faces

__all__ = ["make_affect_clips", "make_affect_faces", "make_dynamic_clips"]
