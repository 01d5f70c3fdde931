"""Results as files: JSON for programs, Markdown for people, CSV of every prediction."""

import json
import math
import platform
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any, Final

import pandas as pd
from sklearn.utils import Bunch

from persona_affect._files import atomic_write

from ._published import PUBLISHED

_TITLES: Final = {"accuracy_mae": "accuracy", "ccc": "CCC", "pearson": "Pearson r", "rmse": "RMSE"}
_LIBRARIES: Final = ("persona-affect", "torch", "scikit-learn", "numpy")
_NOTE: Final = (
    "Personality is scored over videos, emotion over labelled frames. In brackets: 95 % bootstrap "
    "intervals over groups (videos, clips). Constant: the training mean for everyone, whose CCC "
    "and r are 0. These are impressions that faces make on raters, not what people are."
)


def write_results(result: Bunch, folder: str | PathLike[str]) -> None:
    """Write ``results.json``, ``results.md`` and ``predictions.csv``.

    Parameters
    ----------
    result : Bunch
        As :func:`run_persemon` or :func:`evaluate_persemon` returns it.
    folder : path-like
        Created if it does not exist; files of these names are replaced.

    Raises
    ------
    OutputError
        If a file cannot be written; the one before stays as it is.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> import pandas as pd
    >>> from sklearn.utils import Bunch
    >>> from persona_affect.protocols import evaluate_predictions, write_results
    >>> y = pd.DataFrame({"warm": [1.0, 2.0, 3.0, 4.0]})
    >>> table = evaluate_predictions(
    ...     y, y + 0.5, groups=range(4), baseline=y.mean(), personality=["warm"], emotion=[]
    ... )
    >>> folder = mkdtemp()
    >>> write_results(
    ...     Bunch(table=table, predictions=y + 0.5, calibration=None, facts={"sets": {}}), folder
    ... )
    >>> sorted(path.name for path in Path(folder).iterdir())
    ['predictions.csv', 'results.json', 'results.md']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        **result.facts,
        "versions": {name: version(name) for name in _LIBRARIES}
        | {"python": platform.python_version()},
        "table": _records(result.table),
        "calibration": None if result.calibration is None else _records(result.calibration),
        "published": _records(PUBLISHED.set_index("model")),
    }
    texts = {
        "results.json": json.dumps(content, indent=1, allow_nan=False),
        "results.md": to_markdown(result),
        "predictions.csv": result.predictions.to_csv(index=False),
    }
    for name, text in texts.items():
        with atomic_write(folder / name) as draft:
            draft.write_text(text, encoding="utf-8")


def to_markdown(result: Bunch) -> str:
    """Write the table as Markdown, with published figures if they are for the same data set.

    Parameters
    ----------
    result : Bunch
        As :func:`run_persemon` or :func:`evaluate_persemon` returns it.

    Returns
    -------
    str
        A title, the table with a row a target, notes, and the sizes of the parts.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.utils import Bunch
    >>> from persona_affect.protocols import evaluate_predictions, to_markdown
    >>> y = pd.DataFrame({"warm": [1.0, 2.0, 3.0, 4.0]})
    >>> table = evaluate_predictions(
    ...     y, y + 0.5, groups=range(4), baseline=y.mean(), personality=["warm"], emotion=[],
    ...     n_resamples=0,
    ... )
    >>> text = to_markdown(Bunch(table=table, calibration=None, facts={"sets": {}}))
    >>> text.splitlines()[4]
    '| warm | 4 | 0.5000 | 0.9091 | 1.0000 | 0.5000 | 0.0000 | 1.1180 |'
    """
    table, facts = result.table, result.facts
    head = ["", "labels", *_TITLES.values(), "accuracy, constant", "RMSE, constant"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row, values in table.iterrows():
        cells = [f"{values[measure]:.4f}{_interval(values, measure)}" for measure in _TITLES]
        constant = [f"{values[f'baseline_{m}']:.4f}" for m in ("accuracy_mae", "rmse")]
        lines.append(
            f"| {row} | {values['n_labels']:.0f} | " + " | ".join([*cells, *constant]) + " |"
        )
    what = [f"ablation: {facts['ablation']}" if "ablation" in facts else "a saved model"]
    if facts.get("preset"):
        what.append(f"preset: {facts['preset']}")
    if result.calibration is not None:
        what.append("calibrated on the validation part")
    parts = [f"# PersEmoN ({', '.join(what)})", "\n".join(lines), _NOTE, _describe_sets(facts)]
    if "first-impressions" in facts["sets"]:
        parts += ["## Compared with published figures", _compare_with_published(table)]
    return "\n\n".join(parts) + "\n"


def _interval(values: "pd.Series[Any]", measure: str) -> str:
    low, high = values.get(f"{measure}_low"), values.get(f"{measure}_high")
    return "" if low is None else f" ({low:.4f} to {high:.4f})"


def _describe_sets(facts: dict[str, Any]) -> str:
    lines = [
        "| set | train | val | test | groups of the test part met in training |",
        "|---" * 5 + "|",
    ]
    for name, sizes in facts["sets"].items():
        counts = " | ".join(str(sizes[part]) for part in ("train", "val", "test"))
        met = f"{sizes['test_groups_met_in_training']} of {sizes['groups']['test']}"
        lines.append(f"| {name} | {counts} | {met} |")
    return "\n".join(lines)


def _compare_with_published(table: pd.DataFrame) -> str:
    lines = ["| model | mean accuracy | mean CCC |", "|---|---|---|"]
    own = table.loc["personality mean"]
    lines.append(f"| **this run** | {own['accuracy_mae']:.4f} | {own['ccc']:.4f} |")
    lines.append(f"| constant, the training mean | {own['baseline_accuracy_mae']:.4f} | 0 |")
    for row in PUBLISHED.to_dict("records"):
        ccc = "-" if math.isnan(row["ccc"]) else f"{row['ccc']:.4f}"
        lines.append(f"| {row['model']} | {row['accuracy_mae']:.4f} | {ccc} |")
    lines.append(
        "\nPublished on the official test part of ChaLearn First Impressions V2, all 2,000 clips; "
        "a run on other or fewer clips cannot be compared with them."
    )
    return "\n".join(lines)


def _records(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Convert a table to values that JSON can hold: rows by name, NaN as null."""
    return {
        str(name): {str(key): None if pd.isna(v) else v for key, v in row.items()}
        for name, row in table.astype(object).to_dict("index").items()
    }
