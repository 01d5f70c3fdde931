"""Models as files that hold numbers and words, and never code."""

from ._files import load_model, model_fingerprint, read_model_info, save_model
from ._runs import TrainingRun, align_together, identify_training

__all__ = [
    "TrainingRun",
    "align_together",
    "identify_training",
    "load_model",
    "model_fingerprint",
    "read_model_info",
    "save_model",
]
