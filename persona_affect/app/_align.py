"""`persona-affect align`: find the faces of a data set once, for all trainings after it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from persona_affect.app._data import find_template, load_sets
from persona_affect.app._errors import ExitCode
from persona_affect.app._train import (
    Emotion,
    Every,
    Format,
    FramesPerClip,
    Option,
    Personality,
    Root,
)


def align(
    cache: Annotated[
        Path,
        typer.Option(help="Folder for the aligned faces; it may have some.", show_default=False),
    ],
    root: Root = None,
    format: Format = None,
    personality: Personality = None,
    emotion: Emotion = None,
    every: Every = None,
    frames_per_clip: FramesPerClip = None,
    option: Option = None,
    backbone: Annotated[
        str | None, typer.Option(help="{backbones}: to whose template faces are aligned.")
    ] = None,
    n_jobs: Annotated[
        int | None, typer.Option("--jobs", help="Processes on this machine; -1 for all cores.")
    ] = None,
    scheduler_file: Annotated[
        Path | None,
        typer.Option(help="Use the Dask cluster of this file; see docs/distributed.md."),
    ] = None,
    chunk_size: Annotated[int, typer.Option(help="Samples that a worker takes at a time.")] = 16,
    report: Annotated[
        Path | None,
        typer.Option(help="CSV file with a row for each sample: frames with a face, and remarks."),
    ] = None,
) -> None:
    """Find and align all faces of a data set, and store them.

    The same options and --cache let train, evaluate and another align use them:

        persona-affect align DATA --cache faces --jobs 8

        persona-affect train DATA --cache faces --output model.safetensors

    Several machines may fill one folder together. After an interruption, repeat the command: it
    does what is missing. Exit code 1 if samples could not be read.
    """
    from persona_affect import FaceAligner
    from persona_affect._files import atomic_write, check_output, check_output_folder
    from persona_affect.distributed import align_in_chunks

    check_output_folder(cache, inputs=(root, personality, emotion))
    if report is not None:
        check_output(report, inputs=(root, personality, emotion), suffixes={".csv"})
    if scheduler_file is not None and not scheduler_file.is_file():
        raise ValueError(f"--scheduler-file {scheduler_file}: there is no such file.")
    data = load_sets(
        root,
        format,
        personality,
        emotion,
        None,
        None,
        every=every,
        n_frames=frames_per_clip,
        texts=option or [],
    )
    aligner = FaceAligner(template=find_template(backbone), cache=str(cache.absolute()))
    with _connect(scheduler_file) as client:
        table = align_in_chunks(
            aligner,
            data.data,
            chunk_size=chunk_size,
            n_jobs=n_jobs,
            client=client,
            verbose=True,
        )
    if report is not None:
        with atomic_write(report) as draft:
            table.to_csv(draft, index=False)
    raise typer.Exit(_summarise(table, cache))


def _connect(scheduler_file: Path | None) -> Any:
    from contextlib import nullcontext

    from persona_affect._optional import import_optional

    if scheduler_file is None:
        return nullcontext()
    distributed = import_optional(
        "distributed", extra="distributed", purpose="Aligning on a Dask cluster"
    )
    return distributed.Client(scheduler_file=str(scheduler_file))


def _summarise(table: Any, cache: Path, shown: int = 20) -> ExitCode:
    """Print what was left out and why, and return the exit code."""
    without = table.n_frames == 0
    unread = without & (table.remark != "")
    table = table.assign(remark=table.remark.mask(without & ~unread, "no face was found."))
    remarks = table[table.remark != ""]
    for sample, remark in remarks[["sample", "remark"]].head(shown).itertuples(index=False):
        typer.echo(f"{sample}: {remark}", err=True)
    if len(remarks) > shown:
        typer.echo(f"... and {len(remarks) - shown} more; --report FILE.csv lists all.", err=True)
    typer.echo(
        f"{len(table) - without.sum()} of {len(table)} samples have faces, "
        f"{table.n_frames.sum()} frames in all; they are in {cache}."
    )
    return ExitCode.FAILED if unread.any() else ExitCode.DONE
