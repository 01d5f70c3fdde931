"""What several subcommands share: the model, and how they end in an error."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

#: Said once wherever predictions are shown.
CAVEAT = (
    "These are apparent impressions: what raters would say of these faces, not what people are."
)

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


def errors() -> Console:
    """Return the console for all that is no result."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def readable_errors() -> Iterator[None]:
    """End in one line where the user can help: 2 for a wrong call, 1 for a file that fails."""
    from persona_affect.exceptions import (
        MediaLimitError,
        MediaReadError,
        MediaWriteError,
        MissingDependencyError,
        ModelFormatError,
        WeightsError,
    )

    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    except (MediaReadError, MediaLimitError, MediaWriteError) as error:
        end(error, 1)
    except (MissingDependencyError, ModelFormatError, WeightsError, ValueError, OSError) as error:
        end(error, 2)


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    errors().print("[yellow]Warning:[/] ", end="")
    errors().print(str(message), markup=False)


def end(error: object, code: int) -> None:
    """Print an error and leave."""
    errors().print("[bold red]Error:[/] ", end="")
    errors().print(str(error), markup=False)
    raise typer.Exit(code)


def load(path: Path | None) -> Any:
    """Load a model from photos to numbers, or leave with an error."""
    from persona_affect import load_model
    from persona_affect.exceptions import ModelFormatError
    from persona_affect.faces import FaceAligner

    model = load_model(path)
    if not hasattr(model, "steps") or not isinstance(model[0], FaceAligner):
        raise ModelFormatError(
            f"{path} holds a {type(model).__name__}, which starts from faces or numbers. Save a "
            "pipeline that starts with a FaceAligner."
        )
    return model
