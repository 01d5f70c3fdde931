"""Helpers for the fitted state of estimators, as plain facts and named tensors.

An estimator that can be saved has two methods. Each is the inverse of the other:

``_get_state() -> (facts, tensors)``
    Facts that JSON can hold, and tensors by name, on any device.
``_set_state(facts, tensors)``
    Makes an estimator fitted whose parameters are set and checked. It removes from `tensors` those
    that it uses. Its input may come from a file that is not trusted: it raises KeyError, TypeError,
    ValueError or RuntimeError if facts, tensors and parameters do not fit each other. Networks are
    first built without memory, and their sizes compared with those of the tensors.

An estimator that cannot be saved says why in ``_why_not_saved``.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from persona_affect._arrays import check_names

from ._targets import TargetScaler

Facts: TypeAlias = dict[str, Any]
Tensors: TypeAlias = dict[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)


def add_prefix(prefix: str, tensors: Tensors) -> Tensors:
    """Name tensors ``prefix.name``."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def take(prefix: str, tensors: Tensors) -> Tensors:
    """Remove and return the tensors under a prefix."""
    names = [name for name in tensors if name.startswith(f"{prefix}.")]
    return {name.removeprefix(f"{prefix}."): tensors.pop(name) for name in names}


def fill_network(build: Callable[[], Network], state: Tensors) -> Network:
    """Build a network with given weights; sizes are compared before memory is allocated."""
    with torch.device("meta"):
        expected = build().state_dict()
    for name in sorted(expected.keys() | state.keys()):
        if name not in state or name not in expected:
            raise ValueError(f"{name} is {'missing' if name in expected else 'unknown'}")
        found, wanted = state[name], expected[name]
        if found.dtype == torch.float16:
            # Saved in half precision; networks compute in single.
            state[name] = found = found.float()
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise ValueError(
                f"{name} is {found.dtype} {tuple(found.shape)}, not {wanted.dtype} "
                f"{tuple(wanted.shape)}"
            )
        check_finite(name, found)
    network = build()
    network.load_state_dict(state)
    return network.eval()


def check_finite(name: str, tensor: Tensor) -> None:
    """Refuse NaN and infinity: predictions would be NaN, as those of samples without a face."""
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise ValueError(f"{name} contains NaN or infinity")


def pack_scaler(scaler: TargetScaler) -> Tensors:
    """Return the fitted numbers of a scaler by name."""
    return {
        "mean": torch.from_numpy(scaler.mean),
        "shift": torch.from_numpy(scaler.shift),
        "scale": torch.from_numpy(scaler.scale),
    }


def unpack_scaler(tensors: Tensors, width: int) -> TargetScaler:
    """Build a scaler of `width` columns from the result of `pack_scaler`."""
    for name in ("mean", "shift", "scale"):
        if tensors[name].shape != (width,) or tensors[name].dtype != torch.float64:
            raise ValueError(f"{name} is {tuple(tensors[name].shape)}, not ({width},) doubles")
        if torch.isinf(tensors[name]).any():  # NaN is a target that was never rated
            raise ValueError(f"{name} contains infinity")
    scaler = TargetScaler.__new__(TargetScaler)
    scaler.mean, scaler.shift, scaler.scale = (
        copy_array(tensors.pop(name)) for name in ("mean", "shift", "scale")
    )
    return scaler


def pack_table(table: pd.DataFrame) -> Tensors:
    """Return the columns of a table by name."""
    return {name: torch.from_numpy(table[name].to_numpy(copy=True)) for name in table.columns}


def unpack_table(names: Any, columns: Tensors) -> pd.DataFrame:
    """Build a table from the columns that `names` lists."""
    return pd.DataFrame({name: copy_array(columns[name]) for name in check_names(names)})


def copy_array(tensor: Tensor) -> NDArray[Any]:
    """Copy a tensor to an array; tensors from a file are views of its memory."""
    return tensor.numpy().copy()


def pack_inputs(model: BaseEstimator) -> Facts:
    """Return the number of input features, and their names."""
    names = getattr(model, "feature_names_in_", None)
    return {
        "n_features_in": getattr(model, "n_features_in_", None),
        "feature_names_in": None if names is None else list(names),
    }


def unpack_inputs(model: BaseEstimator, facts: Facts, width: int | None) -> None:
    """Set the input features, whose number must be `width`."""
    if facts["n_features_in"] != width:
        raise ValueError(f"n_features_in is {facts['n_features_in']}, but {width} is expected")
    if width is not None:
        model.n_features_in_ = width
    if facts["feature_names_in"] is not None:
        names = check_names(facts["feature_names_in"])
        if len(names) != width:
            raise ValueError(f"{len(names)} feature names for {width} features")
        model.feature_names_in_ = np.array(names, dtype=object)
