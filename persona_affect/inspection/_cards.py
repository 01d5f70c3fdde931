"""Model cards: what a file says of itself, and what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

import pandas as pd

from persona_affect._files import atomic_write
from persona_affect.exceptions import OutputError
from persona_affect.persistence import read_model_info

from ._audit_report import Audit
from ._pages import escape_markdown, make_page, table_to_markdown

_MEANING: Final = (
    "Predictions are **impressions that faces make on raters, not what people are or feel.** The "
    "ratings contain the raters' stereotypes about gender, age and skin colour. The model repeats "
    "them, because it predicts what raters say."
)
_NOT_FOR: Final = (
    "**Never use it for hiring, admission, screening, policing, credit, or any other decision on a "
    "person**, whether or not a human takes part in the decision. Do not use it to judge "
    "character, ability, health, intent or truthfulness: a face shows none of these."
)
#: Groups by all features together that a card shows.
_N_WORST: Final = 10


@dataclass(frozen=True)
class ModelCard:
    """A model card, which :func:`model_card` makes.

    Attributes
    ----------
    title : str
        Its first heading.
    markdown : str
        The whole card, with its title.

    Examples
    --------
    >>> from persona_affect.inspection import ModelCard
    >>> "<h1>" in ModelCard("A model", "# A model").to_html()
    True
    """

    title: str
    markdown: str

    def to_html(self) -> str:
        """Return the card as one web page, which needs no other file.

        Returns
        -------
        str
            The page as HTML.

        Raises
        ------
        MissingDependencyError
            If markdown-it-py is not installed (extra ``inspect``).
        """
        return make_page(self.title, self.markdown)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the card to a file, as Markdown (``.md``) or as a web page (``.html``).

        Parameters
        ----------
        path : path-like
            The file to create or replace.

        Raises
        ------
        OutputError
            If the name ends otherwise, or the file cannot be written.
        MissingDependencyError
            If a web page is asked for, and the extra ``inspect`` is not installed.
        """
        kind = Path(path).suffix.lower()
        if kind not in (".md", ".html"):
            raise OutputError(f"{path} must end in .md or .html.")
        text = self.markdown if kind == ".md" else self.to_html()
        with atomic_write(path) as draft:
            draft.write_text(text, encoding="utf-8")


def model_card(
    model: str | PathLike[str] | None = None,
    *,
    audit: Audit | None = None,
    audited_on: str | None = None,
    sections: Mapping[str, str] | None = None,
    title: str | None = None,
) -> ModelCard:
    """Write a model card from what a model's file says, and from what was measured.

    Parameters
    ----------
    model : path-like, optional
        A file that `save_model` wrote; the bundled model by default.
    audit : Audit, optional
        From :func:`audit`, on persons that the model was not trained on. Without it, the card says
        that nothing was measured.
    audited_on : str, optional
        The data of `audit`, and how its predictions were made.
    sections : dict of str to str, optional
        Markdown of further sections by heading, which come after the intended use. With a heading
        of the card, it is added to the end of that section.
    title : str, optional
        The first heading; by default it names the file.

    Returns
    -------
    ModelCard
        As Markdown, and as a page with `to_html`.

    Raises
    ------
    ModelFormatError, ModelReadError, FileNotFoundError
        As :func:`persona_affect.load_model`.

    References
    ----------
    Mitchell et al. Model cards for model reporting. FAT* 2019.

    Examples
    --------
    >>> from persona_affect.inspection import model_card
    >>> print(model_card().markdown.splitlines()[0])
    # Model card: the bundled model
    """
    info = read_model_info(model)
    name = "the bundled model" if model is None else Path(model).name
    title = title or f"Model card: {name}"
    texts = {
        "What it is": _what(info),
        "What it is not for": _NOT_FOR,
        "Measured": _measured(audit, audited_on),
        "Intervals": _intervals(info),
        "Data and licence": _notes(info),
        "Versions": _versions(info),
    }
    sections = sections or {}
    own = [heading for heading in sections if heading not in texts]
    order = [*list(texts)[:2], *own, *list(texts)[2:]]
    lines = [f"# {escape_markdown(title)}"]
    for heading in order:
        found = (texts.get(heading), sections.get(heading))
        lines += [f"## {heading}", *(text for text in found if text)]
    return ModelCard(title, "\n\n".join(lines).rstrip() + "\n")


def _what(info: Mapping[str, Any]) -> str:
    targets = info.get("target_names", [])
    usual = "as in the labels that it was trained on"
    polarity = {k: v for k, v in info.get("polarity", {}).items() if v != usual}
    text = f"It predicts {len(targets)} numbers of a face: {_join(targets)}. {_MEANING}"
    if polarity:
        rows = [f"- high *{escape_markdown(k)}*: {escape_markdown(v)}" for k, v in polarity.items()]
        text += "\n\n" + "\n".join(rows)
    steps = ", ".join(f"`{name}`" for name in _steps(info["model"]))
    return f"{text}\n\nIts steps: {steps}."


def _steps(node: Mapping[str, Any]) -> list[str]:
    if node.get("class") != "Pipeline":
        return [str(node.get("class"))]
    return [name for _, step in node["steps"] for name in _steps(step)]


def _join(names: list[str]) -> str:
    marked = [f"*{escape_markdown(name)}*" for name in names]
    return marked[0] if len(marked) == 1 else f"{', '.join(marked[:-1])} and {marked[-1]}"


def _measured(audit: Audit | None, audited_on: str | None) -> str:
    if audit is None:
        return "Nothing was measured for this card. `persona-affect audit` measures it."
    text = audit.to_markdown(level=3, n_worst=_N_WORST)
    return text.rstrip() if audited_on is None else f"{audited_on}\n\n{text.rstrip()}"


def _intervals(info: Mapping[str, Any]) -> str:
    calibration = info.get("intervals")
    if not calibration:
        return "The file has no calibration: the model does not say how sure it is."
    return "The file has a calibration for `predict_interval` (conformal prediction, by person)."


def _notes(info: Mapping[str, Any]) -> str:
    notes = info.get("notes", {})
    if not notes:
        return "The file does not say what it was trained on, nor under which licence it is."
    return "\n".join(f"- {escape_markdown(k)}: {escape_markdown(str(v))}" for k, v in notes.items())


def _versions(info: Mapping[str, Any]) -> str:
    made = pd.DataFrame({"version": info.get("libraries", {})})
    table = table_to_markdown(made, index="made with")
    return f"{table}\n\nFormat {info.get('format_version')}."
