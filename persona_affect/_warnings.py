"""Warnings that point at the user's own line."""

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

_INSIDE = tuple(
    str(Path(spec.origin).parent)
    for spec in map(find_spec, (__package__, "sklearn"))
    if spec is not None and spec.origin is not None
)


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn, with the line of the nearest caller outside this package and scikit-learn.

    Parameters
    ----------
    message : str
    category : type of Warning
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
