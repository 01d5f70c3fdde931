"""What several commands share: the options for a model and its engine, and loading it."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from persona_affect.app._errors import error_console

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from persona_affect.estimators import ConformalAffect

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="FILE|NAME",
        help="A model that [bold]train[/] or save_model wrote; fast: the small bundled one; or "
        "OWNER/NAME: one on the Hugging Face Hub (extra hub). Default: the large bundled one.",
        show_default=False,
    ),
]

DetectorOption = Annotated[
    str | None,
    typer.Option(
        "--detector",
        metavar="NAME",
        help="Face detector: mtcnn, yunet (several times as fast), or one that --import registers. "
        "Default: that of the model.",
        show_default=False,
    ),
]

#: For clips, cameras and the page, which should keep up with what they show.
StreamDetectorOption = Annotated[
    str,
    typer.Option(
        "--detector",
        metavar="NAME",
        help="Face detector: yunet, mtcnn (several times as slow), or one that --import registers.",
    ),
]

MirrorOption = Annotated[
    bool,
    typer.Option(
        "--mirror/--no-mirror",
        help="Predict each face as the mean over itself and its mirror image, as [bold]predict[/] "
        "does: more accurate by a little, and half as fast.",
    ),
]


ReliabilityOption = Annotated[
    bool,
    typer.Option(
        help="Columns that say how reliable the numbers of a face are, from 0 to 1, and why not: "
        "blurred, few pixels, in profile, unlike the training faces."
    ),
]


class Engine(StrEnum):
    """What runs the networks; as in `persona_affect.engines`, which takes long to import."""

    AUTO = "auto"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"
    TORCH = "torch"


class Precision(StrEnum):
    """Precision of the networks of faces."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


EngineOption = Annotated[
    Engine | None,
    typer.Option(
        "--engine",
        help="What runs the networks. [bold]auto[/] takes the fastest that is installed, within a "
        "small difference. Default: torch, exactly as the model was fitted.",
        show_default=False,
    ),
]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        "--precision",
        help="Precision of the networks of faces; bfloat16 is faster on processors that have it. "
        "Default: float32.",
        show_default=False,
    ),
]


def load_photo_model(
    path: str | Path | None,
    detector: str | None = None,
    *,
    engine: str | None = None,
    precision: str | None = None,
    mirror: bool = True,
) -> "Pipeline":
    """Load a model that takes photos and clips; without a path, the bundled one.

    Parameters
    ----------
    path : str, Path or None
        As of :func:`persona_affect.load_model`.
    detector : str or None
        The face detector to use; None stands for that of the model.
    engine, precision : str, optional
        As for :func:`persona_affect.engines.compile`; a line on standard error says what runs the
        model. By default torch and float32.
    mirror : bool, default=True
        False leaves out mirror images.

    Raises
    ------
    ModelFormatError
        If the file is not a model, or the model takes aligned faces or numbers.
    ValueError
        If the detector is not registered.
    MissingDependencyError, EngineError
        If the engine is not installed, or has not the precision.
    """
    from persona_affect import load_model
    from persona_affect.annotation import check_photo_model
    from persona_affect.exceptions import ModelFormatError
    from persona_affect.faces import get_detector_spec

    if detector is not None:
        get_detector_spec(detector)
    model = load_model(path)
    try:
        pipeline = check_photo_model(model)
    except ValueError as error:
        raise ModelFormatError(f"{path}: {error}") from error
    if detector is not None:
        pipeline[0].set_params(detector=detector)
    if engine is None and precision is None and mirror:
        return pipeline
    from persona_affect.engines import compile, get_report

    compiled = compile(pipeline, engine or "torch", precision or "float32", mirror=mirror)
    error_console().print(f"Networks run by {get_report(compiled)}", style="dim", markup=False)
    return compiled


def load_stream_model(
    path: str | Path | None = None,
    *,
    detector: str = "yunet",
    engine: str | None = None,
    precision: str | None = None,
    mirror: bool = False,
) -> "Pipeline":
    """Load a model for clips, cameras and the page: it should be as fast as what they show.

    A line on standard error says what differs from the model as `predict` uses it.

    Parameters
    ----------
    path, detector, engine, precision, mirror
        As for `load_photo_model`.
    """
    model = load_photo_model(path, detector, engine=engine, precision=precision, mirror=mirror)
    error_console().print(f"Faces are found by {detector}.", style="dim", markup=False)
    return model


def find_calibration(path: str | Path | None, pipeline: "Pipeline") -> "ConformalAffect | None":
    """Load the calibration of a model's file, around the pipeline that was loaded from it.

    Parameters
    ----------
    path : str, Path or None
    pipeline : Pipeline
        From `load_photo_model`: perhaps with another detector or engine.

    Returns
    -------
    ConformalAffect or None
        None if the file has no calibration.
    """
    from persona_affect import load_model
    from persona_affect.persistence import read_model_info

    if "intervals" not in read_model_info(path):
        return None
    return load_model(path, intervals=True).around(pipeline)
