"""Formats of model files: what older versions of this package wrote, as this one reads it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from persona_affect.exceptions import ModelFormatError

from ._models import NOT_A_MODEL

#: Increased when older versions of this package cannot read new files.
#: 2: `backbone_params` instead of `levels` and `crops`; packages of backbones; no local settings.
FORMAT_VERSION: Final = 2


def _upgrade_format_1(description: dict[str, Any]) -> dict[str, Any]:
    """Upgrade format 1: `levels` and `crops` become `backbone_params`."""

    def upgrade_node(node: dict[str, Any]) -> dict[str, Any]:
        if "steps" in node:
            steps = [[name, upgrade_node(step)] for name, step in node["steps"]]
            return {**node, "steps": steps}
        if node["class"] not in ("FaceEmbedder", "JointAffectEstimator"):
            return node
        parameters = dict(node["parameters"])
        options = {name: parameters.pop(name, None) for name in ("levels", "crops")}
        given = {name: value for name, value in options.items() if value is not None}
        return {**node, "parameters": {**parameters, "backbone_params": given or None}}

    return {**description, "model": upgrade_node(description["model"])}


#: By format version, the function that turns a description into one of the next version.
UPGRADES: Final[dict[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {1: _upgrade_format_1}


def upgrade(description: dict[str, Any], path: Path) -> dict[str, Any]:
    """Upgrade a description to the present format.

    Raises
    ------
    ModelFormatError
        If its format is newer, or is no longer read.
    """
    version = description.get("format_version")
    wrote = description.get("libraries", {}).get("persona-affect", "?")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ModelFormatError(
            f"{path} has format {version!r}, written by persona-affect {wrote}; this version "
            f"reads formats up to {FORMAT_VERSION}. Upgrade persona-affect."
        )
    while version < FORMAT_VERSION:
        if version not in UPGRADES:
            raise ModelFormatError(
                f"{path} has format {version}, which is no longer read. Load it with the version "
                f"that wrote it, persona-affect {wrote}, and train or export it again."
            )
        try:
            description = UPGRADES[version](description)
        except NOT_A_MODEL as error:
            raise ModelFormatError(f"{path} describes no model: {error}.") from error
        version += 1
    return description
