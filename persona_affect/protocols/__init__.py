"""Experiments of the papers: from folders of data to their tables."""

from ._calibration import AffineCalibration
from ._evaluation import evaluate_predictions
from ._persemon import ABLATIONS, assign_parts, evaluate_persemon, run_persemon
from ._published import PUBLISHED
from ._reports import to_markdown, write_results

__all__ = [
    "ABLATIONS",
    "PUBLISHED",
    "AffineCalibration",
    "assign_parts",
    "evaluate_persemon",
    "evaluate_predictions",
    "run_persemon",
    "to_markdown",
    "write_results",
]
