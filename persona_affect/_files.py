"""Files that are written completely or not at all, and a walk through folders."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path


@contextmanager
def atomic_write(path: str | PathLike[str]) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` at the end, if no error occurs.

    If the process is killed before, `path` is unchanged, and a hidden file may remain beside it.

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
            # Without this, a power failure may leave an empty file under the new name.
            os.fsync(file.fileno())
        _set_default_mode(draft)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _set_default_mode(path: Path) -> None:
    """Set the mode that `open` gives to new files; mkstemp allows access to the owner only."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def walk_folders(
    root: str | PathLike[str],
    *,
    max_depth: int | None = None,
    on_error: Callable[[OSError], object] | None = None,
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Visit a folder and all folders below it, each real folder once, in the order of their names.

    Links to folders are followed, after the folders that are not links. A link to a folder that
    contains the link is a loop, and is not followed.

    Parameters
    ----------
    root : path-like
    max_depth : int, optional
        How many levels below `root` are visited; by default all.
    on_error : callable, optional
        Is called with the error of each folder that cannot be listed; such folders are left out.

    Yields
    ------
    folder : pathlib.Path
    folders, files : list of str
        The sorted names in it. Remove names from `folders` to leave those folders out.
    """
    root = Path(root)
    visited: set[Path] = set()
    pending = [root]
    while pending:
        links = []
        for name, folders, files in os.walk(pending.pop(0), onerror=on_error):
            here = Path(name)
            real = here.resolve()
            if real in visited:
                folders.clear()
                continue
            visited.add(real)
            folders.sort()
            yield here, folders, sorted(files)
            if max_depth is not None and len(here.parts) - len(root.parts) >= max_depth:
                folders.clear()
            links += [
                link
                for link in map(here.joinpath, folders)
                if link.is_symlink() and not real.is_relative_to(link.resolve())
            ]
        pending += links
