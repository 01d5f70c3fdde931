"""Released SphereFace-20 weights, by path."""

import re
from collections.abc import Mapping
from os import PathLike

from torch import Tensor

from persona_affect.exceptions import WeightsError

from ._sphereface import SphereFace
from ._state_dict import read_state_dict

#: ``conv2_3.weight``: stage 2, layer 3 of the stage. Layer 1 halves the map; 2 and 3 are the first
#: residual unit, 4 and 5 the second, and so on.
_RELEASED_KEY = re.compile(
    r"(?P<kind>conv|relu)(?P<stage>[1-4])_(?P<layer>\d+)\.(?P<part>weight|bias)"
)


def _our_key(key: str) -> str | None:
    """Translate a released key into ours; None for what the FEM does not use (``fc6``)."""
    if key in ("fc5.weight", "fc5.bias"):
        return key
    match = _RELEASED_KEY.fullmatch(key)
    if match is None:
        return None
    stage, layer = int(match["stage"]) - 1, int(match["layer"])
    is_relu = match["kind"] == "relu"
    if layer == 1:
        return f"stages.{stage}.{int(is_relu)}.{match['part']}"
    unit, second = divmod(layer - 2, 2)
    return f"stages.{stage}.{2 + unit}.body.{2 * second + is_relu}.{match['part']}"


def convert_sphereface_state(released: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a released state dict's keys to those of `SphereFace`.

    Parameters
    ----------
    released : mapping of str to torch.Tensor
        With keys like ``conv1_1.weight``, ``relu1_1.weight``, ``fc5.weight``; the classifier that
        follows the embedding (``fc6``) is left out.

    Returns
    -------
    dict of str to torch.Tensor
    """
    renamed = ((_our_key(key.removeprefix("module.")), value) for key, value in released.items())
    return {key: value for key, value in renamed if key is not None}


def load_sphereface_weights(network: SphereFace, path: str | PathLike[str]) -> SphereFace:
    """Load weights from a file into `network`, in place.

    Parameters
    ----------
    network : SphereFace
        Of the file's depth.
    path : path-like
        A torch state dict, with the released keys or with ours. Only tensors are unpickled.

    Returns
    -------
    SphereFace
        `network` itself.

    Raises
    ------
    WeightsError
        If the file cannot be read, holds no state dict, or was made for another network.
    """
    state = read_state_dict(path)
    if ("fc5.weight" in state and "stages.0.0.weight" not in state) or "module.fc5.weight" in state:
        state = convert_sphereface_state(state)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"weights={str(path)!r} do not fit SphereFace of {network.depth} layers and input "
            f"{network.input_size}: {error}"
        ) from error
    return network
