"""Two directives: ``diagram`` shows an SVG of ``docs/diagrams``, ``code-of`` a function.

``code-of`` takes ``objectives/_rank.py::rank_loss``: the function's body as it is now, without its
docstring, so that
an equation stands beside the lines that compute it. A name that is gone stops the build.
"""

import ast
import textwrap
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive, directives

FOLDER = Path(__file__).parents[1] / "diagrams"
PACKAGE = Path(__file__).parents[2] / "persona_affect"


def read_code(name: str) -> str:
    """Return the signature and body of a function, such as ``objectives/_rank.py::rank_loss``.

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
    lines = source.splitlines()
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
        caption = nodes.caption("", "", nodes.Text(f"persona_affect/{module}: {path}"))
        return [
            nodes.container(
                "", caption, block, literal_block=True, classes=["literal-block-wrapper"]
            )
        ]


def setup(app):
    """Register with sphinx."""
    app.add_directive("diagram", Diagram)
    app.add_directive("code-of", CodeOf)
    return {"parallel_read_safe": True}
