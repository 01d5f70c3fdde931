"""Rows of an annotation, stored frame by frame, so that an interruption loses little."""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from sklearn.base import BaseEstimator

from persona_affect._arrays import add_to_digest
from persona_affect._files import named_write_errors, open_locked
from persona_affect.exceptions import MediaReadError, OutputError, PersonaAffectError
from persona_affect.media import Frame, open_file
from persona_affect.persistence import model_fingerprint

from ._session import Row
from ._sources import is_file

#: Bytes at each end of a file that, with its size, identify it.
_ENDS: Final = 2**20


class Journal:
    """The rows of one call of `to_file`: a line about the call, then a line for each frame.

    Use it as a context manager: until its end, no other run can use the file.

    Parameters
    ----------
    path : Path
        The result, which is made from the journal at the end; the journal is beside it.
    identity : mapping
        The result of `identify`.
    columns : sequence of str
        Columns of the rows.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], columns: Sequence[str]) -> None:
        self.path = partial_path(path)
        self._result = path
        self._identity = {**identity, "columns": list(columns)}
        self._columns = columns
        self._n_known = self._n_written = 0

    def __enter__(self) -> Self:
        """Open and lock the file.

        Raises
        ------
        OutputError
            If another run uses it, or it cannot be written.
        """
        self._file = open_locked(self.path)
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the file; remove it if it is empty, or if the source cannot be read at all."""
        if self._file.closed:
            return
        unreadable = isinstance(error, PersonaAffectError) and not isinstance(error, OutputError)
        # The rest is still in the buffer; writing it would fail again.
        with suppress(OSError):
            self._file.close()
        if not self.path.stat().st_size or (unreadable and not self._n_written):
            self.path.unlink()

    def start(self) -> Iterable[list[Row]]:
        """Start from the beginning, without known frames."""
        with named_write_errors(self.path):
            self._file.truncate(0)
        self._append(self._identity)
        return ()

    def reopen(self, batch_size: int) -> Iterable[list[Row]]:
        """Continue where an interrupted call stopped, and return the rows of the frames before.

        Parameters
        ----------
        batch_size : int
            Known frames are kept up to a multiple of it. Later frames are then predicted in the
            same batches as without an interruption, so that the last bits are the same too.

        Raises
        ------
        ValueError
            If that call was another, or is complete.
        """
        needed = {"clip": "a file, bytes or an array.", "model": "one that save_model can save."}
        for name, kind in needed.items():
            if self._identity[name] is None:
                raise ValueError(f"resume needs a {name} that can be identified: {kind}")
        self._file.seek(0)
        head = self._file.readline()
        if not head and self._result.exists():
            raise ValueError(
                f"{self._result} is complete: there is nothing to resume. Remove it, or leave out "
                "resume, to annotate it again."
            )
        # Without a line break, only a part of the first line was written.
        if not head.endswith(b"\n"):
            return self.start()
        self._check(head)
        ends = [self._file.tell()]
        for line in self._file:
            if line.endswith(b"\n"):
                ends.append(ends[-1] + len(line))
        self._n_known = (len(ends) - 1) // batch_size * batch_size
        with named_write_errors(self.path):
            self._file.truncate(ends[self._n_known])
        return self.rows(self._n_known)

    def record(self, frames: Iterable[tuple[Frame, Sequence[Row]]]) -> None:
        """Write the rows of all frames, except those that are known already."""
        for place, (_, rows) in enumerate(frames):
            if place >= self._n_known:
                self._append([list(row.values()) for row in rows])
            self._n_written = place + 1

    def rows(self, n_frames: int | None = None) -> Iterator[list[Row]]:
        """Read the rows frame by frame; of the first `n_frames` only, if given."""
        with self.path.open(encoding="utf-8") as file:
            next(file)
            for place, line in enumerate(file):
                if place == n_frames:
                    return
                yield [dict(zip(self._columns, row, strict=True)) for row in json.loads(line)]

    def discard(self) -> None:
        """Remove the journal."""
        # Removed while it is locked, so that no other run can open it in between.
        if sys.platform == "win32":
            self._file.close()
        self.path.unlink()
        self._file.close()

    def _append(self, content: Any) -> None:
        # Line by line, so that the rows are kept even if the process is killed.
        with named_write_errors(self.path):
            self._file.write(json.dumps(content).encode() + b"\n")
            self._file.flush()

    def _check(self, line: bytes) -> None:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ValueError(f"{self.path} is not the journal of an annotation: remove it.")
        differing = [name for name in self._identity if found.get(name) != self._identity[name]]
        if differing:
            raise ValueError(
                f"{self.path} is of another call: {', '.join(differing)} differ. Call it as "
                "before, or leave out resume to start from the beginning."
            )


def partial_path(path: Path) -> Path:
    """Return the path of the journal for a result."""
    return path.with_name(f"{path.name}.partial")


def identify(source: Any, model: BaseEstimator, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Identify an annotation by its clip, its model, its settings and our version.

    Parameters
    ----------
    source
        As for :meth:`persona_affect.FrameAnnotator.annotate`.
    model : Pipeline or ConformalAffect
    settings : mapping of str to JSON values

    Returns
    -------
    dict
        ``clip`` is None for a source that cannot be read again, ``model`` for one that
        `save_model` could not save.
    """
    from persona_affect import __version__

    try:
        fingerprint: str | None = model_fingerprint(model)
    except ValueError:
        fingerprint = None
    return {
        "persona_affect": __version__,
        "clip": _clip_fingerprint(source),
        "model": fingerprint,
        **settings,
    }


def _clip_fingerprint(source: Any) -> str | None:
    """Compute a checksum of a clip; for a large file, of its size, beginning and end."""
    if isinstance(source, np.ndarray):
        digest = hashlib.sha256()
        add_to_digest(digest, source)
    elif isinstance(source, str | os.PathLike):
        try:
            file = open_file(source)
        except MediaReadError:
            return None
        with file:
            size = file.seek(0, os.SEEK_END)
            digest = hashlib.sha256(f"{size} ".encode())
            for start in (0, max(size - _ENDS, 0)):
                file.seek(start)
                digest.update(file.read(_ENDS))
    elif is_file(source):
        digest = hashlib.sha256(source)
    else:
        return None
    return digest.hexdigest()
