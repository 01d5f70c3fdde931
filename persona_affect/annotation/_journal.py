"""Rows of a clip under annotation, kept frame by frame so that an interruption costs little."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.pipeline import Pipeline

from persona_affect._arrays import add_to_digest
from persona_affect.media import Frame
from persona_affect.persistence import model_fingerprint

from ._session import Row
from ._sources import is_file

#: Bytes at each end of a file that, with its size, tell it from others.
_ENDS: Final = 2**20


class Journal:
    """The rows of one call of `to_file`: a line that says which, then a line a frame.

    Parameters
    ----------
    path : Path
        What the journal will become; it lies beside it.
    identity : mapping
        As `identify` gives.
    columns : sequence of str
        Of the rows.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], columns: Sequence[str]) -> None:
        self.path = path.with_name(f"{path.name}.partial")
        self._result = path
        self._identity = {**identity, "columns": list(columns)}
        self._columns = columns
        self._n_known = 0

    def start(self) -> Iterable[list[Row]]:
        """Begin anew; no frame is known."""
        self.path.write_text(json.dumps(self._identity) + "\n", encoding="utf-8")
        return ()

    def reopen(self, whole: int) -> Iterable[list[Row]]:
        """Begin where an interrupted call stopped, and give the rows of the frames before.

        Parameters
        ----------
        whole : int
            Known frames are kept up to a multiple of this number, the size of batches: later
            frames are then predicted with the same neighbours as without an interruption, which
            matters to the last bits.

        Raises
        ------
        ValueError
            If that call was another, or is complete.
        """
        for what in ("clip", "model"):
            if self._identity[what] is None:
                raise ValueError(
                    f"resume needs a {what} that can be told from others: "
                    + {
                        "clip": "a file, bytes or an array.",
                        "model": "one that save_model can save.",
                    }[what]
                )
        if not self.path.exists():
            if self._result.exists():
                raise ValueError(
                    f"{self._result} is whole: there is nothing to resume. Remove it, or leave out "
                    "resume, to annotate anew."
                )
            return self.start()
        with self.path.open("r+b") as file:
            self._check(file.readline())
            ends = [file.tell()]
            for line in file:
                if line.endswith(b"\n"):
                    ends.append(ends[-1] + len(line))
            self._n_known = (len(ends) - 1) // whole * whole
            file.truncate(ends[self._n_known])
        return self.rows(self._n_known)

    def record(self, frames: Iterable[tuple[Frame, Sequence[Row]]]) -> None:
        """Write down the rows of all frames; those known stand there already."""
        # Line by line, so that even a process that is killed leaves what it did.
        with self.path.open("a", encoding="utf-8", buffering=1) as file:
            for place, (_, rows) in enumerate(frames):
                if place >= self._n_known:
                    file.write(json.dumps([list(row.values()) for row in rows]) + "\n")

    def rows(self, n_frames: int | None = None) -> Iterator[list[Row]]:
        """Read the rows frame by frame; of the first `n_frames` only, if given."""
        with self.path.open(encoding="utf-8") as file:
            next(file)
            for place, line in enumerate(file):
                if place == n_frames:
                    return
                yield [dict(zip(self._columns, row, strict=True)) for row in json.loads(line)]

    def discard(self) -> None:
        """Remove it."""
        self.path.unlink()

    def _check(self, line: bytes) -> None:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ValueError(f"{self.path} is no record of an annotation: remove it.")
        differing = [name for name in self._identity if found.get(name) != self._identity[name]]
        if differing:
            raise ValueError(
                f"{self.path} is of another call: {', '.join(differing)} differ. Call it as "
                "before, or leave out resume to begin anew."
            )


def identify(source: Any, model: Pipeline, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Tell an annotation from others: by its clip, its model, its settings and our version.

    Parameters
    ----------
    source
        As for :meth:`persona_affect.FrameAnnotator.annotate`.
    model : Pipeline
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
    """Sum up a clip; of a file, its size and its two ends, since clips are large."""
    if isinstance(source, np.ndarray):
        sum_ = hashlib.sha256()
        add_to_digest(sum_, source)
    elif isinstance(source, str | os.PathLike):
        if not os.path.isfile(source):
            return None
        size = os.path.getsize(source)
        sum_ = hashlib.sha256(f"{size} ".encode())
        with open(source, "rb") as file:
            sum_.update(file.read(_ENDS))
            file.seek(max(size - _ENDS, 0))
            sum_.update(file.read())
    elif is_file(source):
        sum_ = hashlib.sha256(source)
    else:
        return None
    return sum_.hexdigest()
