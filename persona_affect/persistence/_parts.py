"""The parts of a model that packages register: a file names the modules to import for them."""

from collections.abc import Mapping
from typing import Any, Final

from persona_affect._optional import missing_registration
from persona_affect.faces import DETECTORS
from persona_affect.networks import BACKBONES

#: Parameters that name such a part, and where it is registered.
REGISTRIES: Final[dict[str, Mapping[str, Any]]] = {"backbone": BACKBONES, "detector": DETECTORS}


def name_packages(node: Any) -> dict[str, dict[str, str]]:
    """Return the modules that register the parts of a model, by kind ("backbones") and name.

    Parameters
    ----------
    node : dict
        The description of a model.
    """
    return {
        f"{kind}s": {name: registry[name].package for name in sorted(_find(node, kind))}
        for kind, registry in REGISTRIES.items()
    }


def require_parts(description: Mapping[str, Any]) -> None:
    """Check that all parts of the model in a file's description are registered.

    Raises
    ------
    MissingDependencyError
        If one is not; the message names the module to import.
    """
    for kind, registry in REGISTRIES.items():
        for name in _find(description["model"], kind) - registry.keys():
            raise missing_registration(kind, name, description.get(f"{kind}s", {})[name])


def _find(node: Any, parameter: str) -> set[str]:
    if node["class"] in ("Pipeline", "FeatureUnion"):
        return set().union(*(_find(step, parameter) for _, step in node["steps"]))
    name = node["parameters"].get(parameter)
    return {name} if isinstance(name, str) else set()
