"""`persona-affect predict`: predictions for photos and clips, as a table."""

import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from persona_affect.app._errors import ExitCode, OutputConsole, error_console
from persona_affect.app._inputs import find_inputs
from persona_affect.app._options import (
    DetectorOption,
    EngineOption,
    ModelOption,
    PrecisionOption,
    ReliabilityOption,
    find_calibration,
    load_photo_model,
)

if TYPE_CHECKING:
    from persona_affect.annotation import FrameAnnotator
    from persona_affect.faces import Detections

_PLACE = ("face", "x", "y", "width", "height", "confidence")
#: Photos that are predicted together: at most this many, and this many pixels in all.
_TOGETHER, _PIXELS = 16, 2**24
#: Rows that a table on a terminal shows.
_SHOWN = 100
#: How Python and the command line write the same setting, in messages.
_SEARCH, _OPTION = 'upright="search"', "--upright search"
#: Files and folders that were left out of which each is named.
_NAMED = 10


class Faces(StrEnum):
    """Faces of a photo to predict."""

    ONE = "one"
    ALL = "all"


class Upright(StrEnum):
    """How photos and clips are turned, as for `FaceAligner`."""

    EXIF = "exif"
    SEARCH = "search"


class _Rows(Protocol):
    def write(self, rows: Sequence[dict[str, Any]]) -> None: ...


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES",
            help="Photos, clips, folders (searched through), tar and Parquet files, or quoted "
            "patterns like 'day1/*.jpg'.",
            show_default=False,
        ),
    ],
    model: ModelOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write the table to a .csv, .parquet or .jsonl file.",
            show_default=False,
        ),
    ] = None,
    faces: Annotated[
        Faces,
        typer.Option(
            help="In photos, one face or all faces; in clips always one. It is the one that the "
            "model selects: the largest, if nothing else was set."
        ),
    ] = Faces.ONE,
    upright: Annotated[
        Upright | None,
        typer.Option(
            help="How to turn photos and clips: as their files say (exif), or also try all four "
            "quarter turns (search), which takes four times as long. Default: as the model says.",
            show_default=False,
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Intervals that contain the rating of a new face with probability P, such as 0.9: "
            "columns TARGET_low and TARGET_high. Needs a model with a calibration, as the bundled "
            "one and those of `train --start`.",
            show_default=False,
        ),
    ] = None,
    widen: Annotated[
        bool,
        typer.Option(
            help="Make the intervals of less reliable faces wider, so that they still contain the "
            "rating about as often; photos only."
        ),
    ] = True,
    reliability: ReliabilityOption = True,
    detector: DetectorOption = None,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Predict the impressions that faces in photos and clips make on raters.

    One row for each face: the file, the place of the face (pixels; photos only), a number for each
    target, how reliable they are (photos only), and an [bold]error[/] if a file could not be used;
    the other files are not affected.
    On a terminal a table is shown; to a pipe, CSV is written.

    Folders are searched through, and links in them followed. What was left out is listed at the
    end.

    Exit code: 0 if every file was predicted, 1 if some were not (the error column says why) or a
    folder cannot be listed, 2 if the call was wrong.

    [bold]Examples[/]

      persona-affect predict portrait.jpg

      persona-affect predict photos/ clips/*.mp4 --output impressions.csv

      persona-affect predict 'people/**/*.png' --faces all | head

      persona-affect predict shard-000.tar --output impressions.csv

      persona-affect predict portrait.jpg --interval 0.9
    """
    from tqdm import tqdm

    from persona_affect.annotation import CAVEAT, FrameAnnotator, check_table_path, open_table

    found_inputs = find_inputs(inputs)
    paths = found_inputs.paths
    if output is not None:
        check_table_path(output, inputs=(*paths, model))
    if interval is not None and not 0 < interval < 1:
        raise typer.BadParameter(f"{interval} is not a probability such as 0.9.")
    pipeline = load_photo_model(model, detector, engine=engine, precision=precision)
    if upright is not None:
        pipeline[0].set_params(upright=upright.value)
    calibrated = find_calibration(model, pipeline)
    if interval is not None and calibrated is None:
        raise typer.BadParameter(
            f"{model} has no calibration for intervals. `train --start` stores one. For another "
            "model, in Python, with photos of persons that it did not learn from: "
            f"save_model(ConformalAffect(load_model({str(model)!r})).conformalize(photos, "
            "ratings, groups=persons), FILE)."
        )
    annotator = FrameAnnotator(
        calibrated or pipeline,
        track=False,
        interval=interval,
        reliability=reliability,
        widen=widen,
    )
    kinds = {"file": str, **annotator.kinds, "error": str}
    del kinds["frame"], kinds["time"]
    n_failed = 0
    turned: dict[str, str] = {}
    with ExitStack() as stack:
        rows: _Rows
        if output is not None:
            rows = stack.enter_context(open_table(output, kinds))
        elif sys.stdout.isatty():
            rows = stack.enter_context(_Shown(list(kinds)))
        else:
            rows = _Piped(kinds)
        quiet = not sys.stderr.isatty()
        progress = stack.enter_context(
            tqdm(total=len(paths), desc="Predicting", unit="file", disable=quiet)
        )
        for found in _predict_all(paths, annotator, faces):
            error = found[0].get("error", "")
            if _SEARCH in error:
                turned[_escape(found[0]["file"])] = error.replace(_SEARCH, _OPTION)
            for row in found:
                # Names need not be UTF-8, but tables must be.
                row["file"] = _escape(row["file"])
                if "error" in row:
                    row["error"] = row["error"].replace(_SEARCH, _OPTION)
            rows.write([{name: row.get(name, math.nan) for name in kinds} for row in found])
            n_failed += "error" in found[0]
            progress.update()
    error_console().print(CAVEAT, style="dim")
    if n_failed:
        error_console().print(
            f"{n_failed} of {len(paths)} files have an error; see the last column."
        )
    _report("files seem not to be upright", turned)
    _report("files that are no photos or clips were left out", found_inputs.left_out)
    _report("folders cannot be listed", found_inputs.unlisted)
    _report("archives cannot be read", found_inputs.unread)
    if n_failed or found_inputs.unlisted or found_inputs.unread:
        raise typer.Exit(ExitCode.FAILED)


def _escape(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _report(what: str, found: Mapping[str, str]) -> None:
    """Name files and folders, and say why."""
    if not found:
        return
    shown = [f"  {name}: {why}" for name, why in list(found.items())[:_NAMED]]
    more = [f"  ... and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
    error_console().print("\n".join([f"{len(found)} {what}:", *shown, *more]), markup=False)


def _predict_all(
    paths: Sequence[str], annotator: "FrameAnnotator", faces: Faces
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each file, in order; photos are predicted together."""
    from persona_affect.exceptions import PersonaAffectError
    from persona_affect.faces import find_turned
    from persona_affect.media import Frame, is_clip, open_photo

    photos: list[tuple[str, Frame | str]] = []
    session, aligner = annotator.session(), annotator.model[0]

    def flush() -> Iterator[list[dict[str, Any]]]:
        frames = [frame for _, frame in photos if isinstance(frame, Frame)]
        results: Iterator[tuple[list[dict[str, Any]], Detections, str]] = iter(())
        if frames:
            seen = session.examine(frames, session.n_seen, lambda: session.boxes)
            remarks = find_turned(aligner, [frame.image for frame in frames], seen.faces)
            results = zip(session.make_rows(frames, seen), seen.faces, remarks, strict=True)
        for path, frame in photos:
            if isinstance(frame, str):
                yield [{"file": path, "error": frame}]
                continue
            rows, found, remark = next(results)
            error = {"error": remark} if remark else {}
            if not len(found):
                yield [{"file": path, "error": "no face found.", **error}]
                continue
            if faces is Faces.ONE:
                rows = [{**rows[aligner.select_face(found, frame.image)], "face": 0}]
            yield [{"file": path, **row, **error} for row in rows]
        photos.clear()

    n_pixels = 0
    for path in paths:
        try:
            clip = is_clip(path)
            if not clip:
                image = open_photo(path)
                n_pixels += image.shape[0] * image.shape[1]
                photos.append((path, Frame(len(photos), math.nan, image)))
        except PersonaAffectError as error:
            clip = False
            photos.append((path, str(error)))
        if clip or len(photos) == _TOGETHER or n_pixels > _PIXELS:
            yield from flush()
            n_pixels = 0
        if clip:
            yield [_clip_row(path, annotator)]
    yield from flush()


