"""Checks of a model's file before it is opened."""

from pathlib import Path
from typing import Final

from persona_affect.exceptions import ModelReadError

#: Far above real models.
MAX_BYTES: Final = 2**34
#: Characters of a path that an error shows.
_SHOWN: Final = 200


def check_input(path: Path) -> None:
    """Check that a path is an ordinary file, before it is opened: a pipe would block.

    Raises
    ------
    ModelReadError, FileNotFoundError
        With what to give instead.
    """
    try:
        path.stat()
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no such file: {path}") from None
    except (OSError, ValueError) as error:
        # Names too long for the system, null characters, folders that cannot be entered.
        shown = str(path)[:_SHOWN]
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelReadError(f"the path {shown!r} cannot be used: {reason}.") from error
    if path.is_dir():
        raise ModelReadError(f"{path} is a folder: give the file that save_model wrote.")
    if not path.is_file():
        raise ModelReadError(f"{path} is no ordinary file: give the file that save_model wrote.")
    if path.stat().st_size > MAX_BYTES:
        raise ModelReadError(f"{path} is no model: it has more than {MAX_BYTES / 2**30:.0f} GiB.")
