"""The command `persona-affect`: each of its subcommands lives in a module of its own."""

import typer

from persona_affect.app import _info

__all__ = ["app", "main"]

app = typer.Typer(name="persona-affect", no_args_is_help=True, pretty_exceptions_show_locals=False)


@app.callback()
def _about() -> None:
    """Apparent personality and emotion from faces: photos, videos and live cameras.

    Predictions are impressions that faces make on raters, not what people are. Do not use them to
    judge, select, rank or screen people.
    """


app.command("info")(_info.info)


def main() -> None:
    """Run the command line."""
    app()