def _clip_row(path: str, annotator: "FrameAnnotator") -> dict[str, Any]:
    from persona_affect.exceptions import MediaWarning, PersonaAffectError

    row: dict[str, Any] = {"file": path}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if annotator.calibrated is not None and annotator.interval is not None:
                table = annotator.calibrated.predict_table([path], 1 - annotator.interval)
                values = table.iloc[0].to_dict()
            else:
                names = annotator.model[-1].target_names_
                values = dict(zip(names, annotator.model.predict([path]).reshape(-1), strict=True))
        except PersonaAffectError as error:
            return {**row, "error": str(error).removeprefix(f"sample 0 ({path}): ")}
    notes = [str(note.message) for note in caught if issubclass(note.category, MediaWarning)]
    if all(map(math.isnan, values.values())):
        return {**row, "error": " ".join(["no face found.", *notes])}
    row |= {"face": 0, **{str(name): float(value) for name, value in values.items()}}
    return {**row, "error": " ".join(notes)} if notes else row


class _Piped:
    """Writes CSV to a pipe."""

    def __init__(self, kinds: dict[str, type]) -> None:
        from persona_affect.annotation import CsvTable

        self._table = CsvTable(sys.stdout, kinds)

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        self._table.write(rows)
        sys.stdout.flush()


