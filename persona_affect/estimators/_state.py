"""What a fitted estimator knows, as plain facts and named tensors: all it takes to build it again.

`pack` and `unpack` are each other's inverse. What is unpacked may come from a file that anyone
wrote: networks are first built without memory, and their sizes compared with the tensors'.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from persona_affect._device import resolve_loaded_device
from persona_affect.networks import RAM, Backbone, DynamicsUNet, EmbeddingAdapter
from persona_affect.objectives import PersEmoNLoss

from ._assembly import make_network
from ._dynamics import PersonDynamicsEncoder
from ._dynamics_adaptation import Whitening
from ._dynamics_samples import check_shapes
from ._embedder import FaceEmbedder
from ._joint import JointAffectEstimator
from ._kernel_features import KernelFeatures
from ._ram import RAMRegressor, make_ram_net
from ._targets import Targets, TargetScaler
from ._training import AffectNet, settle

Facts: TypeAlias = dict[str, Any]
Tensors: TypeAlias = dict[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)

_KERNEL_ARRAYS: Final = ("mean_", "components_", "centres_", "normalization_")


def pack(estimator: BaseEstimator) -> tuple[Facts, Tensors]:
    """Take a fitted estimator's state out.

    Parameters
    ----------
    estimator : one of those that `_STATES` names

    Returns
    -------
    facts : dict
        Of what JSON knows.
    tensors : dict of str to torch.Tensor
        On the CPU, contiguous.
    """
    facts, tensors = _STATES[type(estimator).__name__][0](estimator)
    return facts, {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def unpack(estimator: BaseEstimator, facts: Facts, tensors: Tensors) -> None:
    """Put a state back into an unfitted estimator, in place.

    Raises
    ------
    KeyError, TypeError, ValueError, RuntimeError
        If facts, tensors and the estimator's parameters do not belong together.
    """
    tensors = dict(tensors)
    with torch.random.fork_rng(devices=[]):
        _STATES[type(estimator).__name__][1](estimator, facts, tensors)
    if tensors:
        raise ValueError(f"nothing takes the tensors {sorted(tensors)}")


def _pack_joint(model: JointAffectEstimator) -> tuple[Facts, Tensors]:
    network, losses = model.net_.module_, model.net_.criterion_.weights
    facts = {
        "target_names": model.target_names_,
        "personality": model.personality_names_,
        "emotion": model.emotion_names_,
        "one_dimensional": model._one_dimensional,
        "lambdas": {f"lambda_{term}": weight for term, weight in losses.items()},
        "n_features": None if network.fem.input_size is not None else network.fem.n_features,
        "history": list(model.history_.columns),
        **_pack_inputs(model),
    }
    tensors = {
        **_under("network", network.state_dict()),
        **_under("targets", _pack_scaler(model._scaler)),
        **_under("history", _pack_table(model.history_)),
    }
    return facts, tensors


def _unpack_joint(model: JointAffectEstimator, facts: Facts, tensors: Tensors) -> None:
    personality, emotion = _names(facts["personality"]), _names(facts["emotion"])
    names = _names(facts["target_names"])
    if sorted(names) != sorted(personality + emotion):
        raise ValueError(f"the targets {names} are not {personality} and {emotion}")
    targets = Targets(
        np.empty((0, len(names))), personality, emotion, names, bool(facts["one_dimensional"])
    )
    lambdas = {name: float(weight) for name, weight in facts["lambdas"].items()}
    width = facts["n_features"]

    def build() -> nn.Module:
        backbone: Backbone
        if width is None:
            backbone = model._make_backbone(None)
        else:
            backbone = EmbeddingAdapter(width, model.adapter_rank)
        return make_network(model, backbone, targets, lambdas)[0]

    network = _fill(build, _take("network", tensors))
    net = AffectNet(
        network,
        PersEmoNLoss(**lambdas, regression=model.loss),
        batch_size=model.batch_size,
        precision=model.precision,
        device=resolve_loaded_device(model.device),
        train_split=None,
        verbose=0,
        callbacks__print_log=None,
    ).initialize()
    settle(net)
    scaler = _unpack_scaler(_take("targets", tensors), len(names))
    model._keep(net, _unpack_table(facts["history"], tensors), targets, scaler)
    _unpack_inputs(model, facts, width)


def _pack_ram(model: RAMRegressor) -> tuple[Facts, Tensors]:
    facts = {
        "target_names": model.target_names_,
        "one_dimensional": model._one_dimensional,
        "history": list(model.history_.columns),
        **_pack_inputs(model),
    }
    tensors = {
        **_under("network", model.net_.module_.state_dict()),
        **_under("inputs", _pack_scaler(model._input)),
        **_under("targets", _pack_scaler(model._output)),
        **_under("history", _pack_table(model.history_)),
    }
    return facts, tensors


def _unpack_ram(model: RAMRegressor, facts: Facts, tensors: Tensors) -> None:
    names, n_features = _names(facts["target_names"]), facts["n_features_in"]
    network = _fill(
        lambda: RAM(n_features, len(names), model.hidden, "identity").double(),
        _take("network", tensors),
    )
    model.net_ = make_ram_net(network, device=resolve_loaded_device(model.device)).initialize()
    settle(model.net_)
    model._input = _unpack_scaler(_take("inputs", tensors), n_features)
    model._output = _unpack_scaler(_take("targets", tensors), len(names))
    model.history_ = _unpack_table(facts["history"], tensors)
    model.target_names_ = names
    model._one_dimensional = bool(facts["one_dimensional"])
    _unpack_inputs(model, facts, n_features)


def _pack_embedder(model: FaceEmbedder) -> tuple[Facts, Tensors]:
    return {}, _under("network", model.network_.state_dict())


def _unpack_embedder(model: FaceEmbedder, facts: Facts, tensors: Tensors) -> None:
    network = _fill(
        lambda: model._make_backbone(None),
        _take("network", tensors),
    )
    model.network_, model._n_features_out = network, network.n_features


def _pack_kernel(model: KernelFeatures) -> tuple[Facts, Tensors]:
    tensors = {name: torch.from_numpy(getattr(model, name)) for name in _KERNEL_ARRAYS}
    return {"gamma": model.gamma_, **_pack_inputs(model)}, tensors


def _unpack_kernel(model: KernelFeatures, facts: Facts, tensors: Tensors) -> None:
    arrays = {name: _array(tensors.pop(name)) for name in _KERNEL_ARRAYS}
    n_features, n_centres = len(arrays["mean_"]), len(arrays["centres_"])
    rank = len(arrays["components_"])
    wanted = ((n_features,), (rank, n_features), (n_centres, rank), (n_centres, n_centres))
    for (name, array), shape in zip(arrays.items(), wanted, strict=True):
        if array.shape != shape or array.dtype.kind != "f":
            raise ValueError(f"{name} is {array.dtype} {array.shape}, not a float {shape}")
        setattr(model, name, array)
    model.gamma_ = float(facts["gamma"])
    model._n_features_out = n_features + n_centres
    _unpack_inputs(model, facts, n_features)


def _pack_dynamics(model: PersonDynamicsEncoder) -> tuple[Facts, Tensors]:
    tensors = {
        **_under("network", model.net_.state_dict()),
        **_under("before", model.whitening_.before),
        **_under("after", model.whitening_.after),
        **_under("history", _pack_table(model.history_)),
    }
    return {"history": list(model.history_.columns)}, tensors


def _unpack_dynamics(model: PersonDynamicsEncoder, facts: Facts, tensors: Tensors) -> None:
    check_shapes(model)
    network = _fill(
        lambda: DynamicsUNet(model.scales, model.context, model.widths, model.spacing),
        _take("network", tensors),
    )
    before, after = _take("before", tensors), _take("after", tensors)
    for level in model.filter_levels:
        width = network.level_widths[level]
        wanted = (len(network.scales), width, width)
        for found in (before[level], after[level]):
            if (tuple(found.shape), found.dtype) != (wanted, torch.float32):
                raise ValueError(f"the whitening of {level} is {tuple(found.shape)}, not {wanted}")
    if not before.keys() == after.keys() == set(model.filter_levels):
        raise ValueError(f"whitening of {sorted(before | after)}, not of {model.filter_levels}")
    # Copies: tensors of a file are views of its memory.
    model.whitening_ = Whitening(
        {level: tensor.clone() for level, tensor in before.items()},
        {level: tensor.clone() for level, tensor in after.items()},
    )
    model.net_ = network.requires_grad_(False)
    model.history_ = _unpack_table(facts["history"], tensors)
    model.n_iter_ = len(model.history_)


_Pack: TypeAlias = Callable[[Any], tuple[Facts, Tensors]]
_Unpack: TypeAlias = Callable[[Any, Facts, Tensors], None]
_STATES: Final[dict[str, tuple[_Pack, _Unpack]]] = {
    "FaceEmbedder": (_pack_embedder, _unpack_embedder),
    "JointAffectEstimator": (_pack_joint, _unpack_joint),
    "KernelFeatures": (_pack_kernel, _unpack_kernel),
    "PersonDynamicsEncoder": (_pack_dynamics, _unpack_dynamics),
    "RAMRegressor": (_pack_ram, _unpack_ram),
}


def _under(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _take(prefix: str, tensors: Tensors) -> Tensors:
    """Remove and return what is under a prefix."""
    names = [name for name in tensors if name.startswith(f"{prefix}.")]
    return {name.removeprefix(f"{prefix}."): tensors.pop(name) for name in names}


def _fill(build: Callable[[], Network], state: Tensors) -> Network:
    """Build a network and give it its weights; sizes are compared before memory is taken."""
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
    network = build()
    network.load_state_dict(state)
    return network.eval()


def _pack_scaler(scaler: TargetScaler) -> Tensors:
    return {
        "mean": torch.from_numpy(scaler.mean),
        "shift": torch.from_numpy(scaler.shift),
        "scale": torch.from_numpy(scaler.scale),
    }


def _unpack_scaler(tensors: Tensors, width: int) -> TargetScaler:
    for name in ("mean", "shift", "scale"):
        if tensors[name].shape != (width,) or tensors[name].dtype != torch.float64:
            raise ValueError(f"{name} is {tuple(tensors[name].shape)}, not ({width},) doubles")
    scaler = TargetScaler.__new__(TargetScaler)
    scaler.mean, scaler.shift, scaler.scale = (
        _array(tensors.pop(name)) for name in ("mean", "shift", "scale")
    )
    return scaler


def _pack_table(table: pd.DataFrame) -> Tensors:
    return {name: torch.from_numpy(table[name].to_numpy(copy=True)) for name in table.columns}


def _unpack_table(names: Any, tensors: Tensors) -> pd.DataFrame:
    columns = _take("history", tensors)
    return pd.DataFrame({name: _array(columns[name]) for name in _names(names)})


def _array(tensor: Tensor) -> NDArray[Any]:
    # A copy: tensors of a file are views of its memory.
    return tensor.numpy().copy()


def _names(names: Any) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{names!r} is no list of names")
    return names


def _pack_inputs(model: BaseEstimator) -> Facts:
    names = getattr(model, "feature_names_in_", None)
    return {
        "n_features_in": getattr(model, "n_features_in_", None),
        "feature_names_in": None if names is None else list(names),
    }


def _unpack_inputs(model: BaseEstimator, facts: Facts, width: int | None) -> None:
    if facts["n_features_in"] != width:
        raise ValueError(f"{facts['n_features_in']} features go in, but {width} are expected")
    if width is not None:
        model.n_features_in_ = width
    if facts["feature_names_in"] is not None:
        names = _names(facts["feature_names_in"])
        if len(names) != width:
            raise ValueError(f"{len(names)} feature names for {width} features")
        model.feature_names_in_ = np.array(names, dtype=object)
