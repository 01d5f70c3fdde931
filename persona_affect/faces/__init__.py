"""Faces: found by MTCNN, aligned by a similarity."""

from ._aligner import FaceAligner
from ._alignment import TEMPLATES, Template, align_face, estimate_similarity
from ._mtcnn import Detections, detect_faces

__all__ = [
    "TEMPLATES",
    "Detections",
    "FaceAligner",
    "Template",
    "align_face",
    "detect_faces",
    "estimate_similarity",
]
