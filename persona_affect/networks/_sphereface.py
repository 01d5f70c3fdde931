"""SphereFace: the feature extraction module (FEM) of PersEmoN."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from os import PathLike
from typing import Final

from torch import Tensor, nn

from persona_affect.exceptions import WeightsError

from ._backbone import Backbone, check_frames
from ._registry import BackboneSpec, register_backbone
from ._releases import Release
from ._state_dict import read_state_dict

#: Residual units in each of the four stages, by depth (SphereFace, table 2).
SPHEREFACE_UNITS: Final[dict[int, tuple[int, int, int, int]]] = {
    4: (0, 0, 0, 0),
    10: (0, 1, 2, 0),
    20: (1, 2, 4, 1),
    36: (2, 4, 8, 2),
    64: (3, 8, 16, 3),
}
_WIDTHS = (64, 128, 256, 512)


class ResidualUnit(nn.Module):
    """``x + PReLU(conv(PReLU(conv(x))))``, without batch normalisation.

    Parameters
    ----------
    channels : int
        Width of the unit's input, of both its convolutions and of its output.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import ResidualUnit
    >>> ResidualUnit(8)(torch.zeros(1, 8, 14, 12)).shape
    torch.Size([1, 8, 14, 12])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.PReLU(channels),
        )
        for conv in self.convs():
            nn.init.normal_(conv.weight, std=0.01)
            bias = conv.get_parameter("bias")
            nn.init.zeros_(bias)
            # In the published definition, these biases alone have a learning rate of zero.
            bias.requires_grad_(False)

    def convs(self) -> Iterator[nn.Conv2d]:
        """Yield the two convolutions, first to last.

        Yields
        ------
        torch.nn.Conv2d
        """
        return (layer for layer in self.body if isinstance(layer, nn.Conv2d))

    def forward(self, x: Tensor) -> Tensor:
        """Add what the two convolutions compute to their input.

        Parameters
        ----------
        x : torch.Tensor of shape (n, channels, height, width)
            Maps of the layer before.

        Returns
        -------
        torch.Tensor of shape (n, channels, height, width)
        """
        return x + self.body(x)


