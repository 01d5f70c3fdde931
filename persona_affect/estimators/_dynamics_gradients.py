"""Gradients of person filters: measured on some windows, and merged with those of others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from persona_affect.networks import DynamicsUNet

from ._dynamics_windows import Windows

#: Filters, their gradients, or features, by level; each (n_persons, channels, ...).
ByLevel = dict[str, Tensor]


class Probe:
    """Inserted into the network: stores inputs of filters, computes gradients at their outputs.

    Parameters
    ----------
    levels : sequence of str
        Levels of the filters.
    filters : callable or None
        ``(level, features) -> features``; None for filters of zero.
    """

    def __init__(
        self, levels: Sequence[str], filters: Callable[[str, Tensor], Tensor] | None = None
    ) -> None:
        self.levels, self.filters = levels, filters
        self.before: ByLevel = {}
        self.after: ByLevel = {}

    def __call__(self, level: str, features: Tensor) -> Tensor:
        """Store the features of a level, and apply its filters."""
        if level not in self.levels:
            return features
        out = features if self.filters is None else self.filters(level, features)
        if not out.requires_grad:
            # The first filters: no gradient is needed before them.
            out = out.detach().requires_grad_()
        self.before[level], self.after[level] = features.detach(), out
        return out

    def deltas(self, loss: Tensor) -> ByLevel:
        """Compute the gradients of a loss with respect to the output of each level's filters."""
        outputs = [self.after[level] for level in self.levels]
        gradients = torch.autograd.grad(loss, outputs, retain_graph=True)
        return dict(zip(self.levels, gradients, strict=True))


@dataclass(frozen=True)
class GradientSums:
    r"""Sums over windows that give the filters' gradients at scales with the same input.

    With features x before a filter, and the gradient :math:`\delta` of the sum of the losses after
    it, the gradient of the mean loss is :math:`\sum \delta (x - \bar x)^\top / n`, summed over
    windows and pixels; :math:`\bar x` is the mean over all windows of the person, by pixel. With
    lags, x is taken from the window so many frames later; a window without a partner in its clip
    adds zero, as with zero padding. Sums of two sets of windows are merged to those of both in the
    way of variances (Chan, Golub, LeVeque, 1979).

    Attributes
    ----------
    counts : torch.Tensor of shape (n_persons,), int64
        Windows.
    means : dict of str to torch.Tensor of shape (n_persons, channels, H, W)
        :math:`\bar x` by level.
    deltas : dict of int to dict of str to torch.Tensor of shape (n_persons, n_lags, channels, H, W)
        :math:`\sum \delta` over windows with a partner, by index of the scale, then by level.
    products : dict of int to dict of str to Tensor of shape (n_persons, n_lags, channels, channels)
        :math:`\sum \delta (x - \bar x)^\top` by index of the scale, then by level.
    """

    counts: Tensor
    means: ByLevel
    deltas: dict[int, ByLevel]
    products: dict[int, ByLevel]

    @classmethod
    def measure(
        cls,
        net: DynamicsUNet,
        windows: Windows,
        spacing: int,
        scales: Sequence[int],
        probe: Probe,
        margin: float,
        lags: Sequence[int] = (0,),
    ) -> "GradientSums":
        """Measure the sums on windows, in one pass of the network.

        Parameters
        ----------
        net : DynamicsUNet
            Frozen.
        windows : Windows
        spacing : int
            Distance between the frames of the network's input.
        scales : sequence of int
            Indices of scales of that spacing.
        probe : Probe
            Where the filters are, and the filters themselves.
        margin : float
            Margin of the rank loss.
        lags : sequence of int, default=(0,)
            Frames from the gradient to the features, of consecutive windows if not 0.
        """
        maps = net(windows.stack(net, spacing), probe)
        losses = windows.losses(net, maps, scales, margin)
        counts = windows.count()
        own, _ = windows.pair(0)
        totals = {level: windows.sum_by_person(x[own], own) for level, x in probe.before.items()}
        number = counts.clamp_min(1).view(-1, 1, 1, 1)
        departures = {
            level: (x - (totals[level] / number)[windows.person]).flatten(2).mT
            for level, x in probe.before.items()
        }
        means = {level: total * (1 / number) for level, total in totals.items()}
        pairs = [windows.pair(lag) for lag in lags]
        deltas: dict[int, ByLevel] = {}
        products: dict[int, ByLevel] = {}
        for k, loss in zip(scales, losses.T, strict=True):
            # The loss of a person depends only on its own filters: one pass gives all gradients.
            found = probe.deltas((loss * counts).sum())
            deltas[k] = {
                level: torch.stack([windows.sum_by_person(delta[at], at) for at, _ in pairs], 1)
                for level, delta in found.items()
            }
            products[k] = {
                level: torch.stack(
                    [
                        windows.sum_by_person(delta[at].flatten(2) @ departures[level][partner], at)
                        for at, partner in pairs
                    ],
                    1,
                )
                for level, delta in found.items()
            }
        return cls(counts, means, deltas, products)

    def cpu(self) -> "GradientSums":
        """Return the sums on the CPU."""
        deltas, products = (
            {k: {level: tensor.cpu() for level, tensor in own.items()} for k, own in table.items()}
            for table in (self.deltas, self.products)
        )
        means = {level: tensor.cpu() for level, tensor in self.means.items()}
        return GradientSums(self.counts.cpu(), means, deltas, products)

    def merge(self, other: "GradientSums") -> "GradientSums":
        """Return the sums over the windows of both."""
        counts = self.counts + other.counts
        share = (other.counts / counts.clamp_min(1)).view(-1, 1, 1, 1)
        means = {
            level: mean + share * (other.means[level] - mean) for level, mean in self.means.items()
        }
        deltas = {
            k: {x: d + other.deltas[k][x] for x, d in own.items()} for k, own in self.deltas.items()
        }
        products = {
            k: {
                level: product
                + other.products[k][level]
                + _outer(self.deltas[k][level], self.means[level] - means[level])
                + _outer(other.deltas[k][level], other.means[level] - means[level])
                for level, product in own.items()
            }
            for k, own in self.products.items()
        }
        return GradientSums(counts, means, deltas, products)

    def gradients(self) -> dict[int, ByLevel]:
        """Return the gradients of the mean losses, as `products`."""
        counts = self.counts.clamp_min(1).view(-1, 1, 1, 1)
        return {
            k: {level: product / counts for level, product in own.items()}
            for k, own in self.products.items()
        }


def _outer(deltas: Tensor, features: Tensor) -> Tensor:
    """Sum outer products over pixels; (n_persons, n_lags, channels, channels)."""
    return deltas.flatten(3) @ features.flatten(2).mT[:, None]
