"""Which pixels and time scales carry the difference of a person's descriptor from others'."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from persona_affect.networks import DynamicsUNet

from ._dynamics_adaptation import WINDOWS_AT_ONCE, Whitening, measure_first_step
from ._dynamics_gradients import ByLevel, Probe
from ._dynamics_windows import Windows


def map_projection(
    net: DynamicsUNet,
    windows: Windows,
    whitening: Whitening,
    levels: Sequence[str],
    direction: NDArray[np.floating],
    *,
    learning_rate: float,
    margin: float,
    lags: Sequence[int] = (0,),
) -> Tensor:
    r"""Share the projection of one person's descriptor on a direction among scales and pixels.

    The descriptor of one step is a mean over windows of sums over pixels of products
    :math:`\delta (x - \bar x)^\top`, so that its inner product with a direction is a sum over
    windows, levels and pixels. Levels of a lower resolution are spread evenly over the pixels that
    they cover.

    Parameters
    ----------
    net : DynamicsUNet
        Frozen.
    windows : Windows
        Of one person.
    whitening : Whitening
    levels : sequence of str
    direction : ndarray of shape (n_features,)
        In the space of descriptors.
    learning_rate, margin : float
        Of the filters.
    lags : sequence of int, default=(0,)
        Of the filters, in frames.

    Returns
    -------
    torch.Tensor of shape (n_scales, height, width)
        Its sum is the inner product of the descriptor and the direction.
    """
    size = windows.clips[0].shape[-2:]
    device = windows.person.device
    by_lag = [
        _by_scale_and_level(net, levels, torch.from_numpy(part))
        for part in np.split(np.asarray(direction), len(lags))
    ]
    means: list[ByLevel] = [sums.means for sums in measure_first_step(net, windows, levels, margin)]
    maps = torch.zeros(len(net.scales), *size, device=device)
    n_windows = int(windows.count())
    for (spacing, scales), mean in zip(net.scales_by_spacing.items(), means, strict=True):
        for part in windows.split(WINDOWS_AT_ONCE, net.margin, max(map(abs, lags))):
            pairs = [part.pair(lag) for lag in lags]
            probe = Probe(levels)
            losses = part.losses(net, net(part.stack(net, spacing), probe), scales, margin)
            for k, loss in zip(scales, losses[0], strict=True):
                for level, delta in probe.deltas(loss * part.count()[0]).items():
                    departures = probe.before[level] - mean[level]
                    for weights, (at, partner) in zip(by_lag, pairs, strict=True):
                        # The whitening is symmetric: applied to the direction, it is applied once.
                        weight = whitening.apply(level, k, weights[k][level].to(device)[None])[0]
                        moved = torch.einsum("oi,nihw->nohw", weight, departures[partner])
                        share = -(delta[at] * moved).sum((0, 1)) * learning_rate / n_windows
                        maps[k] += _spread(share, size)
    return maps.cpu()


def _by_scale_and_level(
    net: DynamicsUNet, levels: Sequence[str], values: Tensor
) -> list[dict[str, Tensor]]:
    """Split a vector as `adapt` returns it; (channels, channels) by scale and level."""
    widths = [net.level_widths[level] for level in levels]
    parts = values.float().split([width**2 for _ in net.scales for width in widths])
    squares = [part.view(round(len(part) ** 0.5), -1) for part in parts]
    return [
        dict(zip(levels, squares[i : i + len(levels)], strict=True))
        for i in range(0, len(squares), len(levels))
    ]


def _spread(values: Tensor, size: Sequence[int]) -> Tensor:
    """Spread the values of large cells (h, w) over their pixels; the sum stays the same."""
    cells = torch.arange(values.numel(), device=values.device).view(1, 1, *values.shape)
    owner = functional.interpolate(cells.double(), tuple(size), mode="nearest").long().flatten()
    n_pixels = torch.bincount(owner, minlength=values.numel())
    return (values.flatten() / n_pixels)[owner].view(*size)
