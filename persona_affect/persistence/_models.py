"""Conversion of estimators and pipelines to JSON and tensors, and back."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from persona_affect import estimators, faces
from persona_affect._device import resolve_loaded_device
from persona_affect._random import OwnRandomness
from persona_affect._sklearn import check_params, check_step_names, output_container

from ._descriptions import MAX_DEPTH, check_parameters, without_local

#: All classes that a file can name; nothing else is ever called. They are the public estimators
#: that have ``_get_state`` and ``_set_state``: see ``estimators/_state.py``.
CLASSES: Final[dict[str, Any]] = {
    name: cls
    for package in (estimators, faces)
    for name, cls in vars(package).items()
    if name in package.__all__ and hasattr(cls, "_set_state")
}

_CONTAINERS: Final = (None, "default", "pandas", "polars")

#: What `rebuild` raises if the parts of a description do not fit each other.
NOT_A_MODEL: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def describe(model: BaseEstimator, tensors: dict[str, Tensor], prefix: str = "") -> dict[str, Any]:
    """Describe a fitted model by values that JSON can hold.

    Parameters
    ----------
    model : estimator
        Of one of `CLASSES`, or a pipeline or a union of such.
    tensors : dict of str to torch.Tensor
        Filled with the model's tensors, under `prefix`.

    Returns
    -------
    dict
        ``class``, ``parameters``, ``facts`` and ``output`` (the container that `set_output` set);
        of a pipeline ``class`` and ``steps``; of a union ``weights`` too.

    Raises
    ------
    ValueError
        If a part cannot be described in this way.
    """
    if prefix.count(".") > MAX_DEPTH:
        raise ValueError(f"Pipelines that are nested deeper than {MAX_DEPTH} cannot be saved.")
    if isinstance(model, Pipeline):
        return {"class": "Pipeline", "steps": _describe_steps(model.steps, tensors, prefix)}
    if isinstance(model, FeatureUnion):
        steps = _describe_steps(model.transformer_list, tensors, prefix)
        weights = {k: plain(v, k) for k, v in (model.transformer_weights or {}).items()}
        return {"class": "FeatureUnion", "steps": steps, "weights": weights}
    name = type(model).__name__
    if isinstance(model, estimators.ConformalAffect):
        raise ValueError(
            "ConformalAffect cannot be saved as a step: put it around the whole pipeline."
        )
    if hasattr(model, "_why_not_saved"):
        raise ValueError(f"{name} cannot be saved: {model._why_not_saved}.")
    if CLASSES.get(name) is not type(model):
        what = repr(model) if isinstance(model, str) else name
        raise ValueError(
            f"{what} cannot be saved without code; models of {sorted(CLASSES)} and pipelines and "
            "unions of them can. joblib.dump saves any."
        )
    check_is_fitted(model)
    facts, own = model._get_state()
    tensors.update({f"{prefix}{k}": v.detach().cpu().contiguous() for k, v in own.items()})
    parameters = {
        key: plain(value, f"{name}({key}=)")
        for key, value in without_local(model.get_params(deep=False)).items()
    }
    check_parameters(parameters)
    return {
        "class": name,
        "parameters": parameters,
        "facts": facts,
        "output": output_container(model),
    }


def _describe_steps(
    steps: Iterable[tuple[str, BaseEstimator]], tensors: dict[str, Tensor], prefix: str
) -> list[list[Any]]:
    # By number: a name may be the beginning of another one.
    return [
        [name, describe(step, tensors, f"{prefix}{i}.")] for i, (name, step) in enumerate(steps)
    ]


def rebuild(node: Any, tensors: Mapping[str, Tensor], prefix: str = "") -> BaseEstimator:
    """Build a model from its description, which is not trusted.

    Raises
    ------
    One of `NOT_A_MODEL`
        If the parts of the description do not fit each other.
    """
    if node["class"] in ("Pipeline", "FeatureUnion"):
        steps = [
            (name, rebuild(step, tensors, f"{prefix}{i}."))
            for i, (name, step) in enumerate(node["steps"])
        ]
        for name, step in steps[:-1] if node["class"] == "Pipeline" else steps:
            if not hasattr(step, "transform"):
                raise TypeError(f"step {name!r} is no transformer")
        composed: Pipeline | FeatureUnion
        if node["class"] == "Pipeline":
            composed = Pipeline(steps)
        else:
            weights = {name: float(weight) for name, weight in node["weights"].items()}
            composed = FeatureUnion(steps, transformer_weights=weights or None)
        # Names that scikit-learn refuses are refused here, not later.
        check_step_names(composed, [name for name, _ in steps])
        return composed
    if node["class"] not in CLASSES:
        raise ValueError(f"class {node['class']!r} is not one of {sorted(CLASSES)}")
    parameters = without_local(node["parameters"])
    check_parameters(parameters)
    model = CLASSES[node["class"]](**parameters)
    check_params(model)
    if hasattr(model, "device"):
        model.device = resolve_loaded_device(model.device)
    own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    # Networks are built with random weights, which those of the file replace.
    with OwnRandomness(0):
        model._set_state(node["facts"], own)
    if own:
        raise ValueError(f"the tensors {sorted(own)} are unknown")
    if node["output"] not in _CONTAINERS:
        raise ValueError(f"output {node['output']!r} is not one of {_CONTAINERS}")
    if node["output"] is not None:
        model.set_output(transform=node["output"])
    return model


def plain(value: Any, where: str) -> Any:
    """Convert a parameter to a value that JSON can hold."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item, where) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(item, where) for key, item in value.items()}
    hint = {
        "callbacks": "Only training needs them: set_params(callbacks=None) first.",
        "backbone": "Name one of persona_affect.networks.BACKBONES, or use joblib.dump.",
        "random_state": "Set an integer or None first.",
    }
    key = where.partition("(")[2].partition("=")[0]
    raise ValueError(
        f"{where} is {type(value).__name__}, which cannot be saved without code. "
        + hint.get(key, "Set a number, a string or a list of these first.")
    )
