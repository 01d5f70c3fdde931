"""Imports of optional packages, with the extra that installs them."""

import importlib
from typing import Any

from .exceptions import MissingDependencyError


def import_optional(module: str, *, extra: str, purpose: str) -> Any:
    """Import a module of an optional package.

    Parameters
    ----------
    module : str
        Its import name.
    extra : str
        The extra of this package that installs it.
    purpose : str
        What needs it, as the beginning of a sentence: "The web page".

    Returns
    -------
    module

    Raises
    ------
    MissingDependencyError
        If it does not import; the message says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose} needs the package {module.partition('.')[0]}: "
            f'pip install "persona-affect[{extra}]" ({error})'
        ) from error
