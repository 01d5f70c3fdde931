"""Reading state dicts from files that are not trusted, without executing code."""

from collections.abc import Mapping
from os import PathLike

import torch
from torch import Tensor

from persona_affect.exceptions import WeightsError


def read_state_dict(path: str | PathLike[str]) -> Mapping[str, Tensor]:
    """Read a torch state dict; only tensors are unpickled.

    Raises
    ------
    WeightsError
        If the file cannot be read, or holds something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive can raise any error
        raise WeightsError(
            f"weights={str(path)!r} cannot be read as a torch state dict: {error}"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"weights={str(path)!r} holds no state dict (a mapping of tensors).")
    return state
