"""Files of tables, written row by row: CSV, Parquet, JSON lines; and subtitles."""

import csv
import html
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from persona_affect._files import atomic_write, check_output
from persona_affect._optional import import_optional

from ._columns import RELIABILITY
from ._session import PLACE, Row

#: Rows in a group of a Parquet file, which are in memory until they are written.
_GROUP: Final = 10_000
#: Seconds of a subtitle; shorter ones could not be read.
CUE: Final = 0.5

#: Stands with all predictions: in tables, in subtitles and on the command line.
CAVEAT: Final = (
    "Apparent impressions: what raters would say of these faces, not what people are or feel."
)


class Table(Protocol):
    """A file that takes rows."""

    def write(self, rows: Iterable[Row]) -> None:
        """Add rows."""

    def close(self) -> None:
        """Write the remaining rows."""


def check_table_path(
    path: str | PathLike[str], *, inputs: Iterable[Any] = (), subtitles: bool = False
) -> Path:
    """Check that a table can be written to a path, before any work.

    Parameters
    ----------
    path : path-like
        The file to write.
    inputs : iterable
        Inputs of the same call; a path that is one of them is refused.
    subtitles : bool, default=False
        Whether it may be a ``.vtt`` file.

    Returns
    -------
    pathlib.Path
        The same path.

    Raises
    ------
    OutputPathError
        If the suffix is unknown, or the file cannot be written there.
    MissingDependencyError
        If a Parquet file is asked for and the extra ``app`` is not installed.

    Examples
    --------
    >>> from persona_affect.annotation import check_table_path
    >>> from persona_affect.exceptions import OutputPathError
    >>> try:
    ...     check_table_path("rows.doc")
    ... except OutputPathError:
    ...     print("refused")
    refused
    """
    known = [suffix for suffix in _TABLES if subtitles or suffix != ".vtt"]
    path = check_output(path, inputs=inputs, suffixes=known)
    if path.suffix.lower() == ".parquet":
        import_optional("pyarrow", extra="app", purpose="Writing Parquet")
    return path


@contextmanager
def open_table(path: Path, kinds: Mapping[str, type]) -> Iterator[Table]:
    """Open a table that is written row by row, and appears completely or not at all.

    Parameters
    ----------
    path : Path
        Ends in ``.csv``, ``.parquet``, ``.jsonl``, or, for rows of an annotation, ``.vtt``.
    kinds : mapping of str to {int, float, str}
        The columns, in order. Values that are NaN or None become an empty field or null.

    Yields
    ------
    Table
        With a method ``write(rows)``.

    Raises
    ------
    OutputPathError, MissingDependencyError
        As for `check_table_path`.
    OutputError
        If writing fails, as on a full disk.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from persona_affect.annotation import open_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "rows.csv")
    ...     with open_table(path, {"frame": int, "happy": float}) as table:
    ...         table.write([{"frame": 0, "happy": 61.5}])
    ...     path.read_text().split()
    ['frame,happy', '0,61.5']
    """
    check_table_path(path, subtitles=True)
    with atomic_write(path) as draft:
        table = _TABLES[path.suffix.lower()](draft, kinds)
        try:
            yield table
        except BaseException:
            # The rest is still in memory; writing it would fail again.
            with suppress(OSError):
                table.close()
            raise
        table.close()


def without_nan(row: Row) -> Row:
    """Return the row with None instead of NaN."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in row.items()
    }


class CsvTable:
    """Comma-separated values after a line of names, which is written with the first row.

    Parameters
    ----------
    target : Path or text file
        Where the rows go; a path is opened, and closed with the table.
    kinds : mapping of str to type
        The columns, in order.

    Examples
    --------
    >>> import sys
    >>> from persona_affect.annotation import CsvTable
    >>> table = CsvTable(sys.stdout, {"frame": int, "happy": float})
    >>> table.write([{"frame": 0, "happy": 61.5}])
    frame,happy
    0,61.5
    """

    def __init__(self, target: Path | TextIO, kinds: Mapping[str, type]) -> None:
        self._owned = isinstance(target, Path)
        self._file: TextIO = (
            target.open("w", newline="", encoding="utf-8") if isinstance(target, Path) else target
        )
        self._writer = csv.DictWriter(self._file, list(kinds), lineterminator="\n")
        self._has_header = False

    def write(self, rows: Iterable[Row]) -> None:
        """Add rows.

        Parameters
        ----------
        rows : iterable of dict
            As :meth:`FrameAnnotator.annotate` yields them.
        """
        if not self._has_header:
            self._has_header = True
            self._writer.writeheader()
        self._writer.writerows(map(without_nan, rows))

    def close(self) -> None:
        """Write the line of names if there was no row; close the file if it was opened here."""
        self.write(())
        if self._owned:
            self._file.close()


class _JsonLines:
    def __init__(self, path: Path, kinds: Mapping[str, type]) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._file.write(
                json.dumps(without_nan(row), ensure_ascii=False, allow_nan=False) + "\n"
            )

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path, kinds: Mapping[str, type]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        types = {int: pa.int64(), float: pa.float64(), str: pa.string()}
        fields = [pa.field(name, types[kind]) for name, kind in kinds.items()]
        self._schema = pa.schema(fields, metadata={"caveat": CAVEAT})
        self._writer = parquet.ParquetWriter(path, self._schema)
        self._rows: list[Row] = []

    def write(self, rows: Iterable[Row]) -> None:
        self._rows.extend(map(without_nan, rows))
        if len(self._rows) >= _GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


class _Subtitles:
    """WebVTT: a cue every half second, with one line for each face."""

    def __init__(self, path: Path, kinds: Mapping[str, type]) -> None:
        self._targets = [name for name in kinds if name not in (*PLACE, *RELIABILITY)]
        self._start = 0.0
        self._faces: dict[int, list[Row]] = defaultdict(list)
        self._file = path.open("w", encoding="utf-8")
        self._file.write(f"WEBVTT\n\nNOTE {CAVEAT}\n")

    def write(self, rows: Iterable[Row]) -> None:
        for row in rows:
            # A little early, because times are not exact in floating point.
            if row["time"] >= self._start + CUE - 1e-6:
                self._flush()
                self._start = CUE * math.floor((row["time"] + 1e-6) / CUE)
            if not math.isnan(row["face"]):
                self._faces[row["face"]].append(row)

    def close(self) -> None:
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if not self._faces:
            return
        self._file.write(f"\n{_stamp(self._start)} --> {_stamp(self._start + CUE)}\n")
        for face, rows in sorted(self._faces.items()):
            means = {name: sum(row[name] for row in rows) / len(rows) for name in self._targets}
            values = ", ".join(f"{name} {value:.3g}" for name, value in means.items())
            self._file.write(f"Face {face}: {html.escape(values, quote=False)}\n")
        self._faces.clear()


def _stamp(seconds: float) -> str:
    milliseconds = round(1000 * seconds)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}.{rest % 1000:03}"


_TABLES: Final[dict[str, Any]] = {
    ".csv": CsvTable,
    ".parquet": _Parquet,
    ".jsonl": _JsonLines,
    ".vtt": _Subtitles,
}
