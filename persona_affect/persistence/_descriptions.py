"""Checks of the description in a model file, before anything is built from it."""

import unicodedata
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Final

from persona_affect._arrays import check_names
from persona_affect.media import MAX_SAMPLED_FRAMES

#: Limits far above real models: without them, the file decides how much time and memory it takes.
MAX_LENGTH: Final = 2**22
MAX_DEPTH: Final = 6
MAX_STEPS: Final = 50
_MAX_ITEMS: Final = 10_000
_MAX_NUMBER: Final = 10**6
_LIMITS: Final = {"n_frames": MAX_SAMPLED_FRAMES, "n_segments": MAX_SAMPLED_FRAMES}
#: Parameters whose integers are not sizes.
_NO_SIZES: Final = ("random_state",)

#: Parameters that belong to one machine, and their values that mean the same on all machines. Other
#: values are neither saved nor loaded: a later fit would read or write at a path of the file, or
#: start as many processes as the file says.
_LOCAL: Final[dict[str, tuple[Any, ...]]] = {
    "cache": (None,),
    "checkpoint": (None,),
    "n_jobs": (None, 1),
    "n_workers": (),
    "weights": (None, "pretrained"),
}
#: Marks of direction: text after them is shown in another order than it has.
_REORDER: Final = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
_TABLES_OF_TEXT: Final = ("polarity", "notes", "libraries", "backbones", "detectors")


def check_description(description: Any) -> None:
    """Check the types of a description, how deep its pipelines go, and its characters.

    Raises
    ------
    TypeError, ValueError
        If the description is wrong; the message says how.
    """
    if not isinstance(description, dict):
        raise TypeError("its description is not a table")
    for key in _TABLES_OF_TEXT:
        table = description.get(key, {})
        if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
            raise TypeError(f"{key} is not a table of texts")
    check_names(description.get("target_names", []))
    _check_node(description.get("model"))
    if "intervals" in description:
        _check_intervals(description["intervals"])
    for text in _flatten(description):
        if isinstance(text, str):
            check_text(text)
        elif isinstance(text, float) and not isfinite(text):
            raise ValueError(f"its description contains {text}")


def check_text(text: str) -> None:
    """Refuse characters that a terminal would execute, could not show, or would reorder text by."""
    if any(
        (unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t") or c in _REORDER for c in text
    ):
        raise ValueError(f"control characters in {text!r}")


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Check that parameters hold no code, and no extreme numbers.

    Raises
    ------
    ValueError
        If a parameter is refused; the message names it.
    """
    if parameters.get("callbacks") is not None:
        raise ValueError("a file may not set callbacks, which are code")
    for name in parameters.keys() - set(_NO_SIZES):
        items = list(_flatten(parameters[name]))
        if len(items) > _MAX_ITEMS:
            raise ValueError(f"{name} has {len(items):,} items, more than {_MAX_ITEMS:,}")
        limit = _LIMITS.get(name, _MAX_NUMBER)
        for item in items:
            if isinstance(item, int | float) and not abs(item) <= limit:  # NaN is refused too
                raise ValueError(f"{name} holds {item:.3g}, which is beyond {limit:,}")


def without_local(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out parameters that belong to the machine where the model was fitted."""
    return {
        name: value
        for name, value in parameters.items()
        if name not in _LOCAL or value in _LOCAL[name]
    }


def _check_node(node: Any, depth: int = 0) -> int:
    """Check the shape of a model's description; return how many estimators are in it."""
    if not isinstance(node, dict) or not isinstance(node.get("class"), str):
        raise TypeError("it does not describe a model")
    if depth > MAX_DEPTH:
        raise ValueError(f"pipelines are nested deeper than {MAX_DEPTH}")
    if node["class"] not in ("Pipeline", "FeatureUnion"):
        for key in ("parameters", "facts"):
            if not isinstance(node.get(key), dict):
                raise TypeError(f"{node['class']} has no table of {key}")
        return 1
    if not isinstance(node.get("steps"), list) or not node["steps"]:
        raise TypeError(f"{node['class']} has no list of steps")
    count = 0
    for step in node["steps"]:
        if not isinstance(step, list) or len(step) != 2 or not isinstance(step[0], str):
            raise TypeError(f"a step of {node['class']} is not a name with a model")
        count += _check_node(step[1], depth + 1)
    if count > MAX_STEPS:
        raise ValueError(f"it has more than {MAX_STEPS} steps")
    return count


def _check_intervals(node: Any) -> None:
    """Check the shape of the description of a calibration, and of the copies of the model."""
    if not isinstance(node, dict):
        raise TypeError("its intervals are not a table")
    for key in ("parameters", "facts"):
        if not isinstance(node.get(key), dict):
            raise TypeError(f"its intervals have no table of {key}")
    if not isinstance(node.get("members"), list):
        raise TypeError("its intervals have no list of members")
    for member in node["members"]:
        _check_node(member)


def _flatten(value: Any) -> Iterator[Any]:
    """Yield the numbers, texts and keys of a JSON value."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flatten(item)
    else:
        yield value
