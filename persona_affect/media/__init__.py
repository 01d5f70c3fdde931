"""Photos and videos as RGB arrays: reading, writing, limits, and what a sample is."""

from ._checks import check_media
from ._packed import PACK_SUFFIXES, file_on_disk, is_pack, list_packed, open_file
from ._parquet import read_values
from ._photos import MAX_PHOTO_PIXELS, open_photo
from ._rates import sample_around_times
from ._samples import PHOTO_SUFFIXES, VIDEO_SUFFIXES, FrameSequence, describe, is_clip, list_samples
from ._videos import (
    MAX_CLIP_BYTES,
    MAX_DURATION,
    MAX_FRAME_PIXELS,
    MAX_SAMPLED_FRAMES,
    Frame,
    count_frames,
    frame_rate,
    iter_frames,
    open_clip,
    sample_frames,
    segment_centres,
)
from ._writing import VideoWriter

__all__ = [
    "MAX_CLIP_BYTES",
    "MAX_DURATION",
    "MAX_FRAME_PIXELS",
    "MAX_PHOTO_PIXELS",
    "MAX_SAMPLED_FRAMES",
    "PACK_SUFFIXES",
    "PHOTO_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Frame",
    "FrameSequence",
    "VideoWriter",
    "check_media",
    "count_frames",
    "describe",
    "file_on_disk",
    "frame_rate",
    "is_clip",
    "is_pack",
    "iter_frames",
    "list_packed",
    "list_samples",
    "open_clip",
    "open_file",
    "open_photo",
    "read_values",
    "sample_around_times",
    "sample_frames",
    "segment_centres",
]
