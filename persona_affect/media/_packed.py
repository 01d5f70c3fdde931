"""Photos and clips inside tar archives and Parquet files, by paths such as ``shard.tar/0001.jpg``.

Nothing is written to disk: the bytes of one sample are read where they lie. Of an archive, only the
places of its members are kept in memory; of a Parquet file, one row group at a time.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from threading import Lock
from typing import Any, BinaryIO, Final

from .._optional import import_optional
from ..exceptions import MediaLimitError, MediaReadError
from ._paths import MAX_PHOTO_BYTES, check_file, printable, reason

#: Suffixes of files that hold samples, in lower case.
PACK_SUFFIXES: Final = frozenset({".tar", ".parquet"})
#: Bytes that may be read of an archive at once to find its members: longer names are no names.
_MAX_HEADER: Final = 2**20
#: Members of an archive; each takes about 200 bytes of memory.
_MAX_MEMBERS: Final = 2**20
#: Bytes of one column in a row group of a Parquet file: they are in memory together.
_MAX_GROUP: Final = 2**30

_PACKED: Final = re.compile(r"\.(tar|parquet)/", re.IGNORECASE)
_COMPRESSED: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
#: Parquet files are read by one thread at a time: the row group that is in memory serves all.
_LOCK: Final = Lock()


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
        read = _read_cell if _is_parquet(self.archive) else _read_member
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

    Raises
    ------
    MediaReadError, MediaLimitError
        If it is not there, or cannot be read.
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
    """Return the path of the file that holds a sample: itself, or what it is packed in."""
    packed = find_packed(source)
    return os.fspath(source) if packed is None else packed.archive


def is_pack(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a tar archive or a Parquet file, as its suffix says."""
    return os.path.splitext(os.fspath(path))[1].lower() in PACK_SUFFIXES and os.path.isfile(path)


def list_packed(
    path: str | os.PathLike[str], column: str | None = None
) -> tuple[list[str], list[tuple[str, str]]]:
    """List the files in a tar archive, or the rows of a Parquet file.

    Parameters
    ----------
    path : path-like
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
    MediaReadError, MediaLimitError
        If the file cannot be read.
    MissingDependencyError
        For a Parquet file, without pyarrow.

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
        parquet = _open_parquet(archive, *_stamp(archive))
        name = parquet.choose(column)
        return [f"{archive}/{name}/{row}" for row in range(parquet.starts[-1])], []
    index = _index_tar(archive, *_stamp(archive))
    return [f"{archive}/{name}" for name in index.places], index.problems


def _is_parquet(archive: str) -> bool:
    return archive.lower().endswith(".parquet")


def _stamp(archive: str) -> tuple[int, int]:
    status = check_file(archive).stat()
    return status.st_size, status.st_mtime_ns


def _check_size(size: int) -> None:
    if size > MAX_PHOTO_BYTES:
        raise MediaLimitError(
            f"the packed file has {size:,} bytes, more than {MAX_PHOTO_BYTES:,}: unpack it."
        )


@dataclass(frozen=True)
class _TarIndex:
    """Where the members of a tar archive lie: first byte and size."""

    places: dict[str, tuple[int, int]]
    problems: list[tuple[str, str]]


class _Headers:
    """The file of an archive, of which only headers are read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError("a header is too long")
        return self._file.read(size)


@lru_cache(maxsize=16)
def _index_tar(archive: str, size: int, time: int) -> _TarIndex:
    """Find the members of an archive; the size and time notice changes."""
    places: dict[str, tuple[int, int]] = {}
    problems: list[tuple[str, str]] = []
    try:
        with open(archive, "rb") as file:
            head = file.read(6)
            file.seek(0)
            for start, kind in _COMPRESSED.items():
                if head.startswith(start):
                    raise MediaReadError(
                        f"{printable(archive)} is compressed ({kind}), so that its members cannot "
                        "be read one by one: decompress it. Photos do not become smaller by it."
                    )
            headers: Any = _Headers(file)
            with tarfile.open(fileobj=headers, mode="r:") as tar:
                for path, problem in _read_members(tar, size, places):
                    problems.append((f"{archive}/{path}", problem))
    except (tarfile.TarError, ValueError, EOFError, OverflowError, OSError) as error:
        if isinstance(error, MediaReadError | MediaLimitError):
            raise
        if not places:
            raise MediaReadError(
                f"{printable(archive)} is no tar archive, or is damaged: {reason(error)}."
            ) from error
        problems.append((archive, f"it is damaged after {len(places)} members: {reason(error)}."))
    return _TarIndex(places, problems)


def _read_members(
    tar: Any, n_bytes: int, places: dict[str, tuple[int, int]]
) -> Iterator[tuple[str, str]]:
    """Fill `places`, and yield the members that cannot be used."""
    last = -1
    while (member := tar.next()) is not None:
        # Otherwise the archive's object keeps all members.
        tar.members = []
        if member.size < 0 or member.offset <= last:
            raise tarfile.ReadError("its members overlap")
        last = member.offset
        name = member.name.removeprefix("./")
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            yield name, "it is a link or another special member, which is not read."
        elif name.startswith("/") or ".." in PurePosixPath(name).parts:
            yield name, "its name points out of the archive."
        elif name in places:
            yield name, "the archive has another member of this name before it."
        elif member.offset_data + member.size > n_bytes:
            yield name, "the archive breaks off inside it."
        elif member.size == 0:
            yield name, "it is empty."
        else:
            places[name] = (member.offset_data, member.size)
        if len(places) > _MAX_MEMBERS:
            raise MediaLimitError(f"the archive has more than {_MAX_MEMBERS:,} members: split it.")


