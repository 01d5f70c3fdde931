"""Experiments of the papers, from folders of data to their tables, and heads for ratings."""

from ._calibration import AffineCalibration
from ._evaluation import evaluate_predictions
from ._new_heads import NewHeads, train_heads
from ._persemon import ABLATIONS, assign_parts, evaluate_persemon, run_persemon
from ._published import PUBLISHED
from ._reports import to_markdown, write_results

__all__ = [
    "ABLATIONS",
    "PUBLISHED",
    "AffineCalibration",
    "NewHeads",
    "assign_parts",
    "evaluate_persemon",
    "evaluate_predictions",
    "run_persemon",
    "to_markdown",
    "train_heads",
    "write_results",
]
