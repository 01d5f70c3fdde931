"""SphereFace: the feature extraction module (FEM) of PersEmoN."""

from collections.abc import Iterator
from typing import Final

from torch import Tensor, nn

from ._backbone import Backbone

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
            # Published with a learning rate of zero, for these biases alone.
            bias.requires_grad_(False)

    def convs(self) -> Iterator[nn.Conv2d]:
        """Yield the two convolutions, first to last."""
        return (layer for layer in self.body if isinstance(layer, nn.Conv2d))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape."""
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

    References
    ----------
    Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017, table 2;
    initialisation as in the training definition that PersEmoN's authors released.
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
        """Turn (n, h, w, 3) RGB frames of 0..255 into (n, 3, h, w) BGR of about [-1, 1].

        Blue comes first because Caffe, in which the released weights were trained, reads so.
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
        """
        x = self.preprocess(frames)
        for stage in self.stages:
            x = stage(x)
        return self.fc5(x.flatten(1))


def init_caffe_xavier(layer: nn.Conv2d | nn.Linear) -> None:
    """Initialise in place as Caffe's ``xavier`` filler does: uniform, variance 1 / fan-in."""
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
