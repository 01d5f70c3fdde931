"""Frame-level annotation of clips and live streams: rows, tables, subtitles, videos."""

from ._annotator import FrameAnnotator
from ._columns import RELIABILITY
from ._models import check_photo_model
from ._overlay import draw_faces
from ._ranges import REACH, count_digits, format_value, rating_range, target_ranges
from ._reliability import rate_reliability
from ._session import PLACE, Seen, Session
from ._sources import open_camera, read_frames
from ._tables import CAVEAT, CsvTable, check_table_path, open_table

__all__ = [
    "CAVEAT",
    "PLACE",
    "REACH",
    "RELIABILITY",
    "CsvTable",
    "FrameAnnotator",
    "Seen",
    "Session",
    "check_photo_model",
    "check_table_path",
    "count_digits",
    "draw_faces",
    "format_value",
    "open_camera",
    "open_table",
    "rate_reliability",
    "rating_range",
    "read_frames",
    "target_ranges",
]
