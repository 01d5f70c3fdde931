"""The pages of the reference, made from ``__all__`` of each public module.

So no name can be forgotten.
"""

import importlib
import inspect
import re
from pathlib import Path

from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

API = Path(__file__).parents[1] / "api"
PACKAGE = Path(__file__).parents[2] / "persona_affect"

#: The public modules, in the order of the house: a face comes in, and numbers go out.
MODULES = {
    "persona_affect": "What most programs need",
    "persona_affect.media": "Photos, videos and cameras as RGB frames",
    "persona_affect.faces": "Find, align and follow faces",
    "persona_affect.networks": "Backbones and the networks of the papers, as torch modules",
    "persona_affect.objectives": "Losses, and terms of your own",
    "persona_affect.metrics": "Scores for labels that are partly missing",
    "persona_affect.model_selection": "Splits that keep a person on one side",
    "persona_affect.datasets": "Loaders of data sets, and rendered persons",
    "persona_affect.estimators": "More of the scikit-learn estimators",
    "persona_affect.persistence": "Models as files without code",
    "persona_affect.engines": "Faster engines, and ONNX",
    "persona_affect.annotation": "Rows for each frame and face of a clip",
    "persona_affect.inspection": "Plots, saliency, audits and cards",
    "persona_affect.protocols": "The experiments of the papers, and new heads",
    "persona_affect.distributed": "Many processes and machines",
    "persona_affect.app.web": "The web page, from Python",
    "persona_affect.exceptions": "Errors and warnings",
}

#: Documented where they are defined; scikit-learn, torch and Python describe what these inherit.
FOREIGN = (
    "BaseEstimator, RegressorMixin, TransformerMixin, ClassNamePrefixFeaturesOutMixin, "
    "MultiOutputMixin, BaseCrossValidator, GroupsConsumerMixin, BaseShuffleSplit, Module, "
    "tuple, dict, str, int, "
    "ndarray, Exception, object"
)


def public_names() -> dict[str, list[str]]:
    """Return the names that each module documents; a name of the package itself is not repeated."""
    top = {
        id(getattr(importlib.import_module("persona_affect"), name))
        for name in _names("persona_affect")
    }
    seen: set[int] = set()
    found: dict[str, list[str]] = {}
    for module in MODULES:
        owner = importlib.import_module(module)
        found[module] = []
        for name in _names(module):
            value = getattr(owner, name)
            if inspect.ismodule(value):
                continue
            described = inspect.isclass(value) or inspect.isroutine(value)
            if described and (
                id(value) in seen or (module != "persona_affect" and id(value) in top)
            ):
                continue
            seen.add(id(value))
            found[module].append(name)
    return found


def _names(module: str) -> list[str]:
    return list(importlib.import_module(module).__all__)


def find_comment(name: str) -> str:
    """Return the ``#:`` comment of a constant of the package, "" if there is none."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if not re.search(rf"^{name}\b", path.read_text(encoding="utf-8"), re.MULTILINE):
            continue
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        comments = ModuleAnalyzer.for_module(module.removesuffix(".__init__")).find_attr_docs()
        if ("", name) in comments:
            return "\n".join(comments["", name]).strip()
    return ""


def _title(text: str, mark: str) -> list[str]:
    return [text, mark * len(text), ""]


def _list(names: list[str], title: str) -> list[str]:
    if not names:
        return []
    rows = [f"   {name}" for name in names]
    return [*_title(title, "-"), ".. autosummary::", "   :toctree: generated", "", *rows, ""]


def _write_module(module: str, names: list[str]) -> str:
    owner = importlib.import_module(module)
    values = {name: getattr(owner, name) for name in names}
    classes = [name for name, value in values.items() if inspect.isclass(value)]
    functions = [name for name, value in values.items() if inspect.isroutine(value)]
    lines = [*_title(f"{module}: {MODULES[module][0].lower()}{MODULES[module][1:]}", "=")]
    lines += [
        f".. automodule:: {module}",
        "   :no-members:",
        "",
        f".. currentmodule:: {module}",
        "",
    ]
    lines += _list(classes, "Classes") + _list(functions, "Functions")
    constants = [name for name in names if name not in {*classes, *functions}]
    if constants:
        lines += _title("Constants", "-")
    for name in constants:
        comment = find_comment(name).splitlines()
        lines += [f".. py:data:: {name}", "", *(f"   {line}" for line in comment), ""]
        if not isinstance(values[name], dict) and len(repr(values[name])) < 200:
            lines += [f"   Value: ``{values[name]!r}``", ""]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    # Unchanged pages keep their time, so that they are not built again.
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _write_pages(app, config) -> None:
    API.mkdir(exist_ok=True)
    lines = _title("Reference", "=")
    lines += [
        "Every public name. Shapes, units, ranges and errors are in the description of each.",
        "",
    ]
    lines += [".. list-table::", "   :widths: 40 60", ""]
    for module, purpose in MODULES.items():
        lines += [f"   * - :doc:`{module} <{module}>`", f"     - {purpose}"]
    lines += ["", ".. toctree::", "   :hidden:", "", *(f"   {module}" for module in MODULES)]
    _write(API / "index.rst", "\n".join(lines) + "\n")
    for module, names in public_names().items():
        _write(API / f"{module}.rst", _write_module(module, names))


def _skip(app, what, name, obj, skip, options):
    # scikit-learn, torch and NumPy describe what an object of ours inherits, with links that only
    # their sites have.
    owner = getattr(obj, "__module__", None) or ""
    foreign = owner.split(".")[0] in {"sklearn", "torch", "numpy"}
    return True if foreign or re.fullmatch(r"set_\w+_request", name) else None


def _find_by_name(app, env, node, contnode):
    """Link a name of ours that another page, or another module, documents."""
    if node.get("refdomain") != "py":
        return None
    target, is_explicit = node["reftarget"], node["reftype"] != "obj"
    root, _, rest = target.partition(".")
    # Without a role, a small letter begins a parameter's name more often than a function's.
    if not is_explicit and root.islower():
        return None
    tail = re.sub(r"^persona_affect\.([a-z_]+\.)*(?=\w)", "", target)
    objects = env.get_domain("py").objects
    for module in MODULES:
        if (name := f"{module}.{tail}") in objects:
            found = objects[name]
            place = (node["refdoc"], found.docname, found.node_id)
            return make_refnode(app.builder, *place, contnode, name)
    if is_explicit and not (rest and root.islower() and root != "persona_affect"):
        logging.getLogger(__name__).warning("nothing is named %r", target, location=node)
    return None


def setup(app):
    """Register with sphinx."""
    app.connect("missing-reference", _find_by_name)
    app.connect("config-inited", _write_pages)
    app.connect("autodoc-skip-member", _skip)
    app.config.autosummary_context = {"foreign": FOREIGN}
    return {"parallel_read_safe": True}
