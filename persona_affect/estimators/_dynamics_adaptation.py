"""Stage 2 of the dynamics encoder: filters in the frozen U-net that learn one person each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Final

import torch
from torch import Tensor

from persona_affect.networks import DynamicsUNet, PersonFilters, from_person_mean

from ._dynamics_gradients import ByLevel, GradientSums, Probe
from ._dynamics_windows import Windows

_DAMPING: Final = 0.1
#: Eight persons of 32 windows, which fit a CPU's caches.
WINDOWS_AT_ONCE: Final = 256


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
                probe = Probe(levels)
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
        """Whiten the gradients (n, channels, channels) of a level, at the scale's index."""
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
    lags: Sequence[int] = (0,),
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
    lags : sequence of int, default=(0,)
        Of the filters, in frames; others than 0 need ``n_steps=1`` and all windows.

    Returns
    -------
    torch.Tensor of shape (n_persons, n_lags * n_scales * sum of channels ** 2)
        The filters' change, by lag, then scale, then level, then output and input channel.
    """
    first = measure_first_step(net, windows, levels, margin, lags)
    if n_steps == 1:
        return describe_first_step(net, first, whitening, levels, learning_rate)
    filters = [
        PersonFilters(net.level_widths, levels, windows.n_persons).to(windows.person.device)
        for _ in net.scales
    ]
    _take_step(net, filters, first, whitening, learning_rate)
    for _ in range(n_steps - 1):
        for k, spacing in enumerate(net.spacings):
            probe = Probe(levels, partial(filters[k], person=windows.person))
            sums = GradientSums.measure(net, windows, spacing, [k], probe, margin)
            _take_step(net, filters, [sums], whitening, learning_rate)
    columns = [own.weights[level].detach().flatten(1) for own in filters for level in levels]
    return torch.cat(columns, 1)


def measure_first_step(
    net: DynamicsUNet,
    windows: Windows,
    levels: Sequence[str],
    margin: float,
    lags: Sequence[int] = (0,),
) -> list[GradientSums]:
    """Measure the gradients of filters that are zero, in one pass for scales with the same input.

    A few windows pass the network at once: memory does not grow with their number.
    """
    passes: list[GradientSums] = []
    reach = max(map(abs, lags))
    for spacing, scales in net.scales_by_spacing.items():
        parts = (
            GradientSums.measure(net, part, spacing, scales, Probe(levels), margin, lags)
            for part in windows.split(WINDOWS_AT_ONCE, net.margin, reach)
        )
        passes.append(reduce(GradientSums.merge, parts))
    return passes


def describe_first_step(
    net: DynamicsUNet,
    sums: Iterable[GradientSums],
    whitening: Whitening,
    levels: Sequence[str],
    learning_rate: float,
) -> Tensor:
    """Return the filters' change of one step, as `adapt` does, from the result of measurements."""
    changes: dict[tuple[int, str], Tensor] = {}
    for own in sums:
        for k, by_level in own.gradients().items():
            for level, gradient in by_level.items():
                change = -learning_rate * whitening.apply(level, k, gradient.flatten(0, 1))
                changes[k, level] = change.view(*gradient.shape[:2], -1)
    columns = [changes[k, level] for k in range(len(net.scales)) for level in levels]
    return torch.cat(columns, 2).flatten(1)


@torch.no_grad()
def _take_step(
    net: DynamicsUNet,
    filters: Sequence[PersonFilters],
    passes: Iterable[GradientSums],
    whitening: Whitening,
    learning_rate: float,
) -> None:
    for sums in passes:
        for k, by_level in sums.gradients().items():
            for level, gradient in by_level.items():
                change = whitening.apply(level, k, gradient[:, 0])
                filters[k].weights[level] -= learning_rate * change


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
