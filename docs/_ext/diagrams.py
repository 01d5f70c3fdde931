"""Two directives: ``diagram`` shows an SVG of ``docs/diagrams``, ``code-of`` a function.

``code-of`` takes ``objectives/_rank.py::rank_loss``: the function's body as it is now, without its
docstring, so that an equation stands beside the lines that compute it. A name that is gone stops
the build. The caption links to the lines in their file, which has a page in ``docs/code``.
"""

import ast
import re
import textwrap
from collections import defaultdict
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from sphinx.addnodes import pending_xref

DOCS = Path(__file__).parents[1]
FOLDER = DOCS / "diagrams"
PACKAGE = DOCS.parent / "persona_affect"


def find_code(name: str) -> tuple[list[str], ast.FunctionDef]:
    """Return the lines of a file, and a function in it, such as ``objectives/_rank.py::rank_loss``.

    Raises
    ------
    LookupError
        If the file or the name is gone.
    """
    module, _, path = name.partition("::")
    file = PACKAGE / module
    if not file.is_file():
        raise LookupError(f"persona_affect/{module} does not exist")
    source = file.read_text(encoding="utf-8")
    node = ast.parse(source)
    for part in path.split("."):
        found = [n for n in node.body if getattr(n, "name", None) == part]
        if not found:
            raise LookupError(f"persona_affect/{module} has no {path}")
        node = found[0]
    return source.splitlines(), node


def read_code(name: str) -> str:
    """Return the signature and body of a function, without its docstring.

    Raises
    ------
    LookupError
        If the file or the name is gone.
    """
    lines, node = find_code(name)
    body = [
        n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
    ]
    last_of_head = node.body[0].lineno - 1
    parts = [
        *lines[node.lineno - 1 : last_of_head],
        *lines[_first_line(lines, body[0]) - 1 : node.end_lineno],
    ]
    return textwrap.dedent("\n".join(parts))


def _first_line(lines: list[str], node: ast.stmt) -> int:
    """Return the line of a statement, or of the comment above it."""
    first = node.lineno
    while lines[first - 2].lstrip().startswith("#"):
        first -= 1
    return first


class Diagram(Directive):
    """Put the SVG itself into the page, so that the page's style sheet colours it."""

    required_arguments = 1
    has_content = True
    option_spec = {"name": directives.unchanged}  # noqa: RUF012

    def run(self):
        """Return the figure, with the content as its caption."""
        path = FOLDER / f"{self.arguments[0]}.svg"
        self.state.document.settings.record_dependencies.add(str(path))
        figure = nodes.figure(classes=["diagram"])
        figure += nodes.raw("", path.read_text(encoding="utf-8"), format="html")
        if self.content:
            text = nodes.Element()
            self.state.nested_parse(self.content, self.content_offset, text)
            caption = nodes.caption("", "", *text.children[0].children)
            figure += caption
        self.add_name(figure)
        return [figure]


class CodeOf(Directive):
    """Show a function of the package, under its place."""

    required_arguments = 1

    def run(self):
        """Return the block, with the file and the name as its caption."""
        name = self.arguments[0]
        module, _, path = name.partition("::")
        self.state.document.settings.record_dependencies.add(str(PACKAGE / module))
        try:
            code = read_code(name)
        except LookupError as error:
            return [self.state.document.reporter.error(str(error), line=self.lineno)]
        block = nodes.literal_block(code, code, language="python")
        link = pending_xref(
            "",
            nodes.inline("", f"persona_affect/{module}: {path}"),
            refdomain="std",
            reftype="ref",
            reftarget=_label(name),
            refdoc=self.state.document.settings.env.docname,
            refexplicit=True,
            refwarn=True,
        )
        return [
            nodes.container(
                "",
                nodes.caption("", "", link),
                block,
                literal_block=True,
                classes=["literal-block-wrapper"],
            )
        ]


def _label(name: str) -> str:
    return "code-" + re.sub(r"\W+", "-", name).lower()


def make_code_page(module: str, names: list[str]) -> str:
    """Return the page of a file, with a place to link to at each of its functions in `names`."""
    title = f"persona_affect/{module}"
    starts = {1: ""}
    for name in names:
        lines, node = find_code(name)
        starts[node.lineno] = f".. _{_label(name)}:\n\n"
    ends = [start - 1 for start in sorted(starts)[1:]] + [len(lines)]
    source = Path(*[".."] * (2 + module.count("/")), title).as_posix()
    parts = [f":orphan:\n:html_theme.sidebar_secondary.remove:\n\n{title}\n{'=' * len(title)}\n"]
    for (start, label), end in zip(sorted(starts.items()), ends, strict=True):
        parts.append(
            f"{label}.. literalinclude:: {source}\n   :language: python\n"
            f"   :lines: {start}-{end}\n   :lineno-match:\n"
        )
    return "\n".join(parts)


def _write_code_pages(app, config) -> None:
    names = defaultdict(set)
    for page in DOCS.glob("guide/*.md"):
        for name in re.findall(r"```\{code-of\} (\S+)", page.read_text(encoding="utf-8")):
            names[name.partition("::")[0]].add(name)
    for module, functions in names.items():
        target = DOCS / "code" / f"{module}.rst"
        target.parent.mkdir(parents=True, exist_ok=True)
        text = make_code_page(module, sorted(functions))
        # Unchanged pages keep their time, so that they are not built again.
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")


def setup(app):
    """Register with sphinx."""
    app.add_directive("diagram", Diagram)
    app.add_directive("code-of", CodeOf)
    app.connect("config-inited", _write_code_pages)
    return {"parallel_read_safe": True}
