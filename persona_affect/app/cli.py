"""The command `persona-affect`: each of its subcommands lives in a module of its own."""

import typer

from persona_affect.app import _annotate, _evaluate, _info, _live, _predict, _serve, _train

__all__ = ["app", "main"]

app = typer.Typer(
    name="persona-affect",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)


@app.callback()
def _about() -> None:
    """Apparent personality and emotion from faces: photos, videos and live cameras.

    Predictions are impressions that faces make on raters, not what people are. Do not use them to
    judge, select, rank or screen people.
    """


app.command("predict")(_predict.predict)
app.command("annotate")(_annotate.annotate)
app.command("live")(_live.live)
app.command("info")(_info.info)
app.command("serve")(_serve.serve)
app.command("train")(_train.train)
app.command("evaluate")(_evaluate.evaluate)


def main() -> None:
    """Run the command line."""
    app()
