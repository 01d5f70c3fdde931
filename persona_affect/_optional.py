"""Packages that bring a part: those of extras, and those that register one."""

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


def missing_registration(kind: str, name: str, package: str) -> MissingDependencyError:
    """Make the error for a model whose part is not registered; nothing is imported.

    Parameters
    ----------
    kind : str
        What is missing: "backbone", "term".
    name : str
        Its name.
    package : str
        The module whose import registers it, as the model's file says.

    Raises
    ------
    ValueError
        If `package` is not the name of a module.
    """
    if not all(part.isidentifier() for part in package.split(".")):
        raise ValueError(f"{package!r} is not the name of a module")
    return MissingDependencyError(
        f"The model uses the {kind} {name!r}, which the module {package} registers: "
        f"import {package}, then load the model again."
    )


def check_name_is_free(kind: str, name: str, owner: str | None, package: str) -> None:
    """Check that no other package registered a part of this name.

    The same package may replace its own part, as when a cell of a notebook runs again.

    Parameters
    ----------
    kind : str
        What is registered: "backbone", "term".
    name : str
        Its name.
    owner : str or None
        The package that registered the name before; None if none did.
    package : str
        The package that registers it now.

    Raises
    ------
    ValueError
        If these are two packages.
    """
    if owner not in (None, package):
        raise ValueError(f"{kind} {name!r} is registered by {owner} already: choose another name.")
