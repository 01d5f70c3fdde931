"""The command `persona-affect`; each of its commands is in a module of its own."""

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

import persona_affect
from persona_affect.app import (
    _align,
    _annotate,
    _audit,
    _dynamics,
    _dynamics_live,
    _evaluate,
    _info,
    _live,
    _predict,
    _serve,
    _train,
)
from persona_affect.app._data import RegistryCommand
from persona_affect.app._errors import CommandGroup

__all__ = ["app", "main"]

app = typer.Typer(
    name="persona-affect",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"persona-affect {persona_affect.__version__}")
        raise typer.Exit()


def _import_modules(modules: list[str] | None) -> list[str] | None:
    for module in modules or ():
        # Also from the working directory, as with `python -m`, but after installed modules.
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        try:
            import_module(module)
        except ImportError as error:
            raise typer.BadParameter(f"{module} cannot be imported: {error}.") from error
    return modules


@app.callback()
def _about(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="MODULE",
            help="Import a Python module first, which registers backbones or formats of data sets; "
            "may be given repeatedly. Its code is run.",
            callback=_import_modules,
            is_eager=True,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Apparent personality and emotion from faces: photos, videos and live cameras.

    Predictions are impressions that faces make on raters, not what people are. Do not use them to
    judge, select, rank or screen people.
    """


app.command("predict")(_predict.predict)
app.command("annotate")(_annotate.annotate)
app.command("live")(_live.live)
app.command("info")(_info.info)
app.command("serve")(_serve.serve)
app.command("align", cls=RegistryCommand)(_align.align)
app.command("train", cls=RegistryCommand)(_train.train)
app.command("evaluate", cls=RegistryCommand)(_evaluate.evaluate)
app.command("audit", cls=RegistryCommand)(_audit.audit)
_dynamics.dynamics.command("live")(_dynamics_live.live)
app.add_typer(_dynamics.dynamics, name="dynamics")


def main() -> None:
    """Run the command line."""
    app()
