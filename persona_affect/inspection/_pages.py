"""Reports as Markdown and as self-contained web pages."""

import html
import io
import re
from typing import Any, Final

import numpy as np
import pandas as pd

from persona_affect._optional import import_optional

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.85rem; display: block;
  overflow-x: auto; }
th, td { border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent);
  padding: 0.25rem 0.6rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1rem 0; } svg { max-width: 100%; height: auto; background: white; }
"""


def table_to_markdown(table: pd.DataFrame, *, index: str = "", digits: int = 2) -> str:
    """Write a table as Markdown; its index is the first column, under the name `index`.

    NaN is an empty cell. Characters that Markdown reads as markup are escaped in names.
    """
    head = [index, *map(str, table.columns)]
    lines = [head, ["---"] * len(head)]
    for name, row in table.iterrows():
        lines.append([escape_markdown(str(name)), *(_cell(value, digits) for value in row)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.{digits}f}"
    return escape_markdown(str(value))


def escape_markdown(text: str) -> str:
    """Escape what Markdown, or HTML in it, would read as markup."""
    return re.sub(r"([\\`*_{}\[\]<>|])", r"\\\1", " ".join(text.split()))


def make_page(title: str, markdown: str, figures: dict[str, str] | None = None) -> str:
    """Make one HTML page of Markdown, which needs no other file and no script.

    Parameters
    ----------
    title : str
    markdown : str
        HTML in it is shown as text, not used.
    figures : dict of str to str, optional
        SVG by the name that stands in the Markdown, on a line of its own, as ``{name}``.

    Returns
    -------
    str
    """
    library = import_optional("markdown_it", extra="inspect", purpose="A web page")
    body = library.MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    for name, svg in (figures or {}).items():
        body = body.replace(f"<p>{{{name}}}</p>", f"<figure>{svg}</figure>")
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta http-equiv='Content-Security-Policy' "
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{body}</body></html>\n"
    )


def figure_to_svg(figure: Any) -> str:
    """Return a matplotlib figure as SVG for a page."""
    file = io.StringIO()
    # Without a date and with fixed names, so that the same figure gives the same page.
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "persona-affect", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue().partition("<svg")[1] + file.getvalue().partition("<svg")[2]