class _Shown:
    """Shows a table on the terminal, at the end."""

    def __init__(self, columns: list[str]) -> None:
        self._rows: list[dict[str, Any]] = []
        self._columns = [name for name in columns if name not in _PLACE[1:]]
        self._n_rows = 0

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        self._n_rows += len(rows)
        self._rows.extend(rows[: max(0, _SHOWN - len(self._rows))])

    def __enter__(self) -> "_Shown":
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is not None:
            return
        console = OutputConsole(highlight=False)
        used = [n for n in self._columns if n != "error" or any(_text(r[n]) for r in self._rows)]
        table = self._table(used)
        unbound = console.options.update_width(10_000)
        if console.measure(table, options=unbound).maximum <= console.width:
            console.print(table)
        else:
            for row in self._rows:
                self._block(console, row)
        if self._n_rows > len(self._rows):
            error_console().print(
                f"... and {self._n_rows - len(self._rows)} rows more: use --output."
            )

    def _table(self, used: list[str]) -> Any:
        from rich.table import Table

        table = Table()
        for name in used:
            table.add_column(name, justify="left" if name in ("file", "error") else "right")
        for row in self._rows:
            table.add_row(*(_text(row[name]) for name in used))
        return table

    def _block(self, console: Any, row: dict[str, Any]) -> None:
        """Show a row below its file's name, if the terminal is too narrow for a table."""
        from rich.columns import Columns

        face = f" [dim]face {_text(row['face'])}[/]" if _text(row["face"]) else ""
        console.print(f"[bold]{_text(row['file'])}[/]{face}")
        rest = [name for name in self._columns if name not in ("file", "face") and _text(row[name])]
        console.print(Columns([f"  {name} {_text(row[name])}" for name in rest]))


def _text(value: Any) -> str:
    from rich.markup import escape

    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3g}"
    return escape(str(value))
