"""`persona-affect audit`: for whom a model fails, as one web page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from persona_affect.app._data import load_sets
from persona_affect.app._errors import error_console
from persona_affect.app._options import load_photo_model
from persona_affect.app._train import (
    Cache,
    Emotion,
    EmotionFormat,
    Every,
    FlipNeuroticism,
    Format,
    FramesPerClip,
    Jobs,
    Option,
    Personality,
    PersonalityFormat,
    Resamples,
    Root,
    Seed,
)

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.utils import Bunch


def audit(
    model: Annotated[
        str,
        typer.Argument(
            help="A model file that `train` wrote; bundled; or OWNER/NAME: one on the Hugging Face "
            "Hub (extra hub).",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The web page, .html.", show_default=False
        ),
    ],
    root: Root = None,
    sensitive: Annotated[
        list[str] | None,
        typer.Option(
            "--sensitive",
            metavar="NAME",
            help="A column that says which group a person belongs to; may be given repeatedly. "
            "Columns of numbers are cut into thirds.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="A CSV file with these columns, and a column group: the person of each row, as in "
            "the data set. Without it, they are columns of the data set.",
            show_default=False,
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="Also write the table of all groups to a CSV file.", show_default=False),
    ] = None,
    min_group: Annotated[
        int, typer.Option(min=2, help="Smaller groups are counted, and not judged.")
    ] = 20,
    disturbed: Annotated[
        int, typer.Option(min=0, help="Disturb this many photos; 0 leaves this out.")
    ] = 100,
    format: Format = None,
    personality: Personality = None,
    emotion: Emotion = None,
    personality_format: PersonalityFormat = None,
    emotion_format: EmotionFormat = None,
    every: Every = None,
    frames_per_clip: FramesPerClip = None,
    flip_neuroticism: FlipNeuroticism = False,
    option: Option = None,
    split: Annotated[
        str | None,
        typer.Option(help="Audit only on one official part: train, val or test."),
    ] = None,
    cache: Cache = None,
    n_jobs: Jobs = None,
    seed: Seed = 0,
    resamples: Resamples = 200,
) -> None:
    """Compare a model's errors between groups of persons, and disturb photos a little.

    Writes one web page: error, bias, CCC and r by group and by intersection of all groups, with
    bootstrap intervals, and how much predictions move when a photo is mirrored, darker, blurred,
    cropped or otherwise changed. Use persons that the model was not trained on.

    Exit code: 0 if the page was written, 1 if a photo or the page failed, 2 if the call was wrong.

    [bold]Example[/]

      persona-affect audit model.safetensors DATA --split test --sensitive gender -o audit.html
    """
    from persona_affect._files import (
        atomic_write,
        check_different,
        check_output,
        check_output_folder,
    )
    from persona_affect._optional import import_optional
    from persona_affect.inspection import audit as run_audit

    inputs = (None if model == "bundled" else model, root, personality, emotion, table)
    check_output(output, inputs=inputs, suffixes=(".html", ".htm"))
    if csv is not None:
        check_output(csv, inputs=inputs, suffixes=(".csv",))
        check_different([output, csv])
    if cache is not None:
        check_output_folder(cache)
    import_optional("fairlearn.metrics", extra="inspect", purpose="persona-affect audit")
    pipeline = load_photo_model(None if model == "bundled" else model)
    pipeline[0].set_params(
        cache=None if cache is None else str(cache), n_jobs=n_jobs, on_error="warn", verbose=True
    )
    data = load_sets(
        root,
        format,
        personality,
        emotion,
        personality_format,
        emotion_format,
        every=every,
        n_frames=frames_per_clip,
        flip_neuroticism=flip_neuroticism,
        texts=option or [],
    )
    names = pipeline[-1].target_names_
    shared = [name for name in data.target if name in names]
    if not shared:
        raise ValueError(f"The model predicts {names}; the data have {data.target_names}.")
    features = _read_features(data, sensitive or [], table)
    rows = data.target[shared].notna().any(axis=1).to_numpy()
    if split is not None:
        rows = rows & (data.split == split)
    if not rows.any():
        raise ValueError(f"No sample of {data.name} is of the part {split!r}.")
    found = run_audit(
        pipeline,
        data.data[rows],
        data.target.loc[rows, shared],
        sensitive=None if features is None else features[rows],
        min_group_size=min_group,
        disturbances=None if disturbed else [],
        max_disturbed=max(disturbed, 1),
        n_resamples=resamples,
        random_state=seed,
    )
    name = "the bundled model" if model == "bundled" else Path(model).name
    found.save_html(output, title=f"Audit of {name} on {data.name}")
    if csv is not None:
        whole = found.overall.rename_axis("target").reset_index()
        with atomic_write(csv) as draft:
            _join(whole, found.groups).to_csv(draft, index=False)
    error_console().print(f"{output}: {int(rows.sum())} samples.", markup=False)


def _read_features(data: "Bunch", names: list[str], table: Path | None) -> "pd.DataFrame | None":
    """Find the columns of groups, a row for each sample."""
    import pandas as pd

    if not names:
        if table is not None:
            raise ValueError("--table belongs to --sensitive, which names its columns.")
        return None
    columns = data.target
    if table is not None:
        from persona_affect.datasets import read_table

        columns = read_table(table)
        if "group" not in columns:
            raise ValueError(f"{table} has no column 'group'; it has {list(columns)}.")
        repeated = columns["group"][columns["group"].duplicated()]
        if len(repeated):
            raise ValueError(f"{table} has two rows of the group {repeated.iloc[0]!r}.")
        columns = columns.set_index("group", drop=False)
        # Groups of joined sets have the name of the set before them.
        persons = [str(group).partition(":")[2] for group in data.groups]
        if not columns.index.isin(persons).any():
            raise ValueError(
                f"{table} has no row of this data set: its groups are {persons[0]!r}, ..."
            )
        columns = columns.reindex(persons)
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise ValueError(f"--sensitive {unknown[0]}: there is no such column in {list(columns)}.")
    chosen = columns[names].reset_index(drop=True)
    # Cells of a CSV file are texts, also those that are numbers.
    chosen = chosen.where(chosen.notna() & (chosen != ""))
    numbers = chosen.apply(pd.to_numeric, errors="coerce")
    for name in names:
        if numbers[name].notna().equals(chosen[name].notna()):
            chosen[name] = numbers[name]
    return chosen


def _join(whole: "pd.DataFrame", groups: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    whole = whole.assign(feature="all", group="all")
    return pd.concat([whole, groups]) if len(groups) else whole
