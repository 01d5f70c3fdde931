"""Documents of the repository as pages of the site, and links between both that work in either.

On a code host, ``docs/web.md`` links to ``../benchmarks/results/webcam.md``. On the site that
document is the
page ``results/webcam``. It is copied there before the build, and links are rewritten when a page is
read; the
documents themselves stay as they are. A link to a file that is no page becomes a download.
"""

import os
import re
from pathlib import Path

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent

#: The document of the repository for each page; both without their folder of origin.
PAGES = {
    "project/contributing": "CONTRIBUTING.md",
    "project/changelog": "CHANGELOG.md",
    "project/security": "SECURITY.md",
    "project/reproduce_persemon": "examples/reproduce_persemon.md",
    "results/commands": "benchmarks/README.md",
    **{
        f"results/{path.stem}": path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "benchmarks/results").glob("*.md"))
    },
}
_PAGE_OF = {ROOT / source: f"{page}.md" for page, source in PAGES.items()}
#: A folder has no page: this one shows what is in it.
_PAGE_OF[ROOT / "benchmarks/results"] = "results/index.md"
_PAGE_OF[ROOT / "README.md"] = "index.md"

_LINK = re.compile(r"(\]\()([^)#\s]+)([^)]*\))")
_PICTURE = re.compile(r"^!\[([^\]]*)\]\((\S+)_light(\.\w+)\)$", re.MULTILINE)
#: The first command of a page of results: a line of code, or code within a line.
_COMMAND = re.compile(
    r"^ {4}((?:\S+=\S+ )*python \S.*)$"
    r"|`((?:\S+=\S+ )*(?:python )?(?:benchmarks|examples)/[^`\n]+)`",
    re.MULTILINE,
)
_MERMAID = re.compile(r"^```mermaid\n.*?^```$", re.MULTILINE | re.DOTALL)


def rewrite_links(text: str, origin: Path, page: str) -> str:
    """Return a document's text with each local link as the page at `page` needs it.

    Parameters
    ----------
    text : str
        The Markdown.
    origin : Path
        The document in the repository.
    page : str
        Its page, such as ``results/webcam``.
    """
    folder = (DOCS / page).parent

    def rewrite(match: re.Match[str]) -> str:
        target = match[2]
        if "://" in target or target.startswith(("mailto:", "#", "<")):
            return match[0]
        path = Path(os.path.normpath(origin.parent / target))
        if path in _PAGE_OF:
            path = DOCS / _PAGE_OF[path]
        elif not path.is_file():
            return match[0]
        return match[1] + Path(os.path.relpath(path, folder)).as_posix() + match[3]

    return _LINK.sub(rewrite, text)


def add_dark_pictures(text: str, folder: Path) -> str:
    """Return a page's text with the picture `x_dark` beside each `x_light` that has one.

    The theme shows the one that is as light as the page.
    """

    def write(match: re.Match[str]) -> str:
        alt, stem, kind = match.groups()
        if not (folder / f"{stem}_dark{kind}").is_file():
            return match[0]
        return "\n\n".join(
            f":::{{image}} {stem}_{look}{kind}\n:class: only-{look}\n:alt: {alt}\n:::"
            for look in ("light", "dark")
        )

    return _PICTURE.sub(write, text)


def list_results() -> str:
    """Return the page that lists ``benchmarks/results``: title, date, and command of each."""
    rows = []
    for page, source in PAGES.items():
        if not source.startswith("benchmarks/results/"):
            continue
        text = (ROOT / source).read_text(encoding="utf-8")
        title = text.splitlines()[0].lstrip("# ")
        dates = re.findall(r"20\d\d-\d\d-\d\d", text)
        measured = max(dates) if dates else "see the page"
        command = _COMMAND.search(text)
        shown = f"`{command[1] or command[2]}`" if command else "see the page"
        rows.append(f"| [{title}]({Path(page).name}.md) | {measured} | {shown} |")
    stems = "\n".join(sorted(Path(page).name for page in PAGES if page.startswith("results/")))
    return (
        "# Benchmarks\n\n"
        "Each figure in this documentation was printed by a command. This list is made from the "
        "folder `benchmarks/results`; a page says on which machine it was measured, and what "
        "fell short.\n\n"
        "| what | last measured | command |\n|---|---|---|\n" + "\n".join(rows) + "\n\n"
        "What each script measures: [commands](commands.md).\n\n"
        "```{toctree}\n:hidden:\n\n" + stems + "\n```\n"
    )


def _write(page: str, text: str) -> None:
    target = DOCS / f"{page}.md"
    target.parent.mkdir(exist_ok=True)
    # Unchanged pages keep their time, so that they are not built again.
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        target.write_text(text, encoding="utf-8")


def _write_pages(app, config) -> None:
    for page, source in PAGES.items():
        _write(
            page, rewrite_links((ROOT / source).read_text(encoding="utf-8"), ROOT / source, page)
        )
    _write("results/index", list_results())


def _adapt_page(app, docname: str, content: list[str]) -> None:
    path = DOCS / f"{docname}.md"
    if docname in PAGES or not path.exists():
        return
    text = add_dark_pictures(rewrite_links(content[0], path, docname), path.parent)
    if docname == "architecture":
        drawn = iter(["house", "persemon"])
        text = _MERMAID.sub(lambda _: f":::{{diagram}} {next(drawn)}\n:::", text)
    content[0] = text


def setup(app):
    """Register with sphinx."""
    app.connect("config-inited", _write_pages)
    app.connect("source-read", _adapt_page)
    return {"parallel_read_safe": True}
