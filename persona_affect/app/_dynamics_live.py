"""`persona-affect dynamics live`: describe how a person moves, from a camera."""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_affect.app._dynamics import Device, load_dynamics
from persona_affect.app._errors import ExitCode, error_console

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from persona_affect.estimators import DynamicsSession
    from persona_affect.faces import FaceStream

    Picture = NDArray[np.uint8]


def live(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Table to write: .parquet, .csv or .jsonl.",
            show_default=False,
        ),
    ],
    camera: Annotated[int, typer.Option(min=0, help="Number of the camera, from 0.")] = 0,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="FILE|NAME",
            help="A model that [bold]dynamics fit[/] wrote, or OWNER/NAME: one on the Hugging Face "
            "Hub (extra hub).",
        ),
    ] = "dynamics",
    person: Annotated[str, typer.Option(help="Name in the table.")] = "camera",
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Stop after this time.", show_default="Ctrl+C")
    ] = None,
    device: Device = "auto",
) -> None:
    """Describe how the person before a camera moves, until Ctrl+C: a table with one row.

    The table has the columns of [bold]dynamics describe[/]. Frames are dropped, not delayed, where
    the computer is slower than the camera; faces are taken at the model's frame rate, and nothing
    is learnt across a gap. No picture is kept, and the memory does not grow.

    Exit code: 0 if the person was described, 1 if the face was never seen for long enough or the
    camera failed, 2 if the call was wrong.

    [bold]Example[/]

      persona-affect dynamics live --seconds 60 --output ann.parquet
    """
    from persona_affect.annotation import check_table_path
    from persona_affect.app._dynamics_rows import write_person
    from persona_affect.faces import FaceStream

    check_table_path(output, inputs=(model,))
    aligner, encoder = load_dynamics(model, None, device)
    stream, session = FaceStream(aligner), encoder.session()
    error_console().print("Describing. No picture is kept. Press Ctrl+C to end.", style="dim")
    n_faces = describe_stream(read_camera(camera, seconds), stream, session, _Progress())
    if not session.n_windows:
        error_console().print(f"No face was seen for more than {2 * encoder.net_.margin} frames.")
        raise typer.Exit(ExitCode.FAILED)
    write_person(encoder, person, n_faces, session.describe(), output)
    typer.echo(
        f"{output}: {n_faces} faces from {stream.n_frames} frames, {stream.n_gaps} gaps, "
        f"{session.n_windows} windows."
    )


def read_camera(camera: int, seconds: float | None) -> "Iterator[tuple[float, Picture]]":
    """Yield the newest frame of a camera again and again, with its time in seconds from the first.

    Ctrl+C ends it, as `seconds` do.
    """
    from persona_affect.annotation import open_camera
    from persona_affect.app._live import NewestFrame

    newest = NewestFrame()
    newest.read(open_camera(camera))
    start = None
    try:
        while (taken := newest.take()) is not None:
            came, image = taken
            start = came if start is None else start
            if seconds is not None and came - start > seconds:
                return
            yield came - start, image
    finally:
        newest.stop()


def describe_stream(
    frames: "Iterable[tuple[float, Picture]]",
    stream: "FaceStream",
    session: "DynamicsSession",
    report: "Callable[[float, FaceStream], object]" = lambda at, stream: None,
) -> int:
    """Add the faces of a stream to a session, until it ends or Ctrl+C is pressed.

    Pieces are measured in a thread, so that no frames are lost meanwhile.

    Parameters
    ----------
    frames : iterable of (float, ndarray of uint8)
        Times in seconds, and RGB pictures.
    stream : FaceStream
    session : DynamicsSession
    report : callable, optional
        Gets the time and the stream after each frame.

    Returns
    -------
    int
        Faces added.
    """
    n_faces = 0
    works: list[Future[Any]] = []
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            for at, image in frames:
                faces, follows = stream.add(image, at)
                if not follows:
                    works.append(pool.submit(session.end_piece))
                if len(faces):
                    works.append(pool.submit(session.add, faces))
                    n_faces += len(faces)
                while works and works[0].done():
                    works.pop(0).result()
                report(at, stream)
        except KeyboardInterrupt:
            pass
        for work in works:
            work.result()
        session.end_piece()
    return n_faces


class _Progress:
    """Shows the progress about once a second."""

    def __init__(self) -> None:
        self._next = 1.0

    def __call__(self, at: float, stream: "FaceStream") -> None:
        if at >= self._next and sys.stderr.isatty():
            self._next = at + 1
            rate = stream.n_frames / at
            error_console().print(f"{at:.0f} s, {rate:.1f} frames a second, {stream.n_gaps} gaps")
