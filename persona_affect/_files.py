"""Files that are whole or not there."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path


@contextmanager
def atomic_write(path: str | PathLike[str]) -> Iterator[Path]:
    """Give a name to write to, that becomes `path` at the end: all of it, or nothing.

    A process that is killed meanwhile leaves what `path` held before, and at worst a hidden file
    beside it.

    Parameters
    ----------
    path : path-like
        The file to make or replace, in a folder that exists.

    Yields
    ------
    pathlib.Path
        A file in the same folder.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        with draft.open("rb") as file:
            # Else a power cut may leave the new name on the old or no content.
            os.fsync(file.fileno())
        _allow_what_open_allows(draft)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _allow_what_open_allows(path: Path) -> None:
    """Widen mkstemp's owner-only mode to what a file that `open` makes would have."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)
