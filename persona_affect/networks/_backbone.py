"""The base class of feature extraction modules (FEM), and the one for precomputed embeddings."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from persona_affect.exceptions import InvalidImageError

#: Mean red, green and blue that dlib subtracts from photographs; face-api.js uses the same.
DLIB_MEAN: Final = (122.782, 117.001, 104.298)


class Backbone(nn.Module):
    """Base of feature extractors: frames in, embeddings out, preprocessing inside.

    A backbone does its own preprocessing (channel order, scale), so that callers need not know
    about it, and a saved backbone always gets the right input.

    Attributes
    ----------
    n_features : int
        Width of the embedding.
    input_size : tuple of (height, width) or None
        Size of the aligned face that it takes, in pixels; None for embeddings.
    template : str or None
        Name of the template that its faces are aligned to, for ``FaceAligner(template=...)``; None
        if it takes other images than aligned faces.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import Backbone
    >>> class MeanColour(Backbone):
    ...     n_features, input_size, template = 3, (112, 96), "sphereface"
    ...
    ...     def forward(self, frames):
    ...         return frames.float().mean((1, 2))
    >>> MeanColour()(torch.zeros(2, 112, 96, 3)).shape
    torch.Size([2, 3])
    """

    n_features: int
    input_size: tuple[int, int] | None = None
    template: str | None = None

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
        NotImplementedError
            Here: each backbone defines it.
        """
        raise NotImplementedError


class EmbeddingAdapter(Backbone):
    """Used in place of the FEM if the input is precomputed embeddings.

    Standardises each feature, then adds a residual low-rank linear layer that starts at zero. The
    network then begins at its heads, and the four losses still share a layer that learns.

    Parameters
    ----------
    n_features : int
        Width of the embeddings.
    rank : int, default=64
        Rank of the shared layer, at most `n_features`; 0 leaves it out.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import EmbeddingAdapter
    >>> EmbeddingAdapter(128, rank=8)(torch.zeros(4, 128)).shape
    torch.Size([4, 128])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_features: int, rank: int = 64) -> None:
        super().__init__()
        self.n_features = n_features
        rank = min(rank, n_features)
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        self.residual = None
        if rank > 0:
            down, up = (
                nn.Linear(n_features, rank, bias=False),
                nn.Linear(rank, n_features, bias=False),
            )
            nn.init.zeros_(up.weight)
            self.residual = nn.Sequential(down, up)

    def standardize(
        self, embeddings: Tensor, weight: Tensor | None = None, *, common: bool = False
    ) -> None:
        """Compute the mean and spread of each feature from (n, n_features) embeddings.

        Parameters
        ----------
        embeddings : torch.Tensor of shape (n, n_features)
            Those of the training.
        weight : torch.Tensor of shape (n,), optional
            Sample weights, non-negative.
        common : bool, default=False
            Divide all features by one number, the root of their mean variance.
        """
        share = torch.ones(len(embeddings)) if weight is None else weight
        share = (share / share.sum()).to(embeddings)[:, None]
        self.mean.copy_((share * embeddings).sum(0))
        variance = (share * (embeddings - self.mean) ** 2).sum(0)
        spread = (variance.mean().expand_as(variance) if common else variance).sqrt()
        # A constant feature has no information, and must not be divided by its rounding error.
        self.scale.copy_(torch.where(spread > 1e-6 * self.mean.abs(), spread, 1.0))

    def forward(self, frames: Tensor) -> Tensor:
        """Standardize embeddings, and add the residual layers if there are any.

        Parameters
        ----------
        frames : torch.Tensor of shape (n, n_features)
            Embeddings, one for each frame.

        Returns
        -------
        torch.Tensor of shape (n, n_features)
        """
        x = (frames - self.mean) / self.scale
        return x if self.residual is None else x + self.residual(x)


def check_crops(crops: float | Sequence[float]) -> tuple[float, ...]:
    """Return the sides of central squares, as fractions of the chip's side, as a tuple."""
    shares = (crops,) if isinstance(crops, int | float) else tuple(crops)
    if not shares or not all(0 < share <= 1 for share in shares):
        raise ValueError(f"crops={crops!r}: give fractions of the chip's side, in (0, 1].")
    return shares


def check_frames(network: Backbone, frames: Tensor) -> None:
    """Raise `InvalidImageError` unless frames have the size that the network takes."""
    size = network.input_size or ()
    if frames.shape[1:] != (*size, 3):
        raise InvalidImageError(
            f"{type(network).__name__} takes frames of shape (n, {', '.join(map(str, size))}, 3), "
            f"not {tuple(frames.shape)}: align faces to its template, {network.template!r}."
        )


def resample_centre(images: Tensor, crop: float, side: int) -> Tensor:
    """Resize the central square of (n, c, h, h) images, `crop` times their side, to `side`."""
    if crop == 1 and images.shape[-1] == side:
        return images
    # The grid of `affine_grid`, bit by bit, from operations that all formats of networks have.
    line = torch.linspace(-1, 1, side).to(images) * (side - 1) / side * crop
    grid = torch.stack([line.expand(side, side), line[:, None].expand(side, side)], dim=2)
    grid = grid.expand(images.shape[0], side, side, 2)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
