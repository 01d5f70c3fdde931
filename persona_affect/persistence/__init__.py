"""Models as files that hold numbers and words, and never code."""

from ._files import load_model, model_fingerprint, read_model_info, save_model

__all__ = ["load_model", "model_fingerprint", "read_model_info", "save_model"]
