"""What fitted estimators compute, as torch modules: `_as_module` of each is made of these."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from persona_affect.networks import PersEmoN, PersEmoNOutput

from ._inference import average_mirrors


class MirrorAverage(nn.Module):
    """A network of faces, averaged over each face and its mirror image."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        """Map (n, height, width, 3) to (n, d)."""
        return average_mirrors(self.network, frames)


class JoinedHeads(nn.Module):
    """The heads of a PersEmoN, joined to one tensor of scaled targets.

    Parameters
    ----------
    network : PersEmoN
    read : callable
        Joins the outputs of the heads.
    """

    def __init__(self, network: PersEmoN, read: Callable[[PersEmoNOutput], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.read = read

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames, or embeddings (n, n_features), to (n, n_targets)."""
        return self.read(self.network(frames))


class HeadsAndEmbedding(nn.Module):
    """The joined heads of a PersEmoN, and its embedding, side by side.

    Parameters
    ----------
    network : PersEmoN
    read : callable
        Joins the outputs of the heads.
    """

    def __init__(self, network: PersEmoN, read: Callable[[PersEmoNOutput], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.read = read

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames, or embeddings (n, d), to (n, n_targets + n_features)."""
        output = self.network(frames)
        return torch.cat([self.read(output), output.embedding], dim=1)


class AppendedKernel(nn.Module):
    """Embeddings, followed by features of a Gaussian kernel; see `KernelFeatures`."""

    def __init__(
        self,
        mean: Tensor,
        components: Tensor,
        centres: Tensor,
        normalization: Tensor,
        *,
        gamma: float,
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("mean", mean)
        # Weights of the kernel, as those of a layer, which are fixed here.
        self.components, self.centres, self.normalization = (
            nn.Parameter(weight, requires_grad=False)
            for weight in (components, centres, normalization)
        )

    mean: Tensor

    def forward(self, X: Tensor) -> Tensor:
        """Map (n, n_features) to (n, n_features + n_components)."""
        seen = (X - self.mean) @ self.components.T
        # torch 2.6 has no function for exporting alone.
        exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
        if exporting():  # ONNX has no cdist
            squared = (seen[:, None] - self.centres).square().sum(2)
        else:
            mode = "donot_use_mm_for_euclid_dist"
            squared = torch.cdist(seen, self.centres, compute_mode=mode) ** 2
        features = torch.exp(-self.gamma * squared) @ self.normalization.T
        return torch.cat([X, features], dim=1)


class ShrunkDirections(nn.Module):
    """Embeddings, shrunk along some directions; see `NuisanceShrinkage`."""

    def __init__(self, directions: Tensor, shrinkage: Tensor) -> None:
        super().__init__()
        self.directions = nn.Parameter(directions, requires_grad=False)
        self.shrinkage = nn.Parameter(shrinkage, requires_grad=False)

    def forward(self, X: Tensor) -> Tensor:
        """Map (n, n_features) to the same shape."""
        return X - ((X @ self.directions.T) * self.shrinkage) @ self.directions


class Pick(nn.Module):
    """Columns of a matrix, in another order."""

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = list(order)

    def forward(self, X: Tensor) -> Tensor:
        """Map (n, d) to (n, len(order))."""
        return X[:, self.order]


class Affine(nn.Module):
    """``X * scale + shift`` of each column, in double precision."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: NDArray[np.floating], shift: NDArray[np.floating]) -> None:
        super().__init__()
        self.register_buffer("scale", torch.as_tensor(np.asarray(scale, float)))
        self.register_buffer("shift", torch.as_tensor(np.asarray(shift, float)))

    def forward(self, X: Tensor) -> Tensor:
        """Map (n, d) to (n, d)."""
        return X.double() * self.scale + self.shift
