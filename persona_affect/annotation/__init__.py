"""Frame-level annotation of clips and live streams: rows, tables, subtitles, videos."""

from ._annotator import FrameAnnotator
from ._overlay import draw_faces, target_ranges
from ._session import Session
from ._sources import open_camera, read_frames
from ._tables import CsvTable, check_suffix, open_table

__all__ = [
    "CsvTable",
    "FrameAnnotator",
    "Session",
    "check_suffix",
    "draw_faces",
    "open_camera",
    "open_table",
    "read_frames",
    "target_ranges",
]
