"""Windows of face clips: their positions, the input of the network, and their scores."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persona_affect.media import segment_centres
from persona_affect.networks import DynamicsUNet, stack_context
from persona_affect.objectives import rank_accuracy, rank_loss, window_scores


def choose_centres(n_frames: int, margin: int, n_windows: int | None) -> Tensor:
    """Return the centre frames of at most `n_windows` windows, evenly spaced; of all if None.

    Parameters
    ----------
    n_frames : int
        Frames of the clip, more than ``2 * margin``.
    margin : int
        Frames at each end that cannot be centres (see `DynamicsUNet.margin`).
    n_windows : int or None

    Returns
    -------
    torch.Tensor of shape (n_centres,), int64
    """
    n_fitting = n_frames - 2 * margin
    if n_windows is None or n_windows >= n_fitting:
        return torch.arange(margin, n_frames - margin)
    return margin + torch.from_numpy(segment_centres(n_fitting, n_windows))


def stack_windows(
    net: DynamicsUNet, clips: Sequence[Tensor], centres: Sequence[Tensor], spacing: int
) -> Tensor:
    """Stack the network's input at the centres of clips, one clip after the other."""
    pairs = zip(clips, centres, strict=True)
    return torch.cat([stack_context(clip, at, net.context, spacing) for clip, at in pairs])


def compute_maps(net: DynamicsUNet, clips: Sequence[Tensor], centres: Sequence[Tensor]) -> Tensor:
    """Compute the maps of every scale, each from its own input; (n, n_scales, 3, H, W)."""
    by_scale: dict[int, Tensor] = {}
    for spacing, scales in net.scales_by_spacing.items():
        maps = net(stack_windows(net, clips, centres, spacing))
        by_scale |= {k: maps[:, k] for k in scales}
    return torch.stack([by_scale[k] for k in range(len(net.scales))], 1)


def score_windows(
    net: DynamicsUNet,
    maps: Tensor,
    frames: Tensor,
    centres: Tensor,
    *,
    scales: Iterable[int] | None = None,
    deviation: Tensor | None = None,
) -> list[Tensor]:
    """Score the frames of one clip's windows at every scale.

    Parameters
    ----------
    net : DynamicsUNet
    maps : torch.Tensor of shape (n_centres, n_scales, 3, H, W)
    frames : torch.Tensor of shape (T, 3, H, W)
    centres : torch.Tensor of shape (n_centres,), int64
    scales : iterable of int or None
        Indices of the scales to score; all if None.
    deviation : torch.Tensor of shape () or None
        As of `window_scores`.

    Returns
    -------
    list of torch.Tensor of shape (n_centres, 2 * scale + 1)
    """
    return [
        window_scores(maps[None, :, k], frames[None], centres[None], net.scales[k], deviation)[0]
        for k in (range(len(net.scales)) if scales is None else scales)
    ]


@torch.no_grad()
def measure_ranking(
    net: DynamicsUNet,
    clips: Sequence[Tensor],
    n_windows: int | None = None,
    exclude: Iterable[int] | None = None,
) -> NDArray[np.float64]:
    """Return the fraction of pairs of frames in the right order, by clip and scale.

    Parameters
    ----------
    net : DynamicsUNet
    clips : sequence of torch.Tensor of shape (T, 3, H, W)
    n_windows : int or None
        Windows a clip, evenly spaced; all if None.
    exclude : iterable of int or None
        Frames of a window that are not counted, relative to its centre; None for the network's
        input at each scale.

    Returns
    -------
    ndarray of shape (n_clips, n_scales)
        NaN for a scale with fewer than two counted frames.
    """
    rows = []
    for frames in clips:
        centres = choose_centres(len(frames), net.margin, n_windows).to(frames.device)
        scores = score_windows(net, compute_maps(net, [frames], [centres]), frames, centres)
        rows.append(
            [
                rank_accuracy(s, net.input_offsets(k) if exclude is None else exclude).mean().item()
                for k, s in enumerate(scores)
            ]
        )
    return np.array(rows)


