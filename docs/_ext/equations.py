"""Equations as SVG with text as outlines: no script, no font and no other server is needed.

matplotlib's mathtext reads a part of TeX. The colour is that of the text around, in light and dark;
the TeX source
is the alternative text.
"""

import html
import io
import re
from functools import cache

from docutils import nodes
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from matplotlib.textpath import TextPath
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
#: Points; the SVG is scaled to the size of the text around.
SIZE = 10


@cache
def draw_equation(tex: str) -> str:
    """Return one line of TeX as an SVG element that stands on the line of the text."""
    properties = FontProperties(family="serif", size=SIZE, math_fontfamily="cm")
    parsed = MathTextParser("path").parse(f"${tex}$", 72, properties)
    path = TextPath((0, 0), f"${tex}$", size=SIZE, prop=properties)
    outline = io.StringIO()
    for points, code in path.iter_segments(simplify=False, curves=True):
        letter = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}[int(code)]
        pairs = [] if letter == "Z" else [f"{value:.2f}" for value in points]
        outline.write(letter + " ".join(pairs))
    width, height, depth = parsed.width + 1, parsed.height + 1, parsed.depth + 1
    return (
        f'<svg class="equation" role="img" aria-label="{html.escape(tex)}" '
        f'viewBox="0 {-height:.2f} {width:.2f} {height + depth:.2f}" '
        f'style="width:{width / SIZE:.3f}em;height:{(height + depth) / SIZE:.3f}em;'
        f'vertical-align:{-depth / SIZE:.3f}em">'
        f'<path transform="scale(1,-1)" fill="currentColor" d="{outline.getvalue()}"/></svg>'
    )


def _draw(tex: str, node) -> str:
    # numpydoc and MyST both give lines; mathtext knows one.
    line = re.sub(r"\s+", " ", tex).strip().rstrip(",")
    try:
        return draw_equation(line)
    except ValueError as error:
        LOGGER.warning("mathtext cannot read %r: %s", line, error, location=node)
        return f"<code>{html.escape(line)}</code>"


def visit_math(self, node) -> None:
    """Write an equation within a line."""
    self.body.append(_draw(node.astext(), node))
    raise nodes.SkipNode


def visit_math_block(self, node) -> None:
    """Write an equation of its own, one row for each line that ends in a double backslash."""
    rows = re.split(r"\\\\", node.astext().replace("&", ""))
    drawn = "".join(f"<div>{_draw(row, node)}</div>" for row in rows if row.strip())
    self.body.append(f'<div class="equation-block">{drawn}</div>')
    raise nodes.SkipNode


def setup(app):
    """Register with sphinx, as its own ways to write equations do."""
    app.add_html_math_renderer("svg", (visit_math, None), (visit_math_block, None))
    app.config.html_math_renderer = "svg"
    return {"parallel_read_safe": True}
