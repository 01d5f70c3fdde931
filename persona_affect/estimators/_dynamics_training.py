"""Stage 1 of the dynamics encoder: faces into tensors, and the generic U-net by rank loss."""

import copy
import time
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

from persona_affect.exceptions import TrainingDivergedError
from persona_affect.networks import DynamicsUNet, stack_context
from persona_affect.objectives import rank_accuracy, rank_loss, window_scores

from ._training import Schedule

#: Grey levels that count as one: departures from the mean face are a few tens at most.
_UNIT: Final = 32.0
_MAP_PENALTY: Final = 0.01
_VALID_WINDOWS: Final = 32
_FRAMES_AT_ONCE: Final = 256


def prepare_clip(clip: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """Shrink faces, and subtract the clip's mean face.

    What stays the same throughout a clip says nothing of its dynamics: the look, the light, the
    background. With it, the network must learn from few persons to ignore it, and the filters'
    gradients carry it.

    Parameters
    ----------
    clip : ndarray of shape (T, H, W, 3), uint8
    size : tuple of (h, w)
        At most (H, W); faces are averaged over areas.

    Returns
    -------
    torch.Tensor of shape (T, 3, h, w), float32
        In units of 32 grey levels.
    """
    parts = [
        functional.adaptive_avg_pool2d(
            torch.from_numpy(clip[i : i + _FRAMES_AT_ONCE]).movedim(3, 1).float(), size
        )
        for i in range(0, len(clip), _FRAMES_AT_ONCE)
    ]
    frames = torch.cat(parts)
    return (frames - frames.mean(0)) / _UNIT


def margin_frames(net: DynamicsUNet) -> int:
    """Frames at either end of a clip that are no centre: windows and stacks must fit in."""
    return max(*net.scales, net.context // 2 * max(net.spacings))


def spread_centres(n_frames: int, margin: int, n_windows: int | None) -> Tensor:
    """Index at most `n_windows` centre frames, evenly spaced; all that fit if None."""
    fitting = n_frames - 2 * margin
    if n_windows is None or n_windows >= fitting:
        return torch.arange(margin, n_frames - margin)
    return margin + ((torch.arange(n_windows) + 0.5) * fitting / n_windows).long()


def stack_all(
    net: DynamicsUNet, clips: Sequence[Tensor], centres: Sequence[Tensor], spacing: int
) -> Tensor:
    """Stack the network's input at the centres of clips, one clip after the other."""
    pairs = zip(clips, centres, strict=True)
    return torch.cat([stack_context(clip, at, net.context, spacing) for clip, at in pairs])


def draw_maps(net: DynamicsUNet, clips: Sequence[Tensor], centres: Sequence[Tensor]) -> Tensor:
    """Draw the maps of every scale, each from the frames that it sees; (n, n_scales, 3, H, W)."""
    drawn: dict[int, Tensor] = {}
    for spacing, scales in net.passes.items():
        maps = net(stack_all(net, clips, centres, spacing))
        drawn |= {k: maps[:, k] for k in scales}
    return torch.stack([drawn[k] for k in range(len(net.scales))], 1)


def scale_scores(
    net: DynamicsUNet,
    maps: Tensor,
    frames: Tensor,
    centres: Tensor,
    *,
    scales: Iterable[int] | None = None,
    deviation: Tensor | None = None,
) -> list[Tensor]:
    """Score one clip's windows at every scale: a list of (n_centres, 2 * scale + 1).

    With `scales`, at those indices alone.
    """
    return [
        window_scores(maps[None, :, k], frames[None], centres[None], net.scales[k], deviation)[0]
        for k in (range(len(net.scales)) if scales is None else scales)
    ]


@torch.no_grad()
def ranking_accuracy(
    net: DynamicsUNet,
    clips: Sequence[Tensor],
    n_windows: int | None = None,
    seen: Iterable[int] | None = None,
) -> NDArray[np.float64]:
    """Share of pairs of frames in order, by clip and scale.

    Parameters
    ----------
    net : DynamicsUNet
    clips : sequence of torch.Tensor of shape (T, 3, H, W)
    n_windows : int or None
        Windows a clip, evenly spaced; all if None.
    seen : iterable of int or None
        Frames of a window that do not count, from its centre; at each scale those that its map is
        drawn from if None.

    Returns
    -------
    ndarray of shape (n_clips, n_scales)
        NaN for a scale of which fewer than two frames count.
    """
    rows = []
    for frames in clips:
        centres = spread_centres(len(frames), margin_frames(net), n_windows).to(frames.device)
        maps = draw_maps(net, [frames], [centres])
        rows.append(
            [
                rank_accuracy(scores, net.seen(k) if seen is None else seen).mean().item()
                for k, scores in enumerate(scale_scores(net, maps, frames, centres))
            ]
        )
    return np.array(rows)


def train_generic(
    net: DynamicsUNet,
    clips: Sequence[Tensor],
    held_out: Sequence[Tensor],
    *,
    max_epochs: int,
    batch_size: int,
    windows_per_clip: int,
    learning_rate: float,
    weight_decay: float,
    margin: float,
    patience: int,
    verbose: bool,
) -> pd.DataFrame:
    """Train the generic U-net in place, on all scales together.

    Parameters
    ----------
    net : DynamicsUNet
    clips, held_out : sequence of torch.Tensor of shape (T, 3, H, W)
        With `held_out`, training ends after `patience` epochs without a better accuracy there, and
        the best weights are kept.
    max_epochs, batch_size, windows_per_clip : int
        An epoch shows every clip once, `batch_size` clips a step, `windows_per_clip` windows each.
    learning_rate, weight_decay : float
        Of AdamW; the rate warms up, then falls to zero along a cosine.
    margin : float
        Of the rank loss.
    patience : int
    verbose : bool

    Returns
    -------
    pandas.DataFrame
        A row an epoch: `epoch`, `train_loss`, with `held_out` also `valid_accuracy` (mean over the
        scales), and `seconds`.

    Raises
    ------
    TrainingDivergedError
        If the loss becomes infinite or NaN.
    """
    optimizer = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=weight_decay)
    n_steps = max_epochs * -(-len(clips) // batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, Schedule("cosine", n_steps))
    # Where no scale has two frames that its map was not drawn from, all frames count.
    judged = any(
        len({*range(-scale, scale + 1)} - {*net.seen(k)}) > 1 for k, scale in enumerate(net.scales)
    )
    seen = None if judged else ()
    history: list[dict[str, float]] = []
    best, best_epoch, best_state = -np.inf, 0, copy.deepcopy(net.state_dict())
    bar = tqdm(range(max_epochs), desc="Training", unit="epoch", disable=not verbose)
    for epoch in bar:
        start = time.perf_counter()
        net.train()
        losses = []
        for batch in torch.randperm(len(clips)).split(batch_size):
            loss = _batch_loss(net, [clips[i] for i in batch], windows_per_clip, margin)
            if not torch.isfinite(loss):
                raise TrainingDivergedError(
                    f"The loss became {loss.item()} in epoch {epoch + 1}; "
                    f"lower learning_rate={learning_rate}."
                )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        net.eval()
        row: dict[str, float] = {"epoch": epoch + 1, "train_loss": float(np.mean(losses))}
        if held_out:
            row["valid_accuracy"] = float(
                np.nanmean(ranking_accuracy(net, held_out, _VALID_WINDOWS, seen))
            )
        bar.set_postfix({name: f"{value:.3f}" for name, value in row.items() if name != "epoch"})
        history.append(row | {"seconds": time.perf_counter() - start})
        if held_out:
            if row["valid_accuracy"] > best:
                best, best_epoch = row["valid_accuracy"], epoch
                best_state = copy.deepcopy(net.state_dict())
            elif epoch - best_epoch >= patience:
                break
    if held_out:
        net.load_state_dict(best_state)
    net.eval()
    return pd.DataFrame(history)


def _batch_loss(
    net: DynamicsUNet, clips: Sequence[Tensor], windows_per_clip: int, margin: float
) -> Tensor:
    """Rank loss of random windows, mean over clips, windows and scales, with the maps' penalty."""
    edge = margin_frames(net)
    # Drawn on the CPU, so that a seed means the same windows on every device.
    centres = [
        (torch.randperm(len(clip) - 2 * edge)[:windows_per_clip] + edge).to(clip.device)
        for clip in clips
    ]
    maps = draw_maps(net, clips, centres)
    terms = []
    parts = maps.split([len(at) for at in centres])
    for part, clip, at in zip(parts, clips, centres, strict=True):
        terms += [rank_loss(s, margin).mean() for s in scale_scores(net, part, clip, at)]
    return torch.stack(terms).mean() + _MAP_PENALTY * maps.square().mean()
