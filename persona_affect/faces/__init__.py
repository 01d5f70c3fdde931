"""Faces: found by MTCNN, aligned by a similarity."""

from ._aligner import FaceAligner
from ._alignment import TEMPLATES, Template, align_face, estimate_similarity
from ._mtcnn import Detections, detect_faces, follow_faces
from ._tracking import FaceTracker

__all__ = [
    "TEMPLATES",
    "Detections",
    "FaceAligner",
    "FaceTracker",
    "Template",
    "align_face",
    "detect_faces",
    "estimate_similarity",
    "follow_faces",
]
