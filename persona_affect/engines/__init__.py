"""Fitted models whose networks other engines run, such as OpenVINO."""

from ._compile import compile
from ._engines import ENGINES, PRECISIONS
from ._export import export_onnx
from ._report import EngineReport, get_report

__all__ = ["ENGINES", "PRECISIONS", "EngineReport", "compile", "export_onnx", "get_report"]
