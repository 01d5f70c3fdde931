"""What several commands share: the option for a model, and loading it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        "-m",
        metavar="FILE",
        help="A model that [bold]train[/] or save_model wrote. Default: the bundled one.",
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


def load_photo_model(path: Path | None, detector: str | None = None) -> "Pipeline":
    """Load a model that takes photos and clips; without a path, the bundled one.

    Parameters
    ----------
    path : Path or None
    detector : str or None
        The face detector to use; None stands for that of the model.

    Raises
    ------
    ModelFormatError
        If the file is not a model, or the model takes aligned faces or numbers.
    ValueError
        If the detector is not registered.
    """
    from persona_affect import load_model
    from persona_affect.annotation import check_photo_model
    from persona_affect.exceptions import ModelFormatError
    from persona_affect.faces import get_detector_spec

    if detector is not None:
        get_detector_spec(detector)
    model = load_model(path)
    try:
        check_photo_model(model)
    except ValueError as error:
        raise ModelFormatError(f"{path}: {error}") from error
    if detector is not None:
        model[0].set_params(detector=detector)
    return model
