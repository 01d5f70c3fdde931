"""Faces: found by MTCNN, aligned by a similarity."""

from ._aligner import FaceAligner
from ._alignment import align_face, estimate_similarity
from ._detections import Detections
from ._face_clip import FaceClip, split_pieces
from ._mtcnn import detect_faces, follow_faces
from ._templates import TEMPLATES, Template, register_template
from ._tracking import FaceTracker

__all__ = [
    "TEMPLATES",
    "Detections",
    "FaceAligner",
    "FaceClip",
    "FaceTracker",
    "Template",
    "align_face",
    "detect_faces",
    "estimate_similarity",
    "follow_faces",
    "register_template",
    "split_pieces",
]