def _read_member(archive: str, name: str, size: int | None) -> bytes:
    index = _index_tar(archive, *_stamp(archive))
    if name not in index.places:
        problem = dict(index.problems).get(f"{archive}/{name}", "the archive has no such member.")
        raise MediaReadError(f"{printable(name)} in {printable(archive)}: {problem}")
    start, n_bytes = index.places[name]
    _check_size(n_bytes)
    wanted = n_bytes if size is None else min(size, n_bytes)
    try:
        with open(archive, "rb") as file:
            file.seek(start)
            content = file.read(wanted)
    except OSError as error:
        raise MediaReadError(f"the archive cannot be read: {reason(error)}.") from error
    if len(content) < wanted:
        raise MediaReadError(f"{printable(archive)} became shorter while it was read.")
    return content


@dataclass(frozen=True)
class _Parquet:
    """An open Parquet file.

    Attributes
    ----------
    file : pyarrow.parquet.ParquetFile
    starts : list of int
        The first row of each row group, and the number of rows.
    leaves : dict of str to str
        By column of encoded pictures, the path of its bytes.
    """

    archive: str
    file: Any
    starts: list[int]
    leaves: dict[str, str]

    def choose(self, column: str | None) -> str:
        if column is None and len(self.leaves) == 1:
            return next(iter(self.leaves))
        if column is None or column not in self.leaves:
            asked = "which" if column is None else f"not {column!r}, but one"
            raise MediaReadError(
                f"{printable(self.archive)} has encoded pictures in the columns "
                f"{sorted(self.leaves)}: say {asked} of them."
                if self.leaves
                else f"{printable(self.archive)} has no column of encoded pictures."
            )
        return column


@lru_cache(maxsize=4)
def _open_parquet(archive: str, size: int, time: int) -> _Parquet:
    arrow = import_optional("pyarrow", extra="parquet", purpose="Reading Parquet files")
    parquet = import_optional("pyarrow.parquet", extra="parquet", purpose="Reading Parquet files")
    try:
        file = parquet.ParquetFile(archive)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise MediaReadError(
            f"{printable(archive)} is no Parquet file, or is damaged: {reason(error)}."
        ) from error
    starts = [0]
    for group in range(file.metadata.num_row_groups):
        starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    leaves = {}
    for field in file.schema_arrow:
        kind, leaf = field.type, field.name
        if arrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind, leaf = kind.field("bytes").type, f"{field.name}.bytes"
        if arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind):
            leaves[field.name] = leaf
    return _Parquet(archive, file, starts, leaves)


@lru_cache(maxsize=2)
def _read_group(archive: str, size: int, time: int, group: int, leaf: str) -> Any:
    """Read the bytes of all rows in a row group."""
    arrow = import_optional("pyarrow", extra="parquet", purpose="Reading Parquet files")
    file = _open_parquet(archive, size, time).file
    metadata = file.metadata.row_group(group)
    columns = [metadata.column(i) for i in range(metadata.num_columns)]
    n_bytes = sum(c.total_uncompressed_size for c in columns if c.path_in_schema == leaf)
    if n_bytes > _MAX_GROUP:
        raise MediaLimitError(
            f"the row group has {n_bytes:,} bytes of pictures, more than {_MAX_GROUP:,}: write the "
            "Parquet file again with row_group_size=100."
        )
    try:
        column = file.read_row_group(group, columns=[leaf], use_threads=False).column(0)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise MediaReadError(
            f"the rows of {printable(archive)} around it are damaged: {reason(error)}."
        ) from error
    if not leaf.endswith(".bytes"):
        return column
    compute = import_optional("pyarrow.compute", extra="parquet", purpose="Reading Parquet files")
    return compute.struct_field(column, "bytes")


def _read_cell(archive: str, name: str, size: int | None) -> bytes:
    column, _, row = name.rpartition("/")
    with _LOCK:
        stamp = _stamp(archive)
        parquet = _open_parquet(archive, *stamp)
        if not row.isdecimal() or column not in parquet.leaves or int(row) >= parquet.starts[-1]:
            raise MediaReadError(
                f"{printable(archive)} has no {printable(name)!r}: after its name come a column of "
                f"encoded pictures, of {sorted(parquet.leaves)}, and a row, from 0 to "
                f"{parquet.starts[-1] - 1}, such as image/0."
            )
        group = bisect_right(parquet.starts, int(row)) - 1
        values = _read_group(archive, *stamp, group, parquet.leaves[column])
        content = values[int(row) - parquet.starts[group]]
    if not content.is_valid or not len(content.as_buffer()):
        raise MediaReadError(f"row {row} of {printable(archive)} has no picture.")
    _check_size(len(content.as_buffer()))
    return bytes(content.as_buffer()[:size])
