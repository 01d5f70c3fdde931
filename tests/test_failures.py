"""Each line of docs/failures.md is backed by tests, which expect the errors that it names."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from persona_affect import exceptions

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs/failures.md"
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| Input |")
]
NAMED = r"`(\w+(?:Error|Warning))`"


@cache
def definitions(path):
    """Source of each function, method and assignment of a module, by its name."""
    source = path.read_text(encoding="utf-8")
    found, nodes = {}, [*ast.parse(source).body]
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            nodes.extend(node.body)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names, decorators = [node.name], node.decorator_list
        elif isinstance(node, ast.Assign):
            names, decorators = [t.id for t in node.targets if isinstance(t, ast.Name)], []
        else:
            continue
        first = min(part.lineno for part in [node, *decorators])
        for name in names:
            found[name] = "\n".join(source.splitlines()[first - 1 : node.end_lineno])
    return found


def source_of(path, name):
    """Source of a test, and of everything in its module that it uses."""
    known, wanted, sources = definitions(path), {name}, {}
    while wanted:
        name = wanted.pop()
        sources[name] = known[name]
        wanted |= {word for word in re.findall(r"\w+", known[name]) if word in known} - set(sources)
    return "\n".join(sources.values())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_each_line_has_tests_that_expect_its_errors(row):
    assert len(row) == 3, f"write `| input | answer | tests |`: {row}"
    tests = re.findall(r"`([\w/]+\.py)::(\w+)`", row[2])
    assert tests, "name a test in the last column, `folder/test_module.py::test_name`"
    sources = []
    for module, name in tests:
        assert (TESTS / module).is_file(), f"tests/{module} does not exist"
        assert name in definitions(TESTS / module), f"tests/{module} has no {name}"
        sources.append(source_of(TESTS / module, name))
    for error in re.findall(NAMED, row[1]):
        assert re.search(rf"\b{error}\b", "\n".join(sources)), f"no test here expects {error}"


def test_every_error_has_a_line():
    written = {error for _, answer, *_ in ROWS for error in re.findall(NAMED, answer)}
    assert set(exceptions.__all__) - written == {"PersonaAffectError"}
