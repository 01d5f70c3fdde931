"""`persona-affect annotate`: predictions for every face in every frame of a clip."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from persona_affect.app._errors import error_console
from persona_affect.app._options import (
    EngineOption,
    MirrorOption,
    ModelOption,
    PrecisionOption,
    ReliabilityOption,
    StreamDetectorOption,
    find_calibration,
    load_stream_model,
)


def annotate(
    clip: Annotated[Path, typer.Argument(metavar="VIDEO", help="The clip.", show_default=False)],
    model: ModelOption = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Rows as .csv, .parquet or .jsonl, or subtitles as .vtt; may be given repeatedly.",
            show_default=False,
        ),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the clip with marked faces and its sound, to an .mp4 file.",
            show_default=False,
        ),
    ] = None,
    detect_every: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="K",
            help="Detect faces in every K-th frame; known faces are followed in between.",
        ),
    ] = 1,
    smooth: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="SECONDS",
            help="Time constant of exponential smoothing along the track of each face.",
            show_default=False,
        ),
    ] = None,
    track: Annotated[
        bool, typer.Option(help="Give each face a number that it keeps (needs the extra app).")
    ] = True,
    detector: StreamDetectorOption = "yunet",
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    mirror: MirrorOption = False,
    reliability: ReliabilityOption = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the same call after an interruption; start if there is nothing yet.",
        ),
    ] = False,
) -> None:
    """Annotate every frame of a clip with every face in it.

    One row for each face in each frame: the time, the number of the face, its place (pixels), and a
    value for each target; a frame without a face has one row. Without --output and --video, CSV
    goes to the standard output. Long clips need no more memory than short ones. The files appear
    when they are complete; until then rows are kept beside the first file, in FILE.partial, and
    --resume continues from there.

    Exit code: 0 if all went well, 1 if the clip cannot be read or a file cannot be written, 2 if
    the call was wrong, 130 if it was interrupted.

    [bold]Examples[/]

      persona-affect annotate talk.mp4 -o talk.csv --video talk-marked.mp4 --detect-every 5

      persona-affect annotate lecture.mkv -o lecture.parquet -o lecture.vtt --smooth 0.5 --resume
    """
    from persona_affect._files import check_output
    from persona_affect.annotation import CAVEAT, CsvTable, FrameAnnotator, check_table_path
    from persona_affect.exceptions import (
        InvalidImageError,
        MediaLimitError,
        MediaReadError,
        OutputError,
        OutputInUseError,
        OutputPathError,
    )
    from persona_affect.media import describe

    if resume and not output:
        raise ValueError("--resume needs --output: rows are kept beside that file.")
    # Before the model is loaded; the annotator checks the rest.
    for path in output or ():
        check_table_path(path, inputs=(clip, model), subtitles=True)
    if video is not None:
        check_output(video, inputs=(clip, model), suffixes=(".mp4",))
    pipeline = load_stream_model(
        model, detector=detector, engine=engine, precision=precision, mirror=mirror
    )
    annotator = FrameAnnotator(
        (find_calibration(model, pipeline) if reliability else None) or pipeline,
        reliability=reliability,
        detect_every=detect_every,
        track=track,
        smooth=smooth,
        verbose=int(sys.stderr.isatty()),
    )
    try:
        if output:
            annotator.to_file(clip, output, video=video, resume=resume)
        elif video is not None:
            annotator.to_video(clip, video)
        else:
            table = CsvTable(sys.stdout, annotator.kinds)
            for _, rows in annotator.annotate_frames(clip):
                table.write(rows)
    except (InvalidImageError, MediaLimitError, MediaReadError) as error:
        if str(clip) in str(error):
            raise
        raise type(error)(f"{describe(clip)}: {error}") from error
    except (KeyboardInterrupt, OutputError) as error:
        if output and not isinstance(error, OutputInUseError | OutputPathError):
            error.add_note("The same call with --resume continues.")
        raise
    error_console().print(CAVEAT, style="dim")
