"""Faces: found by a detector such as MTCNN, and aligned by a similarity."""

from ._aligner import FaceAligner
from ._alignment import align_face, estimate_similarity
from ._detections import Detections
from ._detectors import DETECTORS, DetectorSpec, get_detector_spec, register_detector
from ._face_clip import FaceClip, split_pieces
from ._filling import StoredFaces, store_faces
from ._mtcnn import detect_faces
from ._quality import FaceQuality, estimate_pose, measure_quality
from ._refinement import follow_faces
from ._reporting import find_turned
from ._stream import FaceStream
from ._templates import TEMPLATES, Template, register_template
from ._tracking import FaceTracker
from ._yunet import detect_with_yunet

__all__ = [
    "DETECTORS",
    "TEMPLATES",
    "Detections",
    "DetectorSpec",
    "FaceAligner",
    "FaceClip",
    "FaceQuality",
    "FaceStream",
    "FaceTracker",
    "StoredFaces",
    "Template",
    "align_face",
    "detect_faces",
    "detect_with_yunet",
    "estimate_pose",
    "estimate_similarity",
    "find_turned",
    "follow_faces",
    "get_detector_spec",
    "measure_quality",
    "register_detector",
    "register_template",
    "split_pieces",
    "store_faces",
]
