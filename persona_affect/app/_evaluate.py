"""`persona-affect evaluate`: scores of a model on a data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_affect.app._data import load_sets
from persona_affect.app._options import (
    DetectorOption,
    EngineOption,
    PrecisionOption,
    load_photo_model,
)
from persona_affect.app._train import (
    Cache,
    Calibrate,
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
    Protocol,
    Resamples,
    Root,
    Seed,
)

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="A model file that `train` wrote, or a folder of such files; bundled; or "
            "OWNER/NAME: one on the Hugging Face Hub (extra hub).",
            show_default=False,
        ),
    ],
    root: Root = None,
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
        typer.Option(help="Score only on one official part: train, val or test."),
    ] = None,
    cache: Cache = None,
    n_jobs: Jobs = None,
    detector: DetectorOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="With --protocol, a folder for results; otherwise a CSV file for the table."
        ),
    ] = None,
    seed: Seed = 0,
    protocol: Protocol = None,
    calibrate: Calibrate = False,
    resamples: Resamples = 1000,
    engine: EngineOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Score a model: accuracy (1 - MAE), CCC, Pearson's r and RMSE, compared with a constant.

    On one set:

        persona-affect evaluate model.safetensors DATA --split test

    As in the paper, on the test parts of two:

        persona-affect evaluate results --protocol persemon --personality FI --emotion VA

    Confidence intervals come from a bootstrap over groups: videos, clips, persons. A sample without
    a face counts as predicted by the training mean.
    """
    if protocol not in (None, "persemon"):
        raise ValueError(f"--protocol {protocol} is unknown; there is persemon.")
    if protocol is None and calibrate:
        raise ValueError("--calibrate belongs to --protocol persemon.")
    if protocol and split:
        raise ValueError("--protocol scores on the test parts; leave out --split.")
    from persona_affect._files import check_output, check_output_folder

    files = _find_models(model)
    inputs = (*files.values(), root, personality, emotion)
    if output is not None and protocol:
        check_output_folder(output, inputs=inputs)
    elif output is not None:
        check_output(output, inputs=inputs, suffixes=(".csv",))
    if cache is not None:
        check_output_folder(cache)
    models = _load(files, cache, n_jobs, detector, engine, precision)
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
    if protocol:
        _evaluate_protocol(models, data, output, calibrate, resamples, seed)
    else:
        _evaluate(models, data, split, output, resamples, seed)


def _find_models(place: str) -> dict[str, str | Path | None]:
    """Find models by name; None stands for the bundled one."""
    if place == "bundled":
        return {"bundled": None}
    if not Path(place).is_dir():
        return {Path(place).stem: place}
    files = sorted(Path(place).glob("*.safetensors"))
    if not files:
        raise ValueError(f"{place} contains no model: no file *.safetensors.")
    return {file.stem: file for file in files}


def _load(
    files: Mapping[str, str | Path | None],
    cache: Path | None,
    n_jobs: int | None,
    detector: str | None,
    engine: str | None,
    precision: str | None,
) -> dict[str, "Pipeline"]:
    models = {
        name: load_photo_model(file, detector, engine=engine, precision=precision)
        for name, file in files.items()
    }
    for name, model in models.items():
        if not hasattr(model[-1], "target_means_"):
            raise ValueError(f"{name} does not end in a JointAffectEstimator.")
        model[0].set_params(
            cache=None if cache is None else str(cache),
            n_jobs=n_jobs,
            on_error="warn",
            verbose=True,
        )
    return models


def _evaluate(
    models: dict[str, Any],
    data: Any,
    split: str | None,
    output: Path | None,
    resamples: int,
    seed: int,
) -> None:
    import numpy as np
    import pandas as pd

    from persona_affect._files import atomic_write
    from persona_affect.protocols import evaluate_predictions

    if len(models) > 1:
        raise ValueError(f"Name one model of {sorted(models)}.")
    (model,) = models.values()
    names = model[-1].target_names_
    kinds = {
        kind: [name for name in data[kind] if name in names] for kind in ("personality", "emotion")
    }
    shared = [*kinds["personality"], *kinds["emotion"]]
    if not shared:
        raise ValueError(f"The model predicts {names}; the data have {data.target_names}.")
    rows = data.target[shared].notna().any(axis=1).to_numpy()
    if split is not None:
        rows = rows & (data.split == split)
    if not rows.any():
        raise ValueError(f"No sample of {data.name} is of the part {split!r}.")
    values = np.reshape(model.predict(data.data[rows]), (rows.sum(), -1))
    table = evaluate_predictions(
        data.target.loc[rows, shared].reset_index(drop=True),
        pd.DataFrame(values, columns=names)[shared],
        groups=data.groups[rows],
        baseline=pd.Series(model[-1].target_means_, names)[shared],
        personality=kinds["personality"],
        emotion=kinds["emotion"],
        n_resamples=resamples,
        random_state=seed,
    )
    typer.echo(f"{data.name}: {rows.sum()} samples of {len(set(data.groups[rows]))} groups\n")
    typer.echo(table.round(4).T.to_string())
    if output is not None:
        with atomic_write(output) as draft:
            table.to_csv(draft, index_label="target")


def _evaluate_protocol(
    models: dict[str, Any],
    data: Any,
    output: Path | None,
    calibrate: bool,
    resamples: int,
    seed: int,
) -> None:
    from persona_affect.protocols import evaluate_persemon, to_markdown, write_results

    result = evaluate_persemon(
        models, data, calibrate=calibrate, n_resamples=resamples, random_state=seed
    )
    if output is not None:
        write_results(result, output)
    typer.echo(to_markdown(result))
