"""Parquet files: the bytes of one encoded picture, and the columns of numbers."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from .._optional import import_optional
from ..exceptions import MediaLimitError, MediaReadError
from ._paths import check_packed_size, printable, reason, stamp

if TYPE_CHECKING:
    import pandas as pd

#: Bytes of one column in a row group of a Parquet file: they are in memory together.
_MAX_GROUP: Final = 2**30
#: Parquet files are read by one thread at a time: the row group that is in memory serves all.
_LOCK: Final = Lock()


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
def open_parquet(archive: str, size: int, time: int) -> _Parquet:
    """Open a Parquet file; the size and time notice changes."""
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
    file = open_parquet(archive, size, time).file
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


def read_cell(archive: str, name: str, size: int | None) -> bytes:
    """Read a picture, named by its column and row, or its first `size` bytes."""
    column, _, row = name.rpartition("/")
    with _LOCK:
        now = stamp(archive)
        parquet = open_parquet(archive, *now)
        if not row.isdecimal() or column not in parquet.leaves or int(row) >= parquet.starts[-1]:
            raise MediaReadError(
                f"{printable(archive)} has no {printable(name)!r}: after its name come a column of "
                f"encoded pictures, of {sorted(parquet.leaves)}, and a row, from 0 to "
                f"{parquet.starts[-1] - 1}, such as image/0."
            )
        group = bisect_right(parquet.starts, int(row)) - 1
        values = _read_group(archive, *now, group, parquet.leaves[column])
        content = values[int(row) - parquet.starts[group]]
    if not content.is_valid or not len(content.as_buffer()):
        raise MediaReadError(f"row {row} of {printable(archive)} has no picture.")
    check_packed_size(len(content.as_buffer()))
    return bytes(content.as_buffer()[:size])


def read_values(path: str | os.PathLike[str], texts: Collection[str] = ()) -> pd.DataFrame:
    """Read the columns of numbers of a Parquet file, and none of pictures.

    Parameters
    ----------
    path : path-like
        The Parquet file.
    texts : collection of str
        Columns that are read, too, if they are text.

    Returns
    -------
    pandas.DataFrame of n_rows rows
        In the order of the file, as are the paths of :func:`list_packed`.

    Raises
    ------
    MediaReadError
        If the file cannot be read.
    MissingDependencyError
        Without pyarrow (extra ``parquet``).

    See Also
    --------
    list_packed : The rows as paths of their pictures.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from persona_affect.media import read_values
    >>> table = pd.DataFrame({"image": [b"..."], "warm": [0.5], "split": ["test"]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table.to_parquet(Path(folder, "part.parquet"))
    ...     read_values(Path(folder, "part.parquet"), texts=["split"])
       warm split
    0   0.5  test
    """
    arrow = import_optional("pyarrow", extra="parquet", purpose="Reading Parquet files")
    archive = os.fspath(path)
    with _LOCK:
        file = open_parquet(archive, *stamp(archive)).file
        names = [
            field.name
            for field in file.schema_arrow
            if arrow.types.is_integer(field.type)
            or arrow.types.is_floating(field.type)
            or (field.name in texts and _is_text(arrow.types, field.type))
        ]
        try:
            return file.read(names, use_threads=False).to_pandas()
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise MediaReadError(
                f"the labels of {printable(archive)} cannot be read: {reason(error)}."
            ) from error


def _is_text(types: Any, kind: Any) -> bool:
    """Return whether a column is of text, in any of the forms that writers choose."""
    if types.is_dictionary(kind):
        return _is_text(types, kind.value_type)
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
