"""Two small networks released by face-api.js: for expressions, and for age and gender.

A recognition network is trained to ignore what these two are trained to see. Where impressions are
predicted, their features therefore add information to its maps.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ._backbone import DLIB_MEAN, Backbone, check_crops, check_frames, resample_centre
from ._registry import BackboneSpec, register_backbone

#: Made by ``benchmarks/convert_faceapi_weights.py``; for its licence, see LICENSE in that folder.
FACEAPI_FILE: Final = Path(__file__).parents[1] / "models" / "faceapi.safetensors"
#: Side of the square that both networks take, in pixels.
_SIDE: Final = 112
#: Maps are averaged over this many cells a side; more cells gave no better predictions.
_CELLS: Final = 4


class _Conv(nn.Conv2d):
    """A convolution of 3 x 3 that keeps the map's size, or halves it if the stride is two.

    With stride two, an even side is padded only at its end, as in TensorFlow; torch pads both ends.
    """

    def __init__(self, n_in: int, n_out: int, stride: int = 1, *, depthwise: bool = False) -> None:
        super().__init__(
            n_in,
            n_out,
            3,
            stride=stride,
            padding=1 if stride == 1 else 0,
            groups=n_in if depthwise else 1,
            bias=not depthwise,
        )

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.stride == (1, 1) else F.pad(x, (0, 1, 0, 1)))


def _separable(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_Conv(n_in, n_in, stride, depthwise=True), nn.Conv2d(n_in, n_out, 1))


class _DenseBlock(nn.Module):
    """Four convolutions, each applied to the sum of all before; the first halves the map."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        first = _Conv(n_in, n_out, 2) if n_in == 3 else _separable(n_in, n_out, 2)
        self.convs = nn.ModuleList([first, *(_separable(n_out, n_out) for _ in range(3))])

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, n_out, h / 2, w / 2)."""
        first, *others = self.convs
        total = seen = torch.relu(first(x))
        for conv in others:
            total = total + conv(seen)
            seen = torch.relu(total)
        return seen


class _ExpressionNet(nn.Module):
    """Four dense blocks, of 32, 64, 128 and 256 channels."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 256)
        self.blocks = nn.ModuleList(map(_DenseBlock, widths[:-1], widths[1:]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (n, 3, 112, 112) to the maps of 128 (14 x 14) and 256 channels (7 x 7)."""
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps[2], maps[3]


class _Reduction(nn.Module):
    """Two separable convolutions and a max pooling, plus a strided projection; halves the map."""

    def __init__(self, n_in: int, n_out: int, *, activate: bool = True) -> None:
        super().__init__()
        self.activate = activate
        self.convs = nn.Sequential(_separable(n_in, n_out), nn.ReLU(), _separable(n_out, n_out))
        self.projection = nn.Conv2d(n_in, n_out, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in, h, w) to (n, n_out, h / 2, w / 2)."""
        y = self.convs(torch.relu(x) if self.activate else x)
        return F.max_pool2d(F.pad(y, (0, 1, 0, 1), value=-torch.inf), 3, 2) + self.projection(x)


class _Residual(nn.Module):
    """``x`` and three separable convolutions of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        convs = [module for _ in range(3) for module in (nn.ReLU(), _separable(width, width))]
        self.convs = nn.Sequential(*convs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to the same shape."""
        y: Tensor = self.convs(x)
        return x + y


class _AgeGenderNet(nn.Module):
    """A small Xception."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Conv(3, 32, 2)
        self.entry = nn.Sequential(_Reduction(32, 64, activate=False), _Reduction(64, 128))
        self.middle = nn.Sequential(_Residual(128), _Residual(128))
        self.exit = _Reduction(128, 256)
        self.last = _separable(256, 512)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (n, 3, 112, 112) to the maps of 128 (14 x 14) and 512 channels (7 x 7)."""
        middle = self.middle(self.entry(torch.relu(self.stem(x))))
        return torch.relu(middle), torch.relu(self.last(self.exit(middle)))


class FaceApi(Backbone):
    """Features of a small network of face-api.js, for expressions or for age and gender.

    The mean of its last map, and its 128-channel map averaged over 4 x 4 cells. Each of the two is
    scaled to unit length, so that both count equally.

    Parameters
    ----------
    part : {"expression", "age_gender"}
        Which network.
    crops : float or sequence of float, default=1.0
        Sides of central squares of the face chip, as fractions of its side; their features are
        concatenated.

    Attributes
    ----------
    n_features : int
        2304 (expression) or 2560 (age and gender), times the number of `crops`.
    input_size : tuple of int
        (150, 150): the same chips as :class:`ResNet29` takes.

    Raises
    ------
    ValueError
        If there is no such `part`, or `crops` are not in (0, 1].

    Notes
    -----
    The weights come with this package. According to their author, Vincent Mühler, the expression
    network was trained on public data sets and photographs from the web, and the other one on
    several public data sets of faces with ages; he does not list the photographs.

    References
    ----------
    Mühler. face-api.js, https://github.com/justadudewhohacks/face-api.js, and its fork
    https://github.com/vladmandic/face-api; after Chollet, "Xception", CVPR 2017, and Huang et al.,
    "Densely Connected Convolutional Networks", CVPR 2017.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import FaceApi
    >>> faces = torch.zeros(2, 150, 150, 3, dtype=torch.uint8)
    >>> FaceApi("expression", crops=(1.0, 0.7))(faces).shape
    torch.Size([2, 4608])
    """

    mean: Tensor
    input_size = (150, 150)
    template = "resnet29"

    def __init__(self, part: str, *, crops: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        if part not in FACEAPI_PARTS:
            raise ValueError(f"part={part!r}: choose among {list(FACEAPI_PARTS)}.")
        self.part = part
        self.crops = check_crops(crops)
        build, width = FACEAPI_PARTS[part]
        self.n_features = len(self.crops) * (width + 128 * _CELLS**2)
        self.register_buffer("mean", torch.tensor(DLIB_MEAN), persistent=False)
        self.network = build()

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
        pixels = ((frames.to(self.mean.dtype) - self.mean) / 255).permute(0, 3, 1, 2)
        blocks = []
        for crop in self.crops:
            early, last = self.network(resample_centre(pixels, crop, _SIDE))
            blocks += [last.mean((2, 3)), F.adaptive_avg_pool2d(early, _CELLS).flatten(1)]
        return torch.cat([F.normalize(block) for block in blocks], dim=1)


#: The networks and the widths of their last maps.
FACEAPI_PARTS: Final[dict[str, tuple[Callable[[], nn.Module], int]]] = {
    "expression": (_ExpressionNet, 256),
    "age_gender": (_AgeGenderNet, 512),
}


def load_faceapi_weights(network: FaceApi) -> FaceApi:
    """Load the released weights, which come with this package, into `network`, in place.

    They are stored in half precision, which is enough: the release stores most of them as bytes.
    """
    prefix, released = f"{network.part}.", load_file(FACEAPI_FILE)
    own = {name.removeprefix(prefix): w for name, w in released.items() if name.startswith(prefix)}
    network.network.load_state_dict(own)
    return network


for _part in FACEAPI_PARTS:
    register_backbone(
        BackboneSpec(
            f"faceapi_{_part}",
            partial(FaceApi, _part),
            template="resnet29",
            params=("crops",),
            load_installed=load_faceapi_weights,
            installed_weights="this package",
            license="MIT",
        )
    )
