"""Descriptors of many persons, one after the other: kept when interrupted, then a table."""

import base64
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from persona_affect import FaceAligner, PersonDynamicsEncoder
from persona_affect._files import atomic_write, named_write_errors, open_locked
from persona_affect.exceptions import MediaWarning, NoFaceWarning, PersonaAffectError
from persona_affect.faces import split_pieces
from persona_affect.persistence import model_fingerprint

#: Columns before those of the descriptor.
_FACTS = ("person", "n_clips", "n_frames", "error")


def describe_persons(
    aligner: FaceAligner,
    encoder: PersonDynamicsEncoder,
    groups: Mapping[str, Sequence[str]],
    output: Path,
    rows_at_once: int,
) -> int:
    """Describe persons, and write a table with a row for each.

    Parameters
    ----------
    aligner : FaceAligner
    encoder : PersonDynamicsEncoder
        Fitted.
    groups : mapping of str to sequence of str
        The clips of each person.
    output : Path
        Ends in ``.parquet``, ``.csv`` or ``.jsonl``. Rows are kept in ``output.partial`` until all
        persons are described.
    rows_at_once : int
        Rows of the table in memory.

    Returns
    -------
    int
        Persons that could not be described.

    Raises
    ------
    ValueError
        If there are rows of another call.
    OutputError
        If writing fails, or another run writes to the same file.
    """
    partial = output.with_name(f"{output.name}.partial")
    identity = {
        "clips": {person: list(clips) for person, clips in groups.items()},
        "aligner": model_fingerprint(aligner.fit()),
        "encoder": model_fingerprint(encoder),
    }
    file = open_locked(partial)
    try:
        n_known = _resume(file, partial, identity)
        todo = list(groups.items())[n_known:]
        quiet = not sys.stderr.isatty()
        for person, clips in tqdm(todo, desc="Describing", unit="person", disable=quiet):
            row = _describe(aligner, encoder, person, clips)
            with named_write_errors(partial):
                file.write(json.dumps(row).encode() + b"\n")
                file.flush()
        n_failed = _write_table(partial, output, encoder, rows_at_once)
        partial.unlink()
    finally:
        file.close()
    return n_failed


def write_person(
    encoder: PersonDynamicsEncoder,
    person: str,
    n_frames: int,
    values: NDArray[np.float32],
    output: Path,
) -> None:
    """Write the table of one person who was described live, with the columns of others.

    Parameters
    ----------
    encoder : PersonDynamicsEncoder
    person : str
        Name.
    n_frames : int
        Frames with a face.
    values : ndarray of shape (n_features,)
        The descriptor.
    output : Path
        As for :func:`describe_persons`.
    """
    row = {"person": person, "n_clips": 1, "n_frames": n_frames, "error": ""}
    names = [str(name) for name in encoder.get_feature_names_out()]
    with atomic_write(output) as draft:
        _writer(output)(draft, names, iter([([row], values[None])]))


def _resume(file: BinaryIO, path: Path, identity: dict[str, Any]) -> int:
    """Return how many persons are described already; a line that is not complete is removed."""
    file.seek(0)
    head = file.readline()
    if not head.endswith(b"\n"):
        with named_write_errors(path):
            file.truncate(0)
            file.write(json.dumps(identity).encode() + b"\n")
            file.flush()
        return 0
    if head != json.dumps(identity).encode() + b"\n":
        raise ValueError(
            f"{path} has rows of other clips or another model: call it as before to continue, or "
            "remove it."
        )
    n_known, end = 0, len(head)
    for line in file:
        if line.endswith(b"\n"):
            n_known, end = n_known + 1, end + len(line)
    with named_write_errors(path):
        file.truncate(end)
    return n_known


def _describe(
    aligner: FaceAligner, encoder: PersonDynamicsEncoder, person: str, clips: Sequence[str]
) -> dict[str, Any]:
    # Names need not be UTF-8, but tables must be.
    name = person.encode("utf-8", "backslashreplace").decode()
    row: dict[str, Any] = {"person": name, "n_clips": len(clips), "n_frames": 0, "error": ""}
    margin = 2 * encoder.net_.margin
    found, problems = [], []
    for clip in clips:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                (faces,) = aligner.transform([clip])
            except PersonaAffectError as error:
                problems.append(str(error).removeprefix("sample 0 "))
                continue
        problems += [str(w.message) for w in caught if issubclass(w.category, MediaWarning)]
        pieces = [piece for piece in split_pieces(faces) if len(piece) > margin]
        row["n_frames"] += sum(map(len, pieces))
        found += pieces
    if not found:
        problems.append(f"no face for more than {margin} frames.")
        return {**row, "error": " ".join(problems), "values": None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoFaceWarning)
        values = encoder.transform([found])[0]
    text = base64.b64encode(values.astype("<f4").tobytes()).decode()
    return {**row, "error": " ".join(problems), "values": text}


def _write_table(
    partial: Path, output: Path, encoder: PersonDynamicsEncoder, rows_at_once: int
) -> int:
    """Turn the rows of the partial file into a table, a few at a time."""
    names = [str(name) for name in encoder.get_feature_names_out()]
    n_failed = 0
    with atomic_write(output) as draft:

        def batches() -> Iterator[tuple[list[dict[str, Any]], NDArray[np.float32]]]:
            nonlocal n_failed
            batch: list[dict[str, Any]] = []
            with partial.open("rb") as file:
                next(file)
                for line in file:
                    batch.append(json.loads(line))
                    n_failed += batch[-1]["values"] is None
                    if len(batch) == rows_at_once:
                        yield batch, _values(batch, len(names))
                        batch = []
            if batch:
                yield batch, _values(batch, len(names))

        _writer(output)(draft, names, batches())
    return n_failed


def _values(batch: list[dict[str, Any]], n_features: int) -> NDArray[np.float32]:
    values = np.full((len(batch), n_features), np.nan, np.float32)
    for row, line in zip(values, batch, strict=True):
        if line["values"] is not None:
            row[:] = np.frombuffer(base64.b64decode(line["values"]), "<f4")
    return values


_Batches = Iterator[tuple[list[dict[str, Any]], NDArray[np.float32]]]


def _writer(output: Path) -> Callable[[Path, list[str], _Batches], None]:
    """Return what writes this kind of table."""
    writers = {".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_json}
    return writers[output.suffix.lower()]


def _write_parquet(path: Path, names: list[str], batches: _Batches) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"person": pa.string(), "n_clips": pa.int64(), "n_frames": pa.int64()}
    fields = [pa.field(name, kinds.get(name, pa.string())) for name in _FACTS]
    schema = pa.schema(fields + [pa.field(name, pa.float32()) for name in names])
    with parquet.ParquetWriter(path, schema) as writer:
        for rows, values in batches:
            columns = [pa.array([row[name] for row in rows], kinds.get(name)) for name in _FACTS]
            columns += [pa.array(column, pa.float32()) for column in values.T]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _write_csv(path: Path, names: list[str], batches: _Batches) -> None:
    import csv

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_FACTS, *names])
        for rows, values in batches:
            for row, own in zip(rows, values, strict=True):
                numbers = ["" if np.isnan(x) else repr(float(x)) for x in own]
                writer.writerow([*(row[name] for name in _FACTS), *numbers])


def _write_json(path: Path, names: list[str], batches: _Batches) -> None:
    with path.open("w", encoding="utf-8") as file:
        for rows, values in batches:
            for row, own in zip(rows, values, strict=True):
                numbers = [None if np.isnan(x) else float(x) for x in own]
                line = {name: row[name] for name in _FACTS} | dict(zip(names, numbers, strict=True))
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
