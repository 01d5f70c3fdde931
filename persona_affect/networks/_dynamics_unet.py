"""The generic U-net of person-specific facial dynamics: from a face to a dynamic map a scale."""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Levels after which person filters can be inserted, in the order of the forward pass.
UNET_LEVELS: Final = (
    "encoder1",
    "encoder2",
    "encoder3",
    "bottleneck",
    "decoder3",
    "decoder2",
    "decoder1",
)

_GROUPS: Final = 8


class DynamicsUNet(nn.Module):
    """U-net from one frame, or a few neighbouring ones, to one dynamic map for each scale.

    Three encoder levels and a bottleneck, each two 3x3 convolutions with group normalisation and
    ReLU; average pooling halves the resolution between them. The decoder mirrors the encoder and
    receives its features; a last convolution computes the maps.

    Parameters
    ----------
    scales : sequence of int, default=(1, 2, 4, 8)
        Temporal scales k; there is one map for each.
    context : int, default=3
        Frames of the input, odd: the published 1, or the centre frame with its neighbours.
    widths : tuple of three int, default=(8, 16, 32)
        Channels of the levels, multiples of 8.
    spacing : int or "scale", default=1
        Distance between the input's frames. ``"scale"``: as far as the window of each scale
        reaches, so that each scale needs a pass of its own.

    Attributes
    ----------
    spacings : tuple of int
        Distance between the input's frames, by scale.
    level_widths : dict of str to int
        Channels after each of `UNET_LEVELS`.

    References
    ----------
    Song et al., "Self-supervised Learning of Person-specific Facial Dynamics for Automatic
    Personality Recognition", IEEE TAC 2021: a U-net, generic to all persons. Its sizes are ours.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import DynamicsUNet
    >>> net = DynamicsUNet(scales=(1, 4), context=1, widths=(8, 8, 8)).eval()
    >>> net(torch.zeros(1, 3, 28, 24)).shape
    torch.Size([1, 2, 3, 28, 24])
    """

    def __init__(
        self,
        scales: Sequence[int] = (1, 2, 4, 8),
        context: int = 3,
        widths: tuple[int, int, int] = (8, 16, 32),
        spacing: str | int = 1,
    ) -> None:
        super().__init__()
        self.scales, self.context, self.spacing = tuple(scales), context, spacing
        self.spacings: tuple[int, ...]
        if isinstance(spacing, str):
            # A single frame has no neighbours.
            self.spacings = self.scales if context > 1 else (1,) * len(self.scales)
        else:
            self.spacings = (spacing,) * len(self.scales)
        low, middle, high = widths
        self.encoder1 = _block(3 * context, low)
        self.encoder2 = _block(low, middle)
        self.encoder3 = _block(middle, high)
        self.bottleneck = _block(high, high)
        self.decoder3 = _block(high + high, high)
        self.decoder2 = _block(high + middle, middle)
        self.decoder1 = _block(middle + low, low)
        self.head = nn.Conv2d(low, 3 * len(self.scales), 3, padding=1)
        channels = (low, middle, high, high, high, middle, low)
        self.level_widths: dict[str, int] = dict(zip(UNET_LEVELS, channels, strict=True))

    @property
    def scales_by_spacing(self) -> dict[int, list[int]]:
        """Indices of the scales whose maps one pass computes, by spacing."""
        passes: dict[int, list[int]] = {}
        for k, spacing in enumerate(self.spacings):
            passes.setdefault(spacing, []).append(k)
        return passes

    @property
    def margin(self) -> int:
        """Frames at each end of a clip that cannot be centres of windows and inputs."""
        return max(*self.scales, self.context // 2 * max(self.spacings))

    def input_offsets(self, k: int) -> list[int]:
        """Return the frames that a scale gets, relative to the centre.

        Parameters
        ----------
        k : int
            Index of the scale in `scales`.

        Returns
        -------
        list of int
            Offsets in frames, one for each of the `context` frames.
        """
        reach = self.context // 2
        return [self.spacings[k] * i for i in range(-reach, reach + 1)]

    def forward(
        self, stacks: Tensor, insert: Callable[[str, Tensor], Tensor] | None = None
    ) -> Tensor:
        """Compute the dynamic maps.

        Parameters
        ----------
        stacks : torch.Tensor of shape (n, 3 * context, H, W)
            Frames one after the other, as `stack_context` makes them; H and W at least 8. Only
            the maps of the scales at the spacing of these stacks are valid (see
            `scales_by_spacing`).
        insert : callable or None
            ``(level, features) -> features`` of the same shape: what to insert after each level.

        Returns
        -------
        torch.Tensor of shape (n, n_scales, 3, H, W)
        """

        def after(level: str, features: Tensor) -> Tensor:
            return features if insert is None else insert(level, features)

        x1 = after("encoder1", self.encoder1(stacks))
        x2 = after("encoder2", self.encoder2(_halve(x1)))
        x3 = after("encoder3", self.encoder3(_halve(x2)))
        x = after("bottleneck", self.bottleneck(_halve(x3)))
        x = after("decoder3", self.decoder3(_join(x, x3)))
        x = after("decoder2", self.decoder2(_join(x, x2)))
        x = after("decoder1", self.decoder1(_join(x, x1)))
        maps: Tensor = self.head(x)
        return maps.unflatten(1, (len(self.scales), 3))


def stack_context(frames: Tensor, centres: Tensor, context: int, spacing: int = 1) -> Tensor:
    """Stack each centre frame with its neighbours, as the network takes them.

    Parameters
    ----------
    frames : torch.Tensor of shape (n_frames, 3, H, W)
        Of one clip, in the order of time.
    centres : torch.Tensor of shape (n,), int64
        At least ``context // 2 * spacing`` frames from either end.
    context : int
        Number of frames to stack, odd.
    spacing : int, default=1
        Distance between neighbours, in frames.

    Returns
    -------
    torch.Tensor of shape (n, 3 * context, H, W)
        The channels of the earliest frame first.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import stack_context
    >>> frames = torch.arange(5.0).reshape(5, 1, 1, 1).expand(5, 3, 1, 1)
    >>> stack_context(frames, torch.tensor([2]), context=3)[0, ::3, 0, 0]
    tensor([1., 2., 3.])
    """
    reach = context // 2
    offsets = spacing * torch.arange(-reach, reach + 1, device=centres.device)
    around = centres[:, None] + offsets
    return frames[around].flatten(1, 2)


def _block(n_in: int, n_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n in (n_in, n_out):
        layers += [nn.Conv2d(n, n_out, 3, padding=1), nn.GroupNorm(_GROUPS, n_out), nn.ReLU()]
    return nn.Sequential(*layers)


def _halve(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 2, ceil_mode=True)


def _join(x: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([functional.interpolate(x, size=skip.shape[2:], mode="nearest"), skip], 1)
