"""`persona-affect train --start`: new heads on the frozen features of a model."""

from pathlib import Path
from typing import Any

import typer


def train_from(
    start: str, data: Any, output: Path, cache: Path | None, n_jobs: int | None, seed: int
) -> None:
    """Train new heads on a data set, save the model, and print how well it predicts new persons.

    Parameters
    ----------
    start : str
        ``"bundled"``, or the file of a model.
    data : Bunch
        As :func:`persona_affect.datasets.load_dataset` returns.
    """
    import numpy as np

    from persona_affect import save_model
    from persona_affect.app._options import load_photo_model
    from persona_affect.protocols import train_heads

    model = load_photo_model(None if start == "bundled" else start)
    settings = model[0].get_params()
    model[0].set_params(
        cache=None if cache is None else str(cache), n_jobs=n_jobs, on_error="warn", verbose=True
    )
    rows = np.isin(data.split, ["train", ""])
    typer.echo(f"{data.name}: {rows.sum()} of {len(rows)} samples are for training.")
    result = train_heads(
        model,
        data.data[rows],
        data.target[rows],
        personality=data.personality,
        emotion=data.emotion,
        groups=data.groups[rows],
        random_state=seed,
    )
    result.model[0].set_params(**settings)
    notes = {"labels": data.name, "samples": str(rows.sum()), "start": start}
    save_model(result.intervals, output, notes=notes, half=True)
    typer.echo(
        "\nCross-validation, each person predicted by heads that did not learn from them; 95 % "
        "intervals by bootstrap over persons:\n"
    )
    typer.echo(_describe(result.scores))
    typer.echo(
        f"\nThe model is in {output}, with intervals that the same errors calibrate: "
        f"`persona-affect predict --model {output} --interval 0.9 photo.jpg`."
    )


def _describe(scores: Any) -> str:
    """Show r with its interval, and the error beside that of the mean rating."""
    import pandas as pd

    rows = {}
    for name, row in scores.iterrows():
        if str(name).endswith(" mean"):
            continue
        interval = f"({row['pearson_low']:.2f} to {row['pearson_high']:.2f})"
        rows[name] = {
            "rated": int(row["n_labels"]),
            "r": f"{row['pearson']:.2f} {interval}",
            "mean error": f"{1 - row['accuracy_mae']:.3g}",
            "of the mean rating": f"{1 - row['baseline_accuracy_mae']:.3g}",
        }
    return str(pd.DataFrame.from_dict(rows, orient="index").to_string())
