"""`persona-affect dynamics`: train the network of facial dynamics, and describe persons by it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_affect.app._errors import ExitCode, error_console
from persona_affect.app._inputs import find_inputs
from persona_affect.app._train import say

if TYPE_CHECKING:
    from persona_affect import FaceAligner, PersonDynamicsEncoder

dynamics = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="How persons move: train the generic network, describe persons by it.",
)

#: Rows of a table that are in memory at once.
_ROWS = 32

Clips = Annotated[
    list[str],
    typer.Argument(
        metavar="CLIPS",
        help="Videos, folders (searched through), or quoted patterns like 'day1/*.mp4'.",
        show_default=False,
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(help="Folder for aligned faces: they are found once, then read from disk."),
]
Persons = Annotated[
    Path | None,
    typer.Option(
        metavar="CSV",
        help="Table with the columns file and person; files are named as on the command line, or "
        "relative to the table. Other clips are left out.",
        show_default=False,
    ),
]
ByFolder = Annotated[
    bool, typer.Option("--by-folder", help="Clips in one folder are of one person, its name.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto.")]


@dynamics.command("fit")
def fit(
    clips: Clips,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Model to write.", show_default=False),
    ],
    rate: Annotated[float, typer.Option(min=1, help="Frames a second at which faces move.")] = 25,
    scale: Annotated[
        list[float] | None,
        typer.Option(
            help="A time scale in seconds, from the middle of a window to its ends; may be given "
            "repeatedly. Default: 0.04, 0.08, 0.16 and 0.32.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the clips, at most.")] = 60,
    cache: Cache = None,
    n_jobs: Annotated[int | None, typer.Option(help="Processes that align faces.")] = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the training.")] = 0,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Start again: discard an unfinished training of this output, replace a finished "
            "one.",
        ),
    ] = False,
) -> None:
    """Train the generic network on unlabelled clips, and write it with the aligner to a file.

    After an interruption, repeat the command: it goes on from the last epoch, and ends in the same
    model. With several GPUs, start it by torchrun or accelerate launch.

    Exit code: 0 if all went well, 1 if some clips could not be used (they are named, and left out),
    2 if the call was wrong.

    [bold]Example[/]

      persona-affect dynamics fit clips/ --output net.safetensors
    """
    import warnings

    from sklearn.pipeline import make_pipeline

    from persona_affect import FaceAligner, PersonDynamicsEncoder
    from persona_affect._arrays import object_array
    from persona_affect._files import check_output, check_output_folder
    from persona_affect.distributed import join_processes
    from persona_affect.exceptions import MediaWarning, NoFaceWarning
    from persona_affect.persistence import TrainingRun, align_together, identify_training

    found = find_inputs(clips)
    check_output(output, inputs=(*clips, *found.paths), suffixes=(".safetensors",))
    if cache is not None:
        check_output_folder(cache)
    is_first = join_processes() == 0
    frames = [max(1, round(seconds * rate)) for seconds in scale or (0.04, 0.08, 0.16, 0.32)]
    scales = sorted(set(frames))
    shown = is_first and sys.stderr.isatty()
    encoder = PersonDynamicsEncoder(
        scales=scales, max_epochs=epochs, device=device, random_state=seed, verbose=int(shown)
    )
    aligner = FaceAligner(
        rate=rate, on_error="warn", n_jobs=n_jobs, device=device, cache=cache, verbose=shown
    )
    samples = object_array(found.paths)
    with (
        TrainingRun(output, identify_training(encoder, aligner, samples), fresh) as run,
        warnings.catch_warnings(record=True) as caught,
    ):
        if run.finished() is not None:
            say(f"{output} is finished: these clips, these options. --fresh trains it again.")
            return
        warnings.simplefilter("always")
        # Read from the disk when they are used, in place of all in memory.
        aligner.set_params(cache=run.faces if cache is None else cache)
        faces = align_together(aligner.fit(), samples, run.faces)
        used = [clip for clip in faces if _longest_piece(clip) > 2 * max(scales)]
        encoder.set_params(early_stopping=len(used) > 1, checkpoint=run.checkpoint).fit(used)
        # Aligned faces of this call are gone; who describes with it may have no terminal for bars.
        aligner.set_params(cache=None, verbose=False)
        run.save(make_pipeline(aligner, encoder.set_params(checkpoint=None, verbose=0)), {})
    for note in caught:
        if is_first and issubclass(note.category, (MediaWarning, NoFaceWarning)):
            error_console().print(str(note.message), markup=False)
    seconds = ", ".join(f"{k / rate:g}" for k in scales)
    say(f"{output}: scales of {seconds} s, from {len(used)} of {len(faces)} clips.")
    if len(used) < len(faces):
        if is_first:
            error_console().print(
                f"{len(faces) - len(used)} clips have no face for as long as the largest scale "
                "needs."
            )
        raise typer.Exit(ExitCode.FAILED)


@dynamics.command("describe")
def describe(
    clips: Clips,
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
    persons: Persons = None,
    by_folder: ByFolder = False,
    cache: Cache = None,
    device: Device = "auto",
) -> None:
    """Describe how persons move: a row a person, the weights of the filters as named columns.

    By default each clip is a person of its own. Persons are described one after the other, so that
    many need no more memory than one; what is done is kept beside the table, in FILE.partial, and
    the same call continues from there after an interruption.

    Descriptors are of use for comparing persons in how they move, and as input of a regression.
    They are no proof of identity. The model "dynamics" comes with the package.

    Exit code: 0 if every person was described, 1 if some were not (the error column says why), 2 if
    the call was wrong.

    [bold]Example[/]

      persona-affect dynamics describe people/ --by-folder --output descriptors.parquet
    """
    from persona_affect.annotation import check_table_path

    if persons is not None and by_folder:
        raise ValueError("--persons and --by-folder are two ways to say the same: give one.")
    found = find_inputs(clips)
    check_table_path(output, inputs=(*clips, *found.paths, model, persons))
    groups = _group(found.paths, persons, by_folder)
    aligner, encoder = load_dynamics(model, cache, device)
    from persona_affect.app._dynamics_rows import describe_persons

    n_failed = describe_persons(aligner, encoder, groups, output, _ROWS)
    typer.echo(f"{output}: {len(groups)} persons, {len(encoder.get_feature_names_out())} features.")
    if n_failed:
        error_console().print(f"{n_failed} of {len(groups)} persons have an error; see the table.")
        raise typer.Exit(ExitCode.FAILED)


def _longest_piece(clip: Any) -> int:
    from persona_affect.faces import split_pieces

    return max(map(len, split_pieces(clip)))


def _group(paths: list[str], table: Path | None, by_folder: bool) -> dict[str, list[str]]:
    """Return the clips of each person, in the order in which persons appear."""
    groups: dict[str, list[str]] = {}
    owners = {} if table is None else _read_owners(table)
    for path in paths:
        if table is not None:
            owner = owners.get(str(Path(path).resolve()))
            if owner is None:
                continue
        else:
            owner = Path(path).resolve().parent.name if by_folder else path
        groups.setdefault(owner, []).append(path)
    if not groups:
        raise ValueError(f"{table} names none of the {len(paths)} clips: check its column file.")
    return groups


def _read_owners(table: Path) -> dict[str, str]:
    import pandas as pd

    try:
        rows = pd.read_csv(table, dtype=str)
    except (OSError, ValueError) as error:
        raise ValueError(f"{table} is no table of clips: {error}.") from error
    missing = [name for name in ("file", "person") if name not in rows.columns]
    if missing or rows[["file", "person"]].isna().any(axis=None):
        raise ValueError(f"{table} needs the columns file and person, filled in each row.")
    places = {}
    for file, person in zip(rows["file"], rows["person"], strict=True):
        for path in (Path(file), table.parent / file):
            places[str(path.resolve())] = person
    return places


def load_dynamics(
    model: str, cache: Path | None, device: str
) -> "tuple[FaceAligner, PersonDynamicsEncoder]":
    """Load a model of dynamics: the aligner that its faces come from, and the encoder."""
    from sklearn.pipeline import Pipeline

    from persona_affect import FaceAligner, PersonDynamicsEncoder, load_model
    from persona_affect._files import check_output_folder
    from persona_affect.exceptions import ModelFormatError

    loaded = load_model(model)
    # The bundled one has learnt from 25 frames a second.
    parts = list(loaded) if isinstance(loaded, Pipeline) else [FaceAligner(rate=25), loaded]
    if [type(part) for part in parts] != [FaceAligner, PersonDynamicsEncoder]:
        raise ModelFormatError(f"{model} is no model of dynamics: make one with `dynamics fit`.")
    if cache is not None:
        check_output_folder(cache)
    aligner = parts[0].set_params(cache=cache, device=device)
    return aligner, parts[1].set_params(device=device)
