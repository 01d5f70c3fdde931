"""Every public name has a summary, described parameters, results and errors, and an example."""

import ast
import builtins
import functools
import importlib
import importlib.util
import inspect
import re
import textwrap
from pathlib import Path

import pytest
import sklearn.exceptions

from persona_affect import exceptions

numpydoc = pytest.importorskip("numpydoc.validate", reason="needs the extra test or docs")
get_doc_object = numpydoc.get_doc_object
# Hundreds of names: less than half a minute.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
#: Of numpydoc: a summary of one line in the imperative, described parameters and results, and an
#: example; the examples are run as doctests.
ASKED = {
    *("GL03", "GL08", "SS01", "SS02", "SS03", "SS06"),
    *("PR01", "PR02", "PR06", "PR07", "PR10", "RT01", "RT03", "YD01", "EX01"),
}


def find_names():
    path = ROOT / "docs/_ext/api_pages.py"
    spec = importlib.util.spec_from_file_location("api_pages", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for owner, names in module.public_names().items():
        for name in names:
            value = getattr(importlib.import_module(owner), name)
            described = inspect.isclass(value) or inspect.isroutine(value)
            # What raises an error, and what to do, is in docs/failures.md.
            if described and owner != exceptions.__name__:
                yield f"{owner}.{name}", value


NAMES = dict(find_names())
per_name = pytest.mark.parametrize("name", NAMES)


def find_problems(name):
    doc = get_doc_object(NAMES[name])
    fields = {
        name
        for item in (doc["Attributes"] if inspect.isclass(NAMES[name]) else [])
        if any(item.desc)
        for name in item.name.split(", ")
    }
    problems = set()
    for code, message in numpydoc.validate(name)["errors"]:
        missing = re.search(r"\{.*\}", message)
        # The fields of a record are its attributes.
        if (
            code == "PR01"
            and missing
            and ast.literal_eval(missing[0]) <= fields | {*("*args", "**kwargs")}
        ):
            continue
        if code == "RT01" and doc["Yields"]:
            continue
        if code in ASKED:
            problems.add(code)
    return problems


@per_name
def test_it_is_described(name):
    assert not find_problems(name)


def find_silent_units(value):
    """Return the items without a shape or a unit."""
    doc = get_doc_object(value)
    titles = ("Parameters", "Returns", "Yields", *["Attributes"] * inspect.isclass(value))
    silent = []
    for item in (item for title in titles for item in doc[title]):
        text = " ".join([item.type, *item.desc])
        array = re.search(r"ndarray|array-like|Tensor", item.type)
        if array and not re.search(r"shape|\(n|\(H|\(T|As |n_samples|dimensions", text):
            silent.append(f"{item.name}: no shape")
        measure = re.search(r"(^|_)(time|rate|duration|width|height|yaw|smooth)(_|$)", item.name)
        unit = r"pixel|[sS]econd|degree|As |Learning|learning|[Ww]idth of the|Of the face|units"
        if measure and not re.search(unit, text):
            silent.append(f"{item.name}: no unit")
    return silent


@per_name
def test_arrays_have_a_shape_and_times_and_sizes_a_unit(name):
    assert not find_silent_units(NAMES[name])


def find_methods():
    """Return the public names, the public methods of the classes, and whose code runs for each."""
    for name, value in NAMES.items():
        if not inspect.isclass(value):
            yield name, (value, None, [inspect.unwrap(value)])
            continue
        makers = [vars(value).get(maker) for maker in ("__new__", "__init__", "__post_init__")]
        yield name, (value, value, [find_code(maker) for maker in makers if maker])
        for method in dir(value):
            code = find_code(inspect.getattr_static(value, method))
            if not method.startswith("_") and is_ours(code):
                yield f"{name}.{method}", (getattr(value, method), value, [code])


def find_code(member):
    """Return the function of a method, property or decorated function."""
    member = member.fget if isinstance(member, property) else member
    return inspect.unwrap(getattr(member, "__func__", member))


def is_ours(code):
    """Tell functions with source in the package from others, and from those of dataclasses."""
    ours = inspect.isfunction(code) and code.__module__.startswith("persona_affect")
    return ours and Path(code.__code__.co_filename).is_file()


METHODS = dict(find_methods())
per_method = pytest.mark.parametrize("name", sorted(METHODS.keys() - NAMES.keys()))


@per_method
def test_a_method_is_described(name):
    doc = get_doc_object(METHODS[name][0])
    clear = all(
        re.match(r"self|[A-Z]\w+$", item.type) or "shape" in item.type for item in doc["Returns"]
    )
    ignored = {
        name
        for item in doc["Parameters"]
        for name in item.name.split(", ")
        if item.type == "ignored"
    }
    problems = {
        message
        for code, message in numpydoc.validate(name)["errors"]
        if code in ASKED - {"EX01"}
        and not (code == "RT01" and doc["Yields"])
        and not (code == "RT03" and clear)
        and not (code == "PR07" and any(f'"{name}"' in message for name in ignored))
    }
    assert not problems
    assert not find_silent_units(METHODS[name][0])


PUBLIC = {inspect.unwrap(value) for value in NAMES.values() if inspect.isroutine(value)}
EXCEPTIONS = {
    name: value
    for module in (builtins, sklearn.exceptions, exceptions)
    for name, value in vars(module).items()
    if inspect.isclass(value) and issubclass(value, Exception)
}
_AUDIT = ("to_markdown", "to_html", "save_html")
#: What a helper raises for others, but cannot raise for these.
IMPOSSIBLE = {
    # It checks the description that it wrote itself for what a stranger's file may hold.
    "persona_affect.save_model": {TypeError},
    # They ask their own `table` for the measures and features that it has.
    **{f"persona_affect.inspection.Audit.{name}": {ValueError} for name in _AUDIT},
}


@functools.cache
def read_code(code):
    """Return the statements of a function, and the names that it can see."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(code))).body[0]
    names = {**vars(builtins), **code.__globals__}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            package = names["__package__"]
            module = importlib.import_module("." * node.level + (node.module or ""), package)
            names |= {item.asname or item.name: getattr(module, item.name) for item in node.names}
    return tree.body, names


def find_value(node, names, owner):
    """Return what a name in the code stands for; None where that is not known before it runs."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            return find_code(inspect.getattr_static(owner, node.attr, None))
        module = find_value(node.value, names, owner)
        return getattr(module, node.attr, None) if inspect.ismodule(module) else None
    return None


def find_raised(node, names, owner):
    """Return the class of a raised error; also where a function of ours makes the error."""
    raised = find_value(node.func if isinstance(node, ast.Call) else node, names, owner)
    if is_ours(raised):
        hint = raised.__annotations__["return"]
        raised = EXCEPTIONS.get(hint) if isinstance(hint, str) else hint
    return raised if raised in EXCEPTIONS.values() else None


def find_errors(code, owner, path=()):
    """Return what a function and its private helpers raise and do not catch, and where."""
    body, names = read_code(code)
    errors = {}

    def visit(node, caught):
        if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            return  # It does not run here, or not always.
        found = {}
        if isinstance(node, ast.Raise) and node.exc:
            found = {find_raised(node.exc, names, owner): code.__qualname__}
        elif isinstance(node, ast.Call):
            helper = find_value(node.func, names, owner)
            if is_ours(helper) and helper not in {*path, code, *PUBLIC}:
                found = find_errors(helper, owner, (*path, code))
        for error, place in found.items():
            if error and not issubclass(error, tuple(caught)):
                errors.setdefault(error, place)
        inner = caught
        if isinstance(node, ast.Try):
            inner = [*caught, *find_caught(node.handlers, names, owner)]
        for child in ast.iter_child_nodes(node):
            tried = isinstance(node, ast.Try) and child in node.body
            visit(child, inner if tried else caught)

    for statement in body:
        visit(statement, [])
    return errors


def find_caught(handlers, names, owner):
    """Return what handlers catch and do not raise again."""
    for handler in handlers:
        again = any(isinstance(n, ast.Raise) and n.exc is None for n in ast.walk(handler))
        types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        for node in [] if again else types:
            value = find_value(node, names, owner) if node else Exception
            yield from value if isinstance(value, tuple) else [value or Exception]


def find_described(value):
    """Return the errors of the section "Raises"; a line that names none is an error itself."""
    for item in get_doc_object(value)["Raises"]:
        named = [EXCEPTIONS[word] for word in re.findall(r"\w+", item.type) if word in EXCEPTIONS]
        assert named, f"{item.type!r} is no error"
        yield from named


@pytest.mark.parametrize("name", METHODS)
def test_what_it_raises_is_described(name):
    value, owner, codes = METHODS[name]
    described = {*find_described(value), *(find_described(owner) if owner else ())}
    raised = {}
    for code in codes:
        raised |= find_errors(code, owner) if is_ours(code) else {}
    missing = {
        f"{error.__name__} of {place}"
        for error, place in raised.items()
        if not issubclass(error, tuple(described | IMPOSSIBLE.get(name, set())))
    }
    assert not missing
