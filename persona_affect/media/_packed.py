"""Photos and clips inside tar archives and Parquet files, by paths such as ``shard.tar/0001.jpg``.

Nothing is written to disk: the bytes of one sample are read where they lie. Of an archive, only the
places of its members are kept in memory; of a Parquet file, one row group at a time.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from typing import Final

from ..exceptions import MediaReadError
from ._parquet import open_parquet, read_cell
from ._paths import check_file, reason, stamp
from ._tar import index_tar, read_member

#: Suffixes of files that hold samples, in lower case.
PACK_SUFFIXES: Final = frozenset({".tar", ".parquet"})
_PACKED: Final = re.compile(r"\.(tar|parquet)/", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file inside another one.

    Attributes
    ----------
    archive : str
        The file on disk.
    name : str
        The member of a tar archive, or ``column/row`` of a Parquet file.
    """

    archive: str
    name: str

    def read(self, size: int | None = None) -> bytes:
        """Read the content, or its first `size` bytes."""
        read = read_cell if _is_parquet(self.archive) else read_member
        return read(self.archive, self.name, size)


def find_packed(source: str | os.PathLike[str]) -> PackedFile | None:
    """Return what a path such as ``shard.tar/0001.jpg`` names; None for an ordinary path."""
    name = os.fsdecode(source)
    if os.sep != "/":
        name = name.replace(os.sep, "/")
    for match in _PACKED.finditer(name):
        archive = name[: match.end() - 1]
        if os.path.isfile(archive):
            return PackedFile(archive, name[match.end() :])
    return None


def open_file(source: str | os.PathLike[str]) -> io.BytesIO | io.BufferedReader:
    """Open a file, which may be packed, for reading.

    Parameters
    ----------
    source : path-like
        A file on disk, or a path such as ``shard.tar/0001.jpg``, as :func:`list_packed` gives it.

    Returns
    -------
    file : binary file object
        Close it after use, or open it in a ``with`` statement. The content of a packed file is in
        memory.

    Raises
    ------
    MediaReadError
        If it is not there, or cannot be read.
    MediaLimitError
        If a packed file has more than 512 MiB.
    MissingDependencyError
        If it is in a Parquet file, and pyarrow is not installed.

    See Also
    --------
    list_packed : The files in an archive.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from persona_affect.media import open_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     labels = Path(folder, "labels.json")
    ...     _ = labels.write_text('{"happy": 0.5}')
    ...     with open_file(labels) as file:
    ...         print(file.read().decode())
    {"happy": 0.5}
    """
    packed = find_packed(source)
    if packed is not None:
        return io.BytesIO(packed.read())
    try:
        return check_file(source).open("rb")
    except OSError as error:
        if isinstance(error, MediaReadError):
            raise
        raise MediaReadError(f"the file cannot be read: {reason(error)}.") from error


def file_on_disk(source: str | os.PathLike[str]) -> str:
    """Return the path of the file that holds a sample: itself, or what it is packed in.

    Parameters
    ----------
    source : path-like
        A file on disk, or a path such as ``shard.tar/0001.jpg``.

    Returns
    -------
    str
        The path of a file on disk; of an ordinary file, `source` itself.

    See Also
    --------
    is_pack : Whether a file holds others.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from persona_affect.media import file_on_disk
    >>> file_on_disk("photo.jpg")
    'photo.jpg'
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     shard = Path(folder, "shard.tar")
    ...     shard.touch()
    ...     Path(file_on_disk(f"{shard}/0001.jpg")).name
    'shard.tar'
    """
    packed = find_packed(source)
    return os.fspath(source) if packed is None else packed.archive


def is_pack(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a tar archive or a Parquet file, as its suffix says.

    Parameters
    ----------
    path : path-like
        The content is not read.

    Returns
    -------
    bool
        False also for a folder, and where there is no file.

    See Also
    --------
    list_packed : The files in it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from persona_affect.media import is_pack
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     shard = Path(folder, "shard.tar")
    ...     shard.touch()
    ...     is_pack(shard), is_pack(f"{shard}/0001.jpg")
    (True, False)
    """
    return os.path.splitext(os.fspath(path))[1].lower() in PACK_SUFFIXES and os.path.isfile(path)


def list_packed(
    path: str | os.PathLike[str], column: str | None = None
) -> tuple[list[str], list[tuple[str, str]]]:
    """List the files in a tar archive, or the rows of a Parquet file.

    Parameters
    ----------
    path : path-like
        The archive or Parquet file.
    column : str, optional
        The column of a Parquet file that has the encoded pictures: binary, or a struct with a field
        ``bytes``, as hubs have it. By default the only one.

    Returns
    -------
    paths : list of str
        Such as ``shard.tar/0001.jpg`` and ``part.parquet/image/17``, in the order of the file. They
        are accepted wherever a path of a photo or clip is.
    problems : list of (path, problem)
        Members that cannot be used.

    Raises
    ------
    MediaReadError
        If the file cannot be read, or has no such `column`.
    MediaLimitError
        If an archive has more than a million members.
    MissingDependencyError
        For a Parquet file, without pyarrow (extra ``parquet``).

    See Also
    --------
    open_file : Read one of them.

    Examples
    --------
    >>> import io, tarfile, tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from persona_affect.media import list_packed, open_photo
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = io.BytesIO()
    ...     Image.new("RGB", (6, 4)).save(file, "png")
    ...     member = tarfile.TarInfo("0001.png")
    ...     member.size = len(file.getvalue())
    ...     with tarfile.open(Path(folder, "shard.tar"), "w") as shard:
    ...         shard.addfile(member, io.BytesIO(file.getvalue()))
    ...     paths, _ = list_packed(Path(folder, "shard.tar"))
    ...     [Path(path).relative_to(folder).as_posix() for path in paths]
    ...     open_photo(paths[0]).shape
    ['shard.tar/0001.png']
    (4, 6, 3)
    """
    archive = os.fspath(path)
    if _is_parquet(archive):
        parquet = open_parquet(archive, *stamp(archive))
        name = parquet.choose(column)
        return [f"{archive}/{name}/{row}" for row in range(parquet.starts[-1])], []
    index = index_tar(archive, *stamp(archive))
    return [f"{archive}/{name}" for name in index.places], index.problems


def _is_parquet(archive: str) -> bool:
    return archive.lower().endswith(".parquet")
