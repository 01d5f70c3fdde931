"""Pages as notebooks: the start page, and with sphinx-gallery's converter its examples.

`docs/notebooks/start.ipynb` is written before the build; the start page links to it. The notebook
begins with a cell that makes the files which the page names.
"""

import json
import re
from pathlib import Path

import nbformat
from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
from sphinx_gallery.notebook import jupyter_notebook
from sphinx_gallery.py_source_parser import split_code_and_text_blocks

DOCS = Path(__file__).parents[1]
GALLERY = DOCS.parent / "examples/gallery"
#: Makes the files that the start page names.
FILES = Path(__file__).with_name("start_files.py")

_BLOCK = re.compile(r"^```python\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)
#: What only the site can follow: roles, and links to other pages.
_ROLE = re.compile(r"\{\w+\}`([^`<]+?)\s*(?:<[^`]*>)?`")
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]+\)")


def make_page_notebook(text: str) -> nbformat.NotebookNode:
    """Return a page in Markdown as a notebook: each block of Python is a cell."""
    parts = _BLOCK.split(text)
    cells = [nbformat.v4.new_code_cell(FILES.read_text(encoding="utf-8").strip())]
    for i, part in enumerate(parts):
        if not part.strip():
            continue
        if i % 2:
            cells.append(nbformat.v4.new_code_cell(part.strip()))
        else:
            words = _LINK.sub(r"\1", _ROLE.sub(r"\1", part)).strip()
            cells.append(nbformat.v4.new_markdown_cell(words))
    # The title first, then the files.
    cells[:2] = cells[1::-1]
    for i, cell in enumerate(cells):
        cell.id = f"cell-{i}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def make_gallery_notebook(example: Path) -> nbformat.NotebookNode:
    """Return an example as the notebook that its page offers."""
    _, blocks = split_code_and_text_blocks(str(example))
    made = jupyter_notebook(blocks, DEFAULT_GALLERY_CONF, str(example.parent))
    return nbformat.v4.upgrade(nbformat.reads(json.dumps(made), as_version=4))


def _write_start(app, config) -> None:
    target = DOCS / "notebooks/start.ipynb"
    target.parent.mkdir(exist_ok=True)
    made = nbformat.writes(make_page_notebook((DOCS / "start.md").read_text(encoding="utf-8")))
    # Unchanged, it keeps its time, so that the page is not built again.
    if not target.exists() or target.read_text(encoding="utf-8") != made:
        target.write_text(made, encoding="utf-8")


def setup(app):
    """Register with sphinx."""
    app.connect("config-inited", _write_start)
    return {"parallel_read_safe": True}
