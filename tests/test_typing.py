"""The public names have types: the code of users in tests/typing is clean under mypy --strict."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin, get_overloads, get_type_hints

import pytest

from persona_affect import load_model
from persona_affect.persistence import _bundled

ROOT = Path(__file__).parents[1]
FILES = sorted(ROOT.glob("tests/typing/*.py"))


def find_public_names():
    """Return the names in `__all__` of each public module, read without importing it."""
    spec = importlib.util.spec_from_file_location("api_pages", ROOT / "docs/_ext/api_pages.py")
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    for module in pages.MODULES:
        path = ROOT.joinpath(*module.split("."))
        files = (path / "__init__.pyi", path / "__init__.py", path.with_suffix(".py"))
        tree = ast.parse(next(file for file in files if file.exists()).read_text(encoding="utf-8"))
        lists = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        ]
        assert lists, f"{module} has no __all__"
        yield from ((module, name) for name in lists[0] if f"{module}.{name}" not in pages.MODULES)


def find_used_names(path):
    """Return the names that a file imports from the package and uses."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return {
        f"{node.module}.{item.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for item in node.names
        if (item.asname or item.name) in used
    }


def test_every_public_name_is_used():
    used = set().union(*map(find_used_names, FILES))
    names = set(find_public_names())
    assert len(names) > 200
    # The package itself repeats names of its modules.
    unused = {f"{owner}.{name}" for owner, name in names} - used
    assert not {name for name in unused if f"persona_affect.{name.split('.')[-1]}" not in used}


def test_editors_complete_the_names_of_the_bundled_models():
    hints = [get_type_hints(form).get("path") for form in get_overloads(load_model)]
    literals = {kind for hint in hints for kind in (hint, *get_args(hint)) if is_literal(kind)}
    names = {name for literal in literals for name in get_args(literal)}
    assert names == set(_bundled.BUNDLED_BY_NAME)
    files = {path.stem for path in _bundled.BUNDLED.parent.glob("*.safetensors")}
    # The others are parts of networks, and the model that has no name.
    assert files - names == {"faceapi", "impressions", "yunet"}


def is_literal(kind):
    return get_origin(kind) is Literal


@pytest.mark.slow
def test_mypy_is_strict_and_finds_nothing():
    # As `make lint` does, so that it reads what that has checked already, and the other way round.
    pytest.importorskip("mypy", reason="needs the extra test")
    command = [sys.executable, "-m", "mypy"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
