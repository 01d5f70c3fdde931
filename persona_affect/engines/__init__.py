"""Fitted models whose networks other engines run, such as OpenVINO."""

from ._compile import compile
from ._engines import ENGINES, PRECISIONS
from ._report import EngineReport, get_report

__all__ = ["ENGINES", "PRECISIONS", "EngineReport", "compile", "get_report"]
