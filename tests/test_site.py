"""The site: code beside equations, diagrams by their command, and pages whose Python runs."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
GUIDE = sorted((DOCS / "guide").glob("*.md"))
RUN = [DOCS / "start.md", *GUIDE, *sorted((DOCS / "migration").glob("*.md"))]
PYTHON = re.compile(
    r"^```python\n(.*?)^```|^```\{code-block\} python\n:caption: persona-affect\n(.*?)^```",
    re.MULTILINE | re.DOTALL,
)


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    # Classes of the module look for it by its name.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_each_equation_has_its_code_in_the_same_section(page):
    pytest.importorskip("sphinx")
    read_code = load(DOCS / "_ext/diagrams.py").read_code
    for section in re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        names = re.findall(r"```\{code-of\} (\S+)", section)
        assert bool(names) >= bool(re.search(r"^\$\$", section, re.MULTILINE)), section[:60]
        for name in names:
            assert f"def {name.rpartition('::')[2].rpartition('.')[2]}(" in read_code(name)


def test_a_name_that_is_gone_stops_the_build():
    pytest.importorskip("sphinx")
    read_code = load(DOCS / "_ext/diagrams.py").read_code
    with pytest.raises(LookupError, match=r"has no rank_los$"):
        read_code("objectives/_rank.py::rank_los")


def test_a_caption_links_to_the_lines_in_their_file():
    pytest.importorskip("sphinx")
    diagrams = load(DOCS / "_ext/diagrams.py")
    lines, _ = diagrams.find_code("objectives/_rank.py::rank_loss")
    names = [f"objectives/_rank.py::{n}" for n in re.findall(r"^def (\w+)", "\n".join(lines), re.M)]
    page = diagrams.make_code_page("objectives/_rank.py", names)
    shown = [tuple(map(int, part)) for part in re.findall(r":lines: (\d+)-(\d+)", page)]
    # All lines of the file, once, and cut where a function begins.
    assert [i for first, last in shown for i in range(first, last + 1)] == [
        *range(1, len(lines) + 1)
    ]
    assert [lines[first - 1].split("(")[0] for first, _ in shown[1:]] == [
        f"def {name.rpartition('::')[2]}" for name in names
    ]
    assert page.count(".. _code-objectives-_rank") == len(names)


def test_the_diagrams_are_those_of_their_command():
    made = load(DOCS / "make_diagrams.py").DIAGRAMS
    kept = {path.stem: path.read_text(encoding="utf-8") for path in DOCS.glob("diagrams/*.svg")}
    assert {name: draw().to_svg() for name, draw in made.items()} == kept


def shots():
    pytest.importorskip("skimage", reason="needs the extra examples")
    return load(DOCS / "make_screenshots.py")


def read_shown():
    return json.loads((DOCS / "images/web_photo.json").read_text(encoding="utf-8"))


def test_the_alt_texts_say_the_numbers_of_the_pictures():
    module = shots()
    text = module.describe(read_shown())
    for page in module.PAGES:
        assert text in page.read_text(encoding="utf-8"), "run docs/make_screenshots.py"


@pytest.mark.slow
def test_the_pictures_show_the_numbers_of_the_bundled_model():
    pytest.importorskip("skimage", reason="needs the extra examples")
    from skimage.data import astronaut

    from persona_affect.app._options import load_stream_model

    model = load_stream_model(engine="torch")
    expected = dict(zip(model[-1].target_names_, model.predict([astronaut()])[0], strict=True))
    assert read_shown() == pytest.approx(expected, abs=0.02), "run docs/make_screenshots.py"


@pytest.mark.slow
def test_the_start_page_shows_what_the_bundled_model_predicts():
    pytest.importorskip("skimage", reason="needs the extra examples")
    import pandas as pd
    from skimage.data import astronaut

    from persona_affect import load_model

    model = load_model()
    table = pd.DataFrame(model.predict([astronaut()]), columns=model[-1].target_names_).round(1)
    shown = (DOCS / "start.md").read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    names, (_, *numbers) = (line.split() for line in shown.splitlines())
    assert names == list(table)
    assert [float(number) for number in numbers] == pytest.approx(list(table.iloc[0]), abs=0.11)


def test_a_picture_of_the_light_page_has_its_dark_one_beside_it(tmp_path):
    pages = load(DOCS / "_ext/repository_pages.py")
    for name in ("a_light.webp", "a_dark.webp", "b_light.webp"):
        (tmp_path / name).touch()
    both = pages.add_dark_pictures("![What](a_light.webp)\n\n![That](b_light.webp)\n", tmp_path)
    assert re.findall(r"^:::\{image\} (\S+)\n:class: (\S+)\n:alt: (.+)$", both, re.MULTILINE) == [
        ("a_light.webp", "only-light", "What"),
        ("a_dark.webp", "only-dark", "What"),
    ]
    assert "![That](b_light.webp)" in both


def test_the_page_of_benchmarks_has_a_row_for_each_page_of_results():
    text = load(DOCS / "_ext/repository_pages.py").list_results()
    table = text.partition("|---|---|---|\n")[2].partition("\n\n")[0].splitlines()
    results = sorted((DOCS.parent / "benchmarks/results").glob("*.md"))
    assert [re.match(r"\| \[[^]]+\]\((\S+)\) \|", row)[1] for row in table] == [
        path.name for path in results
    ]
    # The title, the date, and a whole command, on one line.
    command = r"`[^`|]*(benchmarks|examples)/\w[^`|]*`|see the page"
    assert all(
        re.fullmatch(rf"\| \[.+\]\(.+\) \| (20[\d-]+|see the page) \| ({command}) \|", row)
        for row in table
    )


@pytest.fixture
def visitor(tmp_path, monkeypatch):
    """A folder with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    load(DOCS / "_ext/start_files.py")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", RUN, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_the_python_of_a_page_runs(page, visitor):
    blocks = ["".join(found) for found in PYTHON.findall(page.read_text(encoding="utf-8"))]
    known = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, str(page), "exec"), known)
