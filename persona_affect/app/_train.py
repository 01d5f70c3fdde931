"""`persona-affect train`: train a model on data sets, or run the experiment of the paper."""

from pathlib import Path
from typing import Annotated, Any

import typer

from persona_affect.app._data import find_template, load_sets
from persona_affect.app._train_heads import train_from

_SETS = "Data sets"
_TRAINING = "Training"
_PROTOCOL = "Protocol"

Root = Annotated[
    Path | None,
    typer.Argument(
        metavar="DATASET_ROOT", help="Folder of one data set, or a CSV file.", show_default=False
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        help="{formats}; recognised from the files if left out.",
        rich_help_panel=_SETS,
    ),
]
Personality = Annotated[
    Path | None,
    typer.Option(help="Set rated on personality, to train with --emotion.", rich_help_panel=_SETS),
]
Emotion = Annotated[
    Path | None,
    typer.Option(help="Set rated on arousal and valence.", rich_help_panel=_SETS),
]
PersonalityFormat = Annotated[str | None, typer.Option(help="Its format.", rich_help_panel=_SETS)]
EmotionFormat = Annotated[str | None, typer.Option(help="Its format.", rich_help_panel=_SETS)]
Every = Annotated[
    int | None,
    typer.Option(
        help="For sets of frames, such as AFEW-VA and Aff-Wild: use every n-th frame.",
        rich_help_panel=_SETS,
    ),
]
FramesPerClip = Annotated[
    int | None,
    typer.Option(
        help="For sets of frames: use at most this many frames of a clip.", rich_help_panel=_SETS
    ),
]
FlipNeuroticism = Annotated[
    bool,
    typer.Option(
        help="First Impressions' neuroticism is high for clips that look stable; reverse it.",
        rich_help_panel=_SETS,
    ),
]
Option = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="An option of the data set's format, see below; may be given repeatedly.",
        rich_help_panel=_SETS,
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        help="Folder for aligned faces: they are found once, then read from disk.",
        rich_help_panel=_SETS,
    ),
]
Jobs = Annotated[
    int | None, typer.Option(help="Processes that align faces.", rich_help_panel=_SETS)
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh",
        help="Start again: discard an unfinished training of this output, replace a finished one.",
        rich_help_panel=_TRAINING,
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto.", rich_help_panel=_TRAINING)]
Seed = Annotated[
    int, typer.Option(help="Seed of training and bootstrap.", rich_help_panel=_TRAINING)
]
Start = Annotated[
    str | None,
    typer.Option(
        metavar="bundled|FILE|NAME",
        help="Keep the networks of this model (of a file, or OWNER/NAME on the Hugging Face Hub), "
        "and train new heads on your ratings, whatever their names and scale: minutes on a laptop. "
        "Cross-validated r is printed at the end.",
        rich_help_panel=_TRAINING,
    ),
]
Protocol = Annotated[
    str | None,
    typer.Option(
        help="persemon: the paper's experiment. Trains on the training parts, scores on the test "
        "parts, and writes results.json, results.md and predictions.csv.",
        rich_help_panel=_PROTOCOL,
    ),
]
Calibrate = Annotated[
    bool,
    typer.Option(
        "--calibrate",
        help="Fit a line for each target on the validation part, and score the calibrated "
        "predictions.",
        rich_help_panel=_PROTOCOL,
    ),
]
Resamples = Annotated[int, typer.Option(help="Draws of the bootstrap.", rich_help_panel=_PROTOCOL)]


def train(
    output: Annotated[
        Path,
        typer.Option(
            help="Model file to write; with --protocol, a folder for models and results.",
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
    cache: Cache = None,
    n_jobs: Jobs = None,
    detector: Annotated[
        str,
        typer.Option(metavar="NAME", help="Face detector: {detectors}.", rich_help_panel=_SETS),
    ] = "mtcnn",
    backbone: Annotated[
        str | None,
        typer.Option(help="{backbones}.", rich_help_panel=_TRAINING),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Pretrained weights to start from: a file, or pretrained (resnet29).",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the larger set.", rich_help_panel=_TRAINING)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Samples in a batch.", rich_help_panel=_TRAINING)
    ] = None,
    segments: Annotated[
        int | None,
        typer.Option(help="Frames drawn from a clip.", rich_help_panel=_TRAINING),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Processes that read stored faces while the network computes, for a GPU that "
            "waits.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    device: Device = "auto",
    seed: Seed = 0,
    fresh: Fresh = False,
    start: Start = None,
    protocol: Protocol = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Published settings to train with: authors, demo or deeppersonality.",
            rich_help_panel=_PROTOCOL,
        ),
    ] = None,
    ablation: Annotated[
        str,
        typer.Option(
            help="none, no-coherence, no-ram, single-task or no-pretraining; all runs them one "
            "after another, each in a folder of its own.",
            rich_help_panel=_PROTOCOL,
        ),
    ] = "none",
    calibrate: Calibrate = False,
    resamples: Resamples = 1000,
) -> None:
    """Train a model on a data set, or run the experiment of the paper on two.

    One data set, or a file of your own:

        persona-affect train DATA --format csv --output model.safetensors

    New heads on the bundled model's networks, for ratings of your own:

        persona-affect train ratings.csv --start bundled --output mine.safetensors

    A personality and an emotion set together:

        persona-affect train --personality FI --emotion VA --output model.safetensors

    The experiment, with its table:

        persona-affect train --protocol persemon --personality FI --emotion VA --output results

    Official training parts are used if there are any. Nothing is downloaded, and the data are not
    changed. After an interruption, repeat the command: it goes on from the last epoch, and ends in
    the same model. With several GPUs, start it by torchrun or accelerate launch.
    """
    given = {
        "backbone": backbone,
        "weights": weights,
        "max_epochs": epochs,
        "batch_size": batch_size,
        "n_segments": segments,
        "n_workers": workers,
    }
    params: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    foreign = params or protocol or preset or fresh or device != "auto" or detector != "mtcnn"
    if start is not None and foreign:
        raise ValueError(
            "--start keeps a model as it is, except for its heads: --backbone, --weights, "
            "--epochs, --batch-size, --segments, --workers, --detector, --device, --fresh, "
            "--preset and --protocol do not go with it."
        )
    params |= {"device": device, "verbose": 1}
    if protocol not in (None, "persemon"):
        raise ValueError(f"--protocol {protocol} is unknown; there is persemon.")
    if protocol is None and (calibrate or ablation != "none"):
        raise ValueError("--ablation and --calibrate belong to --protocol persemon.")
    from persona_affect import FaceAligner
    from persona_affect._files import check_output, check_output_folder
    from persona_affect.distributed import join_processes
    from persona_affect.faces import get_detector_spec

    template = find_template(backbone)
    get_detector_spec(detector)
    check = check_output_folder if protocol else check_output
    check(output, inputs=(root, personality, emotion, weights, start))
    if cache is not None:
        check_output_folder(cache)
    rank = join_processes()
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
    if start is not None:
        train_from(start, data, output, cache, n_jobs, seed)
        return
    aligner = FaceAligner(
        template=template,
        detector=detector,
        on_error="warn",
        cache=None if cache is None else str(cache),
        n_jobs=n_jobs,
        device="cpu" if device == "auto" else device,
        verbose=rank == 0,
    )
    if protocol:
        _run_protocol(
            data,
            aligner,
            params,
            output,
            preset or "authors",
            ablation,
            calibrate,
            resamples,
            seed,
            fresh,
        )
    else:
        _train(data, aligner, params, output, preset, seed, fresh)


def say(text: str) -> None:
    """Print a line, once where several processes train together."""
    from persona_affect._ranks import rank

    if rank() == 0:
        typer.echo(text)


def _train(
    data: Any,
    aligner: Any,
    params: dict[str, Any],
    output: Path,
    preset: Any,
    seed: int,
    fresh: bool,
) -> None:
    import numpy as np
    from sklearn.pipeline import make_pipeline

    from persona_affect import JointAffectEstimator, persemon_params
    from persona_affect.persistence import TrainingRun, align_together, identify_training

    settings = {**(persemon_params(preset) if preset else {}), **params, "random_state": seed}
    model = JointAffectEstimator(**settings, personality=data.personality, emotion=data.emotion)
    rows = np.isin(data.split, ["train", ""])
    say(f"{data.name}: {rows.sum()} of {len(rows)} samples are for training.")
    samples, target = data.data[rows], data.target[rows]
    identity = identify_training(model, aligner, samples, target)
    with TrainingRun(output, identity, fresh) as run:
        if run.finished() is not None:
            say(f"{output} is finished: these data, these options. --fresh trains it again.")
            return
        clips = align_together(aligner.fit(), samples, run.faces)
        model.set_params(checkpoint=run.checkpoint).fit(clips, target, groups=data.groups[rows])
        notes = {"labels": data.name, "samples": str(rows.sum())}
        run.save(make_pipeline(aligner, model.set_params(checkpoint=None)), notes)
    say(f"The model is in {output}; score it with `persona-affect evaluate`.")


def _run_protocol(
    data: Any,
    aligner: Any,
    params: dict[str, Any],
    output: Path,
    preset: str,
    ablation: str,
    calibrate: bool,
    resamples: int,
    seed: int,
    fresh: bool,
) -> None:
    from persona_affect._ranks import rank
    from persona_affect.protocols import ABLATIONS, run_persemon, to_markdown, write_results

    if ablation == "all":
        for name in ABLATIONS:
            if name == "no-pretraining" and params.get("weights") is None:
                continue  # it would be the same run
            say(f"Ablation {name}:")
            _run_protocol(
                data,
                aligner,
                params,
                output / name,
                preset,
                name,
                calibrate,
                resamples,
                seed,
                fresh,
            )
        return
    result = run_persemon(
        data,
        preset=preset,
        ablation=ablation,
        params=params,
        aligner=aligner,
        calibrate=calibrate,
        n_resamples=resamples,
        random_state=seed,
        folder=output,
        fresh=fresh,
    )
    if rank() == 0:
        write_results(result, output)
    say(to_markdown(result))
    say(f"Models, results and predictions are in {output}.")
