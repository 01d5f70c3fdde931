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


def load_photo_model(path: Path | None) -> "Pipeline":
    """Load a model that takes photos and clips; without a path, the bundled one.

    Raises
    ------
    ModelFormatError
        If the file is not a model, or the model takes aligned faces or numbers.
    """
    from persona_affect import load_model
    from persona_affect.annotation import check_photo_model
    from persona_affect.exceptions import ModelFormatError

    model = load_model(path)
    try:
        return check_photo_model(model)
    except ValueError as error:
        raise ModelFormatError(f"{path}: {error}") from error
