"""The calibration of a `ConformalAffect` beside its model in a file."""

from collections.abc import Mapping
from typing import Any, Final

from sklearn.base import BaseEstimator
from torch import Tensor

from persona_affect._sklearn import check_params
from persona_affect.estimators import ConformalAffect

from ._descriptions import MAX_STEPS, check_parameters
from ._models import describe, plain, rebuild

#: Before the names of its tensors: those of a model begin with a number, or are names of its own.
_PREFIX: Final = "intervals/"


def describe_intervals(model: ConformalAffect, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Describe a calibration by values that JSON can hold, without the model that it belongs to.

    Parameters
    ----------
    model : ConformalAffect
        Fitted or conformalized.
    tensors : dict of str to torch.Tensor
        Filled with the tensors of the calibration and of the copies of the model.

    Returns
    -------
    dict
        ``parameters``, ``facts`` and ``members``, descriptions of the copies.

    Raises
    ------
    NotFittedError, ValueError
        As `describe`.
    """
    facts, own = model._get_state()
    tensors.update({f"{_PREFIX}{name}": value.contiguous() for name, value in own.items()})
    parameters = {
        name: plain(value, f"ConformalAffect({name}=)")
        for name, value in model.get_params(deep=False).items()
        if name != "estimator"
    }
    check_parameters(parameters)
    if len(model.members_) > MAX_STEPS:
        raise ValueError(
            f"{len(model.members_)} copies of the model cannot be saved, more than {MAX_STEPS}: "
            'calibrate with fewer folds, or with method="base".'
        )
    members = [
        describe(member, tensors, f"{_PREFIX}member{i}.") for i, member in enumerate(model.members_)
    ]
    return {"parameters": parameters, "facts": facts, "members": members}


def take_intervals(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove and return the tensors of a calibration."""
    return {name: tensors.pop(name) for name in list(tensors) if name.startswith(_PREFIX)}


def rebuild_intervals(
    node: Any, model: BaseEstimator, tensors: Mapping[str, Tensor]
) -> ConformalAffect:
    """Build a calibration around a model, from a description that is not trusted.

    Raises
    ------
    One of `NOT_A_MODEL`
        If the parts of the description do not fit each other.
    """
    parameters = dict(node["parameters"])
    check_parameters(parameters)
    if "estimator" in parameters:
        raise ValueError("a calibration may not set its estimator")
    result = ConformalAffect(model, **parameters)
    check_params(result)
    if len(node["members"]) > MAX_STEPS:
        raise ValueError(f"it has more than {MAX_STEPS} copies of its model")
    members = [
        rebuild(member, tensors, f"{_PREFIX}member{i}.") for i, member in enumerate(node["members"])
    ]
    own = {
        name.removeprefix(_PREFIX): tensor
        for name, tensor in tensors.items()
        if not name.startswith(f"{_PREFIX}member")
    }
    result.members_ = members
    result._set_state(node["facts"], own)
    if own:
        raise ValueError(f"the tensors {sorted(own)} are unknown")
    return result
