"""Files that are written completely or not at all, locks, and a walk through folders."""

import errno
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Final

from persona_affect.exceptions import (
    OutputError,
    OutputInUseError,
    OutputPathError,
    PersonaAffectError,
)

#: A full, failing or read-only disk, and limits on the bytes of a user or a file.
_DISK_ERRORS: Final = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO")
    if hasattr(errno, name)
}


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

    Raises
    ------
    OutputPathError
        At once, if nothing can be written to `path`.
    OutputError
        If writing fails, as on a full disk; `path` is unchanged.
    """
    path = check_output(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error
    os.close(handle)
    draft = Path(name)
    try:
        with named_write_errors(path, draft):
            yield draft
            with draft.open("rb") as file:
                # Without this, a power failure may leave an empty file under the new name.
                os.fsync(file.fileno())
            _set_default_mode(draft)
            os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def named_write_errors(path: Path, draft: Path | None = None) -> Iterator[None]:
    """Raise the system's errors about a file that is written as an OutputError that names it.

    Parameters
    ----------
    path : Path
        The file that was asked for.
    draft : Path, optional
        What is written instead meanwhile; it is not named.

    Raises
    ------
    OutputError
        In place of errors of a full or failing disk, and of errors that name one of the two files.
        Other errors pass.
    """
    names = {str(path), str(draft or path)}
    try:
        yield
    except PersonaAffectError:
        raise
    except OSError as error:
        text = error.strerror or str(error).rstrip(".")
        about = error.filename in names or any(name in text for name in names)
        if not about and error.errno not in _DISK_ERRORS:
            raise
        text = text.replace(str(draft or path), str(path))
        raise OutputError(f"{path} cannot be written: {text}.") from error


def check_output(
    path: str | PathLike[str], *, inputs: Iterable[Any] = (), suffixes: Collection[str] = ()
) -> Path:
    """Check that a file can be written, before the work for it begins.

    Parameters
    ----------
    path : path-like
        The file to make or replace.
    inputs : iterable
        What is read in the same call. Paths must not lead to the same file, or into it if it is an
        archive, also not through links; an existing file in a folder that is read is not replaced.
        Other objects are ignored.
    suffixes : collection of str, optional
        One of which the path must have, in small or capital letters.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputPathError
        If it is an input, is no ordinary file, has another suffix, or if its folder does not
        exist or is read-only.
    """
    path = Path(path)
    if suffixes and path.suffix.lower() not in suffixes:
        raise OutputPathError(f"{path} must end in {' or '.join(suffixes)}.")
    try:
        # A name that is too long or holds a zero byte; that nothing has the name yet is usual.
        with suppress(FileNotFoundError, NotADirectoryError):
            path.lstat()
    except (OSError, ValueError) as error:
        raise OutputPathError(f"{str(path)!r} cannot be a file: {error}.") from error
    if not path.parent.is_dir():
        raise OutputPathError(f"{path}: the folder {path.parent} does not exist.")
    if path.is_dir():
        raise OutputPathError(f"{path} is a folder: name a file in it.")
    if path.exists() and not path.is_file():
        raise OutputPathError(f"{path} is no ordinary file, and is not replaced.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputPathError(f"{path}: nothing can be written to the folder {path.parent}.")
    _check_no_input(path, inputs)
    return path


def check_output_folder(path: str | PathLike[str], *, inputs: Iterable[Any] = ()) -> Path:
    """Check that files can be written to a folder, which need not exist yet; nothing is made.

    Parameters
    ----------
    path : path-like
    inputs : iterable
        What is read in the same call; see `check_output`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OutputPathError
        If it is a file, is an input, or cannot be made or written to.
    """
    path = Path(path)
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise OutputPathError(f"{path}: {there} is a file: name a folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputPathError(f"{path}: nothing can be written to the folder {there}.")
    _check_no_input(path, inputs)
    return path


def check_different(paths: Iterable[Path]) -> None:
    """Check that no two outputs of one call are the same file.

    Raises
    ------
    OutputPathError
    """
    seen: list[Path] = []
    for path in paths:
        if any(_is_same_file(path, other) for other in seen):
            raise OutputPathError(f"{path} is named twice: give each output a file of its own.")
        seen.append(path)


def _check_no_input(path: Path, inputs: Iterable[Any]) -> None:
    for source in inputs:
        if not isinstance(source, str | PathLike):
            continue
        if os.path.isdir(source):
            if path.exists() and path.resolve().is_relative_to(Path(source).resolve()):
                raise OutputPathError(
                    f"{path} is there already, in {source}, which is an input: choose another "
                    "output."
                )
        elif _is_same_file(path, _find_file(Path(source))):
            raise OutputPathError(
                f"{path} is also an input, {source}, and would be lost: choose another output."
            )


def _find_file(source: Path) -> Path:
    """Return the file that a path leads to: of ``shard.tar/0001.jpg``, the archive."""
    return next((path for path in (source, *source.parents) if os.path.isfile(path)), source)


def _is_same_file(path: Path, other: Path) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return path.resolve() == other.resolve()


def open_locked(path: Path) -> BinaryIO:
    """Open a file to read and append to it, which no other run can do until it is closed.

    The lock ends with the process, however that ends.

    Raises
    ------
    OutputInUseError
        If another run has the file.
    OutputError
        If it cannot be opened.
    """
    while True:
        with named_write_errors(path):
            file = path.open("a+b")
            try:
                _lock(file)
            except OSError as error:
                file.close()
                if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                    raise OutputInUseError(
                        f"{path} is in use by another run: wait for its end, or choose another "
                        "output."
                    ) from None
                raise
            # The run before may have removed the file between opening and locking.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
            file.close()


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        # Far behind the end, because locked bytes cannot be read through another handle.
        file.seek(2**30)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


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
