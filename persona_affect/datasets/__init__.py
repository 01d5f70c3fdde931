"""Data sets: loaders of the public ones, and synthetic persons whose every cause is known."""

from persona_affect.datasets._combine import combine, load_dataset
from persona_affect.datasets._dynamics import make_dynamic_clips
from persona_affect.datasets._folders import LeftOut, check_files, make_bunch, walk_data
from persona_affect.datasets._formats.afew_va import load_afew_va
from persona_affect.datasets._formats.aff_wild import load_aff_wild
from persona_affect.datasets._formats.csv_table import load_csv, read_table
from persona_affect.datasets._formats.first_impressions import load_first_impressions
from persona_affect.datasets._formats.omi import load_omi
from persona_affect.datasets._formats.shards import load_parquet, load_webdataset
from persona_affect.datasets._miniatures import write_miniature
from persona_affect.datasets._registry import (
    FORMATS,
    DatasetFormat,
    FormatOption,
    get_format,
    parse_bool,
    parse_names,
    recognise_format,
    register_format,
)
from persona_affect.datasets._synthetic import make_affect_clips, make_affect_faces

__all__ = [
    "FORMATS",
    "DatasetFormat",
    "FormatOption",
    "LeftOut",
    "check_files",
    "combine",
    "get_format",
    "load_afew_va",
    "load_aff_wild",
    "load_csv",
    "load_dataset",
    "load_first_impressions",
    "load_omi",
    "load_parquet",
    "load_webdataset",
    "make_affect_clips",
    "make_affect_faces",
    "make_bunch",
    "make_dynamic_clips",
    "parse_bool",
    "parse_names",
    "read_table",
    "recognise_format",
    "register_format",
    "walk_data",
    "write_miniature",
]
