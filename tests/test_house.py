"""Rules of the house that import-linter and ruff cannot state; the others are in pyproject.toml."""

import ast
import re
from pathlib import Path

import grimp
import pytest

import persona_affect

ROOT = Path(persona_affect.__file__).parent
REPOSITORY = Path(__file__).parents[1]
MODULES = sorted(ROOT.rglob("*.py"))
MAX_LINES = 400


@pytest.fixture(scope="module")
def imports():
    """Pairs of importing and imported module, those for type checking included."""
    graph = grimp.build_graph("persona_affect", cache_dir=None)
    return {
        (importer, imported)
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    }


def test_private_modules_are_imported_by_their_own_package_only(imports):
    offences = {
        (importer, imported)
        for importer, imported in imports
        for package, _, module in [imported.rpartition(".")]
        if module.startswith("_") and not f"{importer}.".startswith(f"{package}.")
    }
    assert not offences


def test_no_module_imports_the_room_that_it_is_in(imports):
    # Such an import is a cycle through `__init__`, which import-linter's contract does not see.
    # The package itself names its objects lazily and may be imported.
    assert not {
        (importer, imported)
        for importer, imported in imports
        if importer.startswith(f"{imported}.") and imported != "persona_affect"
    }


def test_modules_are_short():
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in MODULES
    }
    assert not {name for name, length in lengths.items() if length > MAX_LINES}


def test_private_names_of_scikit_learn_and_stack_levels_have_one_place():
    private, stack_levels = [], []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sklearn"):
                names = [*node.module.split("."), *(alias.name for alias in node.names)]
                private += [path.name for name in names if name.startswith("_")]
            if isinstance(node, ast.keyword) and node.arg == "stacklevel":
                stack_levels.append(path.name)
    assert set(private) == {"_sklearn.py"}
    assert stack_levels == ["_warnings.py"]


def read(name):
    return (REPOSITORY / name).read_text(encoding="utf-8")


def found(pattern, name):
    match = re.search(pattern, read(name), re.MULTILINE)
    assert match, f"{name} has nothing like {pattern}"
    return match[1]


def test_one_version():
    version = persona_affect.__version__
    # The build reads it from `__init__.py`.
    assert found(r'^dynamic = \["(.+)"\]$', "pyproject.toml") == "version"
    assert found(r'^path = "(.+)"$', "pyproject.toml") == "persona_affect/__init__.py"
    assert found(r"^version: (.+)$", "CITATION.cff") == version
    assert found(r"^## (\S+)", "CHANGELOG.md") == version.partition(".dev")[0]


def test_one_ruff():
    pinned = found(r"^ruff==(.+)$", "constraints.txt")
    assert found(r"ruff-pre-commit\n +rev: v(\S+)", ".pre-commit-config.yaml") == pinned


def test_the_oldest_scikit_learn_is_that_of_the_requirements():
    oldest = found(r'"scikit-learn>=(.+)"', "pyproject.toml")
    assert found(r'"scikit-learn==(.+)"', ".ci/run") == f"{oldest}.0"


def test_make_has_the_steps_of_the_checks():
    steps = re.findall(r"^(\w+)\(\) \{", read(".ci/run"), re.MULTILINE)
    steps.remove("readme_command")
    for pattern, name in [
        (r"^\.PHONY: (.+)$", "Makefile"),
        (r"^(\w.+):$", "Makefile"),
        (r"^    (\w.+)\) ;;$", ".ci/run"),
        (r"is none of: (.+)\"", ".ci/run"),
    ]:
        assert set(found(pattern, name).replace("|", " ").split()) == set(steps)


def test_no_archaic_words():
    words = "lest|whence|thence|manieth|albeit|thereof|hitherto|whilst|unto|anew|seldom|for ever"
    pages = [REPOSITORY / "README.md", *REPOSITORY.glob("docs/*.md"), *MODULES]
    archaic = {
        path.relative_to(REPOSITORY).as_posix(): hits
        for path in pages
        if (hits := re.findall(rf"(?i)\b({words})\b", path.read_text(encoding="utf-8")))
    }
    assert not archaic
