"""What the documents say of the repository is so: paths, links, names, and the diagram."""

import ast
import doctest
import importlib
import itertools
import re
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "persona_affect"
FOLDERS = (
    *(".", "docs", "docs/guide", "docs/migration"),
    *("benchmarks", "benchmarks/results", "examples"),
)
DOCUMENTS = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).glob("*.md"))
    # An old entry of the changelog may name what is gone.
    if path.name != "CHANGELOG.md"
]
per_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix()
)


@per_document
def test_links_lead_somewhere(path):
    targets = re.findall(
        r"\]\(([^)#\s]+)[^)]*\)|src=\"([^\"]+)\"", path.read_text(encoding="utf-8")
    )
    broken = [
        target
        for target in itertools.chain(*targets)
        if target and "://" not in target and not (path.parent / target).exists()
    ]
    assert not broken


@per_document
def test_paths_in_code_marks_exist(path):
    spans = re.findall(r"`([^`\s]+)`", path.read_text(encoding="utf-8"))
    files = [
        s
        for s in spans
        if re.fullmatch(r"[\w./]+/[\w.]+\.(py|pyi|md|toml|txt|html|css|js)|_\w+\.py", s)
    ]
    folders = (ROOT, PACKAGE, path.parent)
    # The recipes call the file that a reader adds `mine.py`.
    assert not [
        f
        for f in files
        if not f.endswith(("/mine.py", "/_mine.py"))
        and not any((folder / f).exists() for folder in folders)
    ]


@per_document
def test_names_in_code_marks_exist(path):
    spans = re.findall(r"`(persona_affect(?:\.\w+)+)`", path.read_text(encoding="utf-8"))
    for span in spans:
        module, _, name = span.rpartition(".")
        try:
            importlib.import_module(span)
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(module), name), span


@per_document
def test_imports_in_python_blocks_exist(path):
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    for node in itertools.chain(*(ast.walk(ast.parse(block)) for block in blocks)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("persona_affect"):
            module = importlib.import_module(node.module)
            assert not [alias.name for alias in node.names if not hasattr(module, alias.name)]


def test_the_example_of_the_readme_prints_what_it_says():
    pytest.importorskip("skimage", reason="needs the extra examples")
    failed, run = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert (failed, run) == (0, 3)


def test_the_table_of_benchmarks_has_each_script():
    folder = ROOT / "benchmarks"
    text = (folder / "README.md").read_text(encoding="utf-8")
    scripts = {path.name for path in folder.iterdir() if path.suffix in (".py", ".mjs")}
    assert set(re.findall(r"`(\w+\.(?:py|mjs))`", text)) == scripts


def test_the_architecture_names_each_module_beside_the_packages():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert not {name for name in modules if not re.search(rf"`{name}`|`{name[:-3]}`", text)}


def test_the_diagram_of_the_packages_is_that_of_the_imports():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    used_by = {}
    for line in text.split("```mermaid\n")[1].split("```")[0].splitlines()[1:]:
        steps = [re.findall(r"\w+", step) for step in line.split("-->")]
        used_by.update({name: set() for name in steps[-1] if name not in used_by})
        for sources, users in itertools.pairwise(steps):
            for source in sources:
                used_by.setdefault(source, set()).update(users)
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    packages |= {"model_selection", "distributed"}
    assert packages == set(used_by)
    assert packages == set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))

    def users_of(source):
        direct = used_by.get(source, set())
        return direct.union(*map(users_of, direct))

    graph = grimp.build_graph("persona_affect", cache_dir=None)
    for package in packages:
        graph.squash_module(f"persona_affect.{package}")
    imports = {
        (imported, importer)
        for importer in packages
        for module in graph.find_modules_directly_imported_by(f"persona_affect.{importer}")
        for imported in [module.rpartition(".")[2]]
        if imported in packages - {importer}
    }
    assert not {(a, b) for a, b in imports if b not in users_of(a)}
    # The other way round: each arrow of the diagram is an import.
    arrows = {(source, user) for source, users in used_by.items() for user in users}
    assert not arrows - imports