class SphereFace(Backbone):
    """Residual network without batch normalisation, from an aligned face to an embedding.

    Parameters
    ----------
    depth : {4, 10, 20, 36, 64}, default=20
        Number of convolutions. PersEmoN uses 20.
    n_features : int, default=512
        Width of ``fc5``, the embedding.
    input_size : tuple of (height, width), default=(112, 96)
        Size of the aligned face in pixels; multiples of 16.

    Attributes
    ----------
    stages : torch.nn.ModuleList
        Four stages; each halves the map by a convolution of stride 2, then refines it by
        residual units.
    fc5 : torch.nn.Linear
        From the flattened last map to the embedding, with no activation after it.

    Raises
    ------
    ValueError
        If there is no network of this depth, or the size is not a multiple of 16.

    References
    ----------
    Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017, table 2;
    initialisation as in the training definition that PersEmoN's authors released.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import SphereFace
    >>> SphereFace(depth=4, n_features=64)(torch.zeros(1, 112, 96, 3)).shape
    torch.Size([1, 64])
    """

    def __init__(
        self, depth: int = 20, n_features: int = 512, input_size: tuple[int, int] = (112, 96)
    ) -> None:
        super().__init__()
        if depth not in SPHEREFACE_UNITS:
            raise ValueError(f"depth={depth!r}: SphereFace has {sorted(SPHEREFACE_UNITS)} layers.")
        if any(side % 16 for side in input_size):
            raise ValueError(f"input_size={input_size!r}: both sides must be multiples of 16.")
        self.depth = depth
        self.n_features = n_features
        self.input_size = input_size
        self.template = "sphereface" if tuple(input_size) == (112, 96) else None
        self.stages = nn.ModuleList()
        for n_in, n_out, n_units in zip(
            (3, *_WIDTHS[:-1]), _WIDTHS, SPHEREFACE_UNITS[depth], strict=True
        ):
            down = nn.Conv2d(n_in, n_out, 3, stride=2, padding=1)
            init_caffe_xavier(down)
            units = [ResidualUnit(n_out) for _ in range(n_units)]
            self.stages.append(nn.Sequential(down, nn.PReLU(n_out), *units))
        height, width = (side // 16 for side in input_size)
        self.fc5 = nn.Linear(_WIDTHS[-1] * height * width, n_features)
        init_caffe_xavier(self.fc5)

    @staticmethod
    def preprocess(frames: Tensor) -> Tensor:
        """Turn frames into what the first layer takes.

        Blue comes first because the released weights were trained with Caffe, which reads BGR.

        Parameters
        ----------
        frames : torch.Tensor of shape (n, height, width, 3)
            RGB, values 0..255, uint8 or floating.

        Returns
        -------
        torch.Tensor of shape (n, 3, height, width)
            BGR, of about [-1, 1].
        """
        return (frames.flip(-1).permute(0, 3, 1, 2).float() - 127.5) / 128

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames.

        Parameters
        ----------
        frames : torch.Tensor of shape (n, height, width, 3)
            RGB, values 0..255, uint8 or floating.

        Returns
        -------
        torch.Tensor of shape (n, n_features)

        Raises
        ------
        InvalidImageError
            If the frames have another size.
        """
        check_frames(self, frames)
        x = self.preprocess(frames)
        for stage in self.stages:
            x = stage(x)
        return self.fc5(x.flatten(1))


def init_caffe_xavier(layer: nn.Conv2d | nn.Linear) -> None:
    """Initialise in place as Caffe's ``xavier`` filler does: uniform, variance 1 / fan-in."""
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


#: ``conv2_3.weight``: stage 2, layer 3 of the stage. Layer 1 halves the map; 2 and 3 are the first
#: residual unit, 4 and 5 the second, and so on.
_RELEASED_KEY = re.compile(
    r"(?P<kind>conv|relu)(?P<stage>[1-4])_(?P<layer>\d+)\.(?P<part>weight|bias)"
)


def _our_key(key: str) -> str | None:
    """Translate a released key into ours; None for a layer that the FEM does not use (``fc6``)."""
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
    released : mapping of str to torch.Tensor of any shape
        With keys like ``conv1_1.weight``, ``relu1_1.weight``, ``fc5.weight``; the classifier that
        follows the embedding (``fc6``) is left out.

    Returns
    -------
    dict of str to torch.Tensor of the same shapes
        What ``SphereFace.load_state_dict`` takes.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import convert_sphereface_state
    >>> list(convert_sphereface_state({"conv1_1.weight": torch.zeros(64, 3, 3, 3)}))
    ['stages.0.0.weight']
    """
    renamed = ((_our_key(key.removeprefix("module.")), value) for key, value in released.items())
    return {key: value for key, value in renamed if key is not None}


def load_sphereface_weights(network: SphereFace, path: str | PathLike[str]) -> SphereFace:
    """Load weights from a file into `network`, in place.

    Parameters
    ----------
    network : SphereFace
        A network of the depth of the file.
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

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import torch
    >>> from persona_affect.networks import SphereFace, load_sphereface_weights
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "sphereface4.pth")
    ...     torch.save(SphereFace(4, 16).state_dict(), path)
    ...     network = load_sphereface_weights(SphereFace(4, 16), path)
    >>> network.n_features
    16
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


#: The model of 20 October 2017, trained on CASIA-WebFace, 99.22 % on LFW as its author states. He
#: published no hash, so that none can be checked here.
_SPHEREFACE20: Final = Release(
    "https://github.com/clcarwin/sphereface_pytorch/raw/master/model/sphere20a_20171020.7z",
    "sphere20a_20171020.7z",
    None,
)

for _depth in SPHEREFACE_UNITS:
    register_backbone(
        BackboneSpec(
            f"sphereface{_depth}",
            partial(SphereFace, _depth),
            template="sphereface",
            load_weights=load_sphereface_weights,
            release=_SPHEREFACE20 if _depth == 20 else None,
        )
    )
