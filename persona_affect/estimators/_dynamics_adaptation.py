"""Stage 2 of the dynamics encoder: filters in the frozen U-net that learn one person each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor

from persona_affect.networks import DynamicsUNet, PersonFilters, from_person_mean

from ._dynamics_windows import Windows

#: Filters or their gradients, by level; each (n_persons, channels, channels).
ByLevel = dict[str, Tensor]

_DAMPING: Final = 0.1


@dataclass(frozen=True)
class Whitening:
    r"""Second moments of the factors of the filters' gradients, over the generic persons.

    The gradient of a filter is a sum of products :math:`\delta x^\top` of the loss's gradient after
    the filter and the features before it. At scale k, with :math:`A_k = E[x x^\top]` and :math:`B_k
    = E[\sum \delta \delta^\top]` (summed over pixels), :math:`B_k^{-1/2} G A_k^{-1/2}` of a single
    window has a variance of about 1 in every direction. Then features and maps that are large in
    all persons do not hide the others, and larger variation between the means of persons is signal.
    The factors are those of K-FAC (Martens and Grosse, ICML 2015; Grosse and Martens, ICML 2016),
    here to the power -1/2.

    Attributes
    ----------
    before : dict of str to torch.Tensor of shape (n_scales, channels, channels)
        :math:`A_k^{-1/2}` by level.
    after : dict of str to torch.Tensor of shape (n_scales, channels, channels)
        :math:`B_k^{-1/2}` by level.
    """

    before: ByLevel
    after: ByLevel

    @classmethod
    def identity(cls, net: DynamicsUNet, levels: Iterable[str]) -> "Whitening":
        """Make a whitening that changes nothing."""
        # Separate tensors: safetensors cannot save tensors that share memory.
        before, after = (
            {
                level: torch.eye(net.level_widths[level]).repeat(len(net.scales), 1, 1)
                for level in levels
            }
            for _ in range(2)
        )
        return cls(before, after)

    @classmethod
    def estimate(
        cls,
        net: DynamicsUNet,
        persons: Sequence[Sequence[Tensor]],
        levels: Sequence[str],
        *,
        margin: float,
        n_windows: int | None,
        device: str,
    ) -> "Whitening":
        """Estimate the moments from persons, one at a time."""
        n_scales, widths = len(net.scales), net.level_widths
        before, after = (
            {level: torch.zeros(n_scales, widths[level], widths[level]) for level in levels}
            for _ in range(2)
        )
        for clips in persons:
            windows = Windows.choose(net, [clips], n_windows, device)
            for spacing, scales in net.scales_by_spacing.items():
                probe = _Probe(levels)
                maps = net(windows.stack(net, spacing), probe)
                losses = windows.losses(net, maps, scales, margin)
                for level in levels:
                    departures = from_person_mean(probe.before[level], windows.person, 1)
                    # All scales of a pass have the same input frames, and so the same moments.
                    before[level][scales] += _second_moment(departures).cpu() / len(persons)
                for k, loss in zip(scales, losses[0], strict=True):
                    for level, delta in probe.deltas(loss).items():
                        # For each window alone, summed over pixels, like the gradient.
                        n, _, height, width = delta.shape
                        factor = n**2 * height * width / len(persons)
                        after[level][k] += factor * _second_moment(delta).cpu()
        return cls(
            {level: _inverse_root(moment) for level, moment in before.items()},
            {level: _inverse_root(moment) for level, moment in after.items()},
        )

    def apply(self, level: str, scale: int, gradient: Tensor) -> Tensor:
        """Whiten the gradients (n_persons, channels, channels) of a level, at the scale's index."""
        before, after = (
            moments[level][scale].to(gradient.device) for moments in (self.before, self.after)
        )
        return after @ gradient @ before


def adapt(
    net: DynamicsUNet,
    windows: Windows,
    whitening: Whitening,
    levels: Sequence[str],
    *,
    n_steps: int,
    learning_rate: float,
    margin: float,
) -> Tensor:
    """Train the filters of each person, for each scale, from the same start and by the same rule.

    A step is whitened gradient descent on the person's rank loss over all windows of the person.
    Before the first step all filters are zero, so that persons, and scales with the same input
    frames, share a single pass of the frozen network.

    Parameters
    ----------
    net : DynamicsUNet
        Frozen.
    windows : Windows
    whitening : Whitening
    levels : sequence of str
        Levels of the filters.
    n_steps : int
    learning_rate : float
    margin : float
        Margin of the rank loss.

    Returns
    -------
    torch.Tensor of shape (n_persons, n_scales * sum of channels ** 2)
        The filters' change, by scale, then level, then output and input channel.
    """
    filters = [
        PersonFilters(net.level_widths, levels, windows.n_persons).to(windows.person.device)
        for _ in net.scales
    ]
    alone = [(spacing, [k]) for k, spacing in enumerate(net.spacings)]
    for step in range(n_steps):
        passes = alone if step else list(net.scales_by_spacing.items())
        for spacing, scales in passes:
            own = partial(filters[scales[0]], person=windows.person) if step else None
            gradients = _gradients(net, windows, spacing, scales, _Probe(levels, own), margin)
            with torch.no_grad():
                for k, by_level in zip(scales, gradients, strict=True):
                    for level, gradient in by_level.items():
                        change = whitening.apply(level, k, gradient)
                        filters[k].weights[level] -= learning_rate * change
    columns = [own.weights[level].detach().flatten(1) for own in filters for level in levels]
    return torch.cat(columns, 1)


class _Probe:
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


def _gradients(
    net: DynamicsUNet,
    windows: Windows,
    spacing: int,
    scales: Sequence[int],
    probe: _Probe,
    margin: float,
) -> list[ByLevel]:
    """Compute gradients of each person's losses, in one pass for scales with the same input."""
    maps = net(windows.stack(net, spacing), probe)
    losses = windows.losses(net, maps, scales, margin)
    departures = {
        level: from_person_mean(x, windows.person, windows.n_persons).flatten(2).mT
        for level, x in probe.before.items()
    }
    gradients = []
    for loss in losses.T:
        # The loss of a person depends only on its own filters: the sum gives all gradients at once.
        deltas = probe.deltas(loss.sum())
        by_window = {level: d.flatten(2) @ departures[level] for level, d in deltas.items()}
        gradients.append(
            {
                level: products.new_zeros(windows.n_persons, *products.shape[1:]).index_add(
                    0, windows.person, products
                )
                for level, products in by_window.items()
            }
        )
    return gradients


def _second_moment(x: Tensor) -> Tensor:
    """Return the mean outer product of channels over windows and pixels, (channels, channels)."""
    channels = x.transpose(0, 1).flatten(1)
    return channels @ channels.T / channels.shape[1]


def _inverse_root(moment: Tensor) -> Tensor:
    """Return the inverse square root of symmetric matrices, damped by the mean eigenvalue."""
    values, vectors = torch.linalg.eigh(moment.double())
    values = values.clamp_min(0)
    damped = values + _DAMPING * values.mean(-1, keepdim=True).clamp_min(1e-30)
    return ((vectors * damped.rsqrt()[..., None, :]) @ vectors.mT).float()
