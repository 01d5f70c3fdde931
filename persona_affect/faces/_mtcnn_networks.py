"""The three networks of MTCNN, and their published weights.

Zhang, Zhang, Li, Qiao. *Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks*, IEEE Signal Processing Letters 2016. The weights are those of facenet-pytorch.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import metadata
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..exceptions import WeightsError


class PNet(nn.Module):
    """Proposal network: finds the 12x12 windows with a face, and its position in them.

    Maps (n, 3, H, W) in [-1, 1] to (n, 5, h, w), with a window at every second pixel: the logit of
    a face, and the offsets of its left, top, right and bottom edge in units of the window.

    :class:`FusedPNet` computes the same faster.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 10, 3)
        self.prelu1 = nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(10, 16, 3)
        self.prelu2 = nn.PReLU(16)
        self.conv3 = nn.Conv2d(16, 32, 3)
        self.prelu3 = nn.PReLU(32)
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return torch.cat([_face_logit(self.conv4_1(x)), self.conv4_2(x)], dim=1)


class FusedPNet(nn.Module):
    """The proposal network rearranged for speed, channels last.

    The first convolution and the pooling after it take most of the time, nearly all of it for
    memory access. One convolution of 4x4 with stride 2 computes the four values of a pooling window
    as four groups of channels, and the pooling becomes a maximum over groups. The offsets are
    computed only for windows with a face.

    Parameters
    ----------
    pnet : PNet
    """

    def __init__(self, pnet: PNet) -> None:
        super().__init__()
        taps = torch.zeros(2, 2, 10, 3, 4, 4)
        for i in range(2):
            for j in range(2):
                taps[i, j, ..., i : i + 3, j : j + 3] = pnet.conv1.weight
        self.conv1 = nn.Conv2d(3, 40, 4, stride=2)
        self.prelu1 = nn.PReLU(40)
        self.conv2, self.prelu2 = pnet.conv2, pnet.prelu2
        self.conv3, self.prelu3 = pnet.conv3, pnet.prelu3
        self.score = nn.Linear(32, 1)
        self.offsets = nn.Linear(32, 4)
        self.conv1.weight = nn.Parameter(taps.flatten(0, 2))
        self.conv1.bias = nn.Parameter(pnet.get_parameter("conv1.bias").repeat(4))
        self.prelu1.weight = nn.Parameter(pnet.prelu1.weight.repeat(4))
        self.score.weight = nn.Parameter(pnet.conv4_1.weight.diff(dim=0).flatten(1))
        self.score.bias = nn.Parameter(pnet.get_parameter("conv4_1.bias").diff(dim=0))
        self.offsets.weight = nn.Parameter(pnet.conv4_2.weight.flatten(1))
        self.offsets.bias = pnet.get_parameter("conv4_2.bias")

    def forward(
        self, x: Tensor, threshold: float, odd_height: bool = False, odd_width: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Find the windows of (n, 3, H, W), H and W even, whose logit reaches `threshold`.

        `odd_height` and `odd_width` say that the last row or column is padding of an odd image: the
        pooling then ignores the values computed from it.

        Returns
        -------
        places : Tensor of int64, shape (m, 3)
            Image, row and column of the windows, of H // 2 - 5 rows and W // 2 - 5 columns.
        values : Tensor, shape (m, 5)
            Their logits and offsets.
        """
        x = self.prelu1(self.conv1(x))
        if odd_height:
            x[:, 20:, -1] = x[:, :20, -1]
        if odd_width:
            x[:, 10:20, :, -1], x[:, 30:, :, -1] = x[:, :10, :, -1], x[:, 20:30, :, -1]
        x = torch.maximum(x[:, :20], x[:, 20:])
        x = torch.maximum(x[:, :10], x[:, 10:])
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x)))).permute(0, 2, 3, 1)
        logits = self.score(x)
        passed = logits[..., 0] >= threshold
        return passed.nonzero(), torch.cat([logits[passed], self.offsets(x[passed])], dim=1)


class MaxPool(nn.Module):
    """The same as ``MaxPool2d(3, 2, ceil_mode=True)``, along the height and then the width.

    On channels last it is twice as fast as torch's kernel, which also computes the indices.
    """

    def forward(self, x: Tensor) -> Tensor:
        x = _halve(x[:, :, 0::2], x[:, :, 1::2], 2)
        return _halve(x[..., 0::2], x[..., 1::2], 3)


def _halve(even: Tensor, odd: Tensor, dim: int) -> Tensor:
    """Return the maximum of each odd slice and the even ones on both sides of it."""
    width, beside = odd.shape[dim], even.shape[dim] - 1
    pooled = torch.maximum(even.narrow(dim, 0, width), odd)
    right = pooled.narrow(dim, 0, beside)
    torch.maximum(right, even.narrow(dim, 1, beside), out=right)
    return pooled


class RNet(nn.Module):
    """Refinement network: (n, 3, 24, 24) to logits (n, 1) and corner offsets (n, 4).

    Attributes
    ----------
    side : int
        Side of the crops, in pixels.
    batch : int
        Largest number of crops in one pass. Intermediate values of so few crops fit into the
        processor's cache, and the allocator reuses their memory: new pages would take as much time
        as the arithmetic.
    """

    side, batch = 24, 32

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 28, 3)
        self.prelu1 = nn.PReLU(28)
        self.pool1 = MaxPool()
        self.conv2 = nn.Conv2d(28, 48, 3)
        self.prelu2 = nn.PReLU(48)
        self.pool2 = MaxPool()
        self.conv3 = nn.Conv2d(48, 64, 2)
        self.prelu3 = nn.PReLU(64)
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.prelu3(self.conv3(x))
        x = self.prelu4(self.dense4(_flatten(x)))
        return _face_logit(self.dense5_1(x)), self.dense5_2(x)


class ONet(nn.Module):
    """Output network: (n, 3, 48, 48) to logits (n, 1), corner offsets (n, 4), landmarks (n, 2, 5).

    x and y of the landmarks are in units of the window, from its corner: left eye, right eye, nose,
    left and right mouth corner, as the viewer sees them.

    Attributes
    ----------
    side, batch : int
        As in :class:`RNet`.
    """

    side, batch = 48, 8

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.prelu1 = nn.PReLU(32)
        self.pool1 = MaxPool()
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.prelu2 = nn.PReLU(64)
        self.pool2 = MaxPool()
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.prelu3 = nn.PReLU(64)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv4 = nn.Conv2d(64, 128, 2)
        self.prelu4 = nn.PReLU(128)
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.pool3(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.conv4(x))
        x = self.prelu5(self.dense5(_flatten(x)))
        return _face_logit(self.dense6_1(x)), self.dense6_2(x), self.dense6_3(x).view(-1, 2, 5)


def _face_logit(x: Tensor) -> Tensor:
    """Turn the logits of (no face, face) into one, whose sigmoid is the probability of a face."""
    return x[:, 1:] - x[:, :1]


def _flatten(x: Tensor) -> Tensor:
    """Flatten in the order of the weights, which come from a column-major framework."""
    return x.permute(0, 3, 2, 1).flatten(1)


@lru_cache(maxsize=4)
def load_networks(device: str) -> tuple[FusedPNet, RNet, ONet]:
    """Return the three networks with their published weights, loaded once for each device.

    Raises
    ------
    WeightsError
        If facenet-pytorch, which contains the weight files, is not installed or is damaged.
    """
    pnet, rnet, onet = PNet(), RNet(), ONet()
    pnet.load_state_dict(_read_weights("pnet.pt"))
    rnet.load_state_dict(_read_weights("rnet.pt"))
    onet.load_state_dict(_read_weights("onet.pt"))
    return _settle(FusedPNet(pnet), device), _settle(rnet, device), _settle(onet, device)


@lru_cache(maxsize=1)
def weights_digest() -> str:
    """Compute a SHA-256 checksum of the published weights."""
    total = hashlib.sha256()
    for name in ("pnet.pt", "rnet.pt", "onet.pt"):
        for key, tensor in _read_weights(name).items():
            total.update(key.encode())
            total.update(tensor.contiguous().numpy().tobytes())
    return total.hexdigest()


Network = TypeVar("Network", bound=nn.Module)


def _settle(network: Network, device: str) -> Network:
    network = network.eval().requires_grad_(False).to(device)
    # Pixels are channels last; weights in the same layout need no conversion at every call.
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def _read_weights(name: str) -> dict[str, Tensor]:
    """Read a weight file of the installed facenet-pytorch without importing it.

    Its code needs torchvision, which may not match the installed torch.
    """
    try:
        files = metadata.distribution("facenet-pytorch").files or []
        path = next(file.locate() for file in files if file.parts[-2:] == ("data", name))
        weights: dict[str, Tensor] = torch.load(str(path), map_location="cpu", weights_only=True)
    except (metadata.PackageNotFoundError, StopIteration, OSError, RuntimeError) as error:
        raise WeightsError(
            f"the face detector's weights {name!r} cannot be read ({error}); install them with "
            "`pip install facenet-pytorch`."
        ) from error
    return weights