@dataclass(frozen=True)
class Windows:
    """The windows of a batch of persons.

    Attributes
    ----------
    clips : list of torch.Tensor of shape (T, 3, H, W)
    centres : list of torch.Tensor of shape (n_windows,), int64
        Centre frames, by clip.
    deviations : list of torch.Tensor of shape ()
        Root mean square of each whole clip.
    person : torch.Tensor of shape (n_windows_in_all,), int64
        The person of each window, counted from 0.
    n_persons : int
    extra : torch.Tensor of shape (n_windows_in_all,), bool, or None
        Windows that only lend their features to others (see `split`); None for no such windows.
    """

    clips: list[Tensor]
    centres: list[Tensor]
    deviations: list[Tensor]
    person: Tensor
    n_persons: int
    extra: Tensor | None = None

    @classmethod
    def choose(
        cls,
        net: DynamicsUNet,
        persons: Sequence[Sequence[Tensor]],
        n_windows: int | None,
        device: str,
    ) -> "Windows":
        """Choose the windows of persons, each given as clips, by the same rule for all."""
        clips = [clip.to(device) for clips in persons for clip in clips]
        centres = [choose_centres(len(clip), net.margin, n_windows).to(device) for clip in clips]
        owners = [i for i, own in enumerate(persons) for _ in own]
        counts = torch.tensor([len(at) for at in centres])
        person = torch.tensor(owners).repeat_interleave(counts).to(device)
        deviations = [clip.square().mean().clamp_min(1e-12).sqrt() for clip in clips]
        return cls(clips, centres, deviations, person, len(persons))

    def split(self, size: int, margin: int, reach: int = 0) -> Iterator["Windows"]:
        """Yield at most `size` windows at a time, with only those frames of clips that they need.

        Parameters
        ----------
        size : int
        margin : int
            Frames that are needed at either side of a centre (see `DynamicsUNet.margin`).
        reach : int, default=0
            So many windows of the clip before and after them are added as `extra`.
        """
        ends = np.cumsum([len(at) for at in self.centres])
        if ends[-1] <= size:
            yield self
            return
        for start in range(0, ends[-1], size):
            clips, centres, deviations, persons, extra = [], [], [], [], []
            for clip, at, deviation, end in zip(
                self.clips, self.centres, self.deviations, ends, strict=True
            ):
                first = int(end) - len(at)
                low, high = max(start - first, 0), min(start + size - first, len(at))
                if low >= high:
                    continue
                added = range(max(low - reach, 0), min(high + reach, len(at)))
                own = at[added.start : added.stop]
                shift = int(own[0]) - margin
                clips.append(clip[shift : int(own[-1]) + margin + 1])
                centres.append(own - shift)
                deviations.append(deviation)
                persons.append(self.person[first + added.start : first + added.stop])
                extra += [not low <= i < high for i in added]
            yield Windows(
                clips,
                centres,
                deviations,
                torch.cat(persons),
                self.n_persons,
                torch.tensor(extra, device=self.person.device) if any(extra) else None,
            )

    def pair(self, lag: int) -> tuple[Tensor | slice, Tensor | slice]:
        """Pair each window with the one whose centre is `lag` frames later in the same clip.

        Parameters
        ----------
        lag : int
            In frames; negative for earlier ones.

        Returns
        -------
        windows, partners : torch.Tensor of shape (n_pairs,), int64, or slice
            Windows that are not `extra` and have a partner, and the partners.
        """
        if lag == 0 and self.extra is None:
            return slice(None), slice(None)
        centre = torch.cat(self.centres)
        lengths = torch.tensor([len(at) for at in self.centres], device=centre.device)
        clip = torch.arange(len(lengths), device=centre.device).repeat_interleave(lengths)
        at = torch.arange(len(centre), device=centre.device)
        at = at[(at >= -lag) & (at < len(centre) - lag)]
        valid = (clip[at] == clip[at + lag]) & (centre[at + lag] - centre[at] == lag)
        if self.extra is not None:
            valid &= ~self.extra[at]
        return at[valid], at[valid] + lag

    def count(self) -> Tensor:
        """Count the windows of each person, without `extra`."""
        return torch.bincount(
            self.person if self.extra is None else self.person[~self.extra],
            minlength=self.n_persons,
        )

    def sum_by_person(self, values: Tensor, of: Tensor | slice = slice(None)) -> Tensor:
        """Sum the values of windows, (n_windows, ...), over those of each person.

        Parameters
        ----------
        values : torch.Tensor of shape (n_windows, ...)
        of : torch.Tensor of shape (n_windows,), int64, or slice, default=all
            The windows of these values.
        """
        sums = values.new_zeros(self.n_persons, *values.shape[1:])
        return sums.index_add(0, self.person[of], values)

    def stack(self, net: DynamicsUNet, spacing: int) -> Tensor:
        """Stack the network's input, all windows one after the other."""
        return stack_windows(net, self.clips, self.centres, spacing)

    def losses(
        self, net: DynamicsUNet, maps: Tensor, scales: Sequence[int], margin: float
    ) -> Tensor:
        """Compute the rank loss of each person, mean over the windows; (n_persons, n_scales).

        It is 0 for a person without windows.

        These scores are relative to the deviation of the whole clip, those of the generic network
        to the deviation of each window. Large and quick movements of a person therefore count more
        than small and slow ones, and they show asymmetry and amplitude.
        """
        parts = maps.split([len(at) for at in self.centres])
        rows = []
        clips = zip(parts, self.clips, self.centres, self.deviations, strict=True)
        for part, clip, at, deviation in clips:
            scores = score_windows(net, part, clip, at, scales=scales, deviation=deviation)
            rows.append(torch.stack([rank_loss(s, margin) for s in scores], 1))
        return self.sum_by_person(torch.cat(rows)) / self.count().clamp_min(1)[:, None]
