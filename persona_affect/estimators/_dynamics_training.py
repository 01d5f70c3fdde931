"""Stage 1 of the dynamics encoder: the generic U-net learns the order of frames."""

import copy
import time
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from persona_affect._progress import tqdm
from persona_affect._ranks import check_equal, n_ranks, rank
from persona_affect.exceptions import TrainingDivergedError
from persona_affect.networks import DynamicsUNet
from persona_affect.objectives import rank_loss

from ._checkpoint import StateFile
from ._dynamics_windows import compute_maps, measure_ranking, score_windows
from ._ranks import average_gradients, check_layers, mean_over_ranks
from ._training import Schedule

_MAP_PENALTY: Final = 0.01
_VALID_WINDOWS: Final = 32


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
    generator: torch.Generator,
    checkpoint: StateFile | None,
    verbose: bool,
) -> pd.DataFrame:
    """Train the generic U-net in place, on all scales together.

    Of several processes that train together, each computes the clips of a batch that are its own.

    Parameters
    ----------
    net : DynamicsUNet
    clips, held_out : sequence of torch.Tensor of shape (T, 3, H, W)
        With `held_out`, training ends after `patience` epochs without a better accuracy there, and
        the best weights are kept.
    max_epochs, batch_size, windows_per_clip : int
        An epoch uses every clip once, `batch_size` clips in each step, `windows_per_clip` windows
        of each clip.
    learning_rate, weight_decay : float
        Settings of AdamW; the rate increases at first, then decreases to zero along a cosine.
    margin : float
        Margin of the rank loss.
    patience : int
    generator : torch.Generator
        Draws batches and windows.
    checkpoint : StateFile or None
        Written after each epoch; if it is there, the training resumes from it.
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
    ModelFormatError, ValueError, OutputError
        If `checkpoint` is damaged, of another training, or cannot be written.
    """
    check_layers(net)
    check_equal("Clips", [(len(clip), float(clip[0].abs().sum())) for clip in clips])
    optimizer = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=weight_decay)
    n_steps = max_epochs * -(-len(clips) // batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, Schedule("cosine", n_steps))
    # If no scale has two frames outside the network's input, all frames are counted.
    has_unseen = any(
        len({*range(-scale, scale + 1)} - {*net.input_offsets(k)}) > 1
        for k, scale in enumerate(net.scales)
    )
    exclude = None if has_unseen else ()
    history: list[dict[str, float]] = []
    best, best_epoch, best_state = -np.inf, 0, copy.deepcopy(net.state_dict())
    state = None if checkpoint is None else checkpoint.read()
    if state is not None:
        net.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        generator.set_state(state["generator"])
        history, (best, best_epoch, best_state) = state["history"], state["best"]
    bar = tqdm(
        range(len(history), max_epochs),
        initial=len(history),
        total=max_epochs,
        desc="Training",
        unit="epoch",
        disable=not verbose or rank() > 0,
    )
    for epoch in bar:
        # Before an epoch: what had stopped early does not go on when it is resumed.
        if held_out and epoch - 1 - best_epoch >= patience:
            break
        start = time.perf_counter()
        net.train()
        losses = []
        for batch in torch.randperm(len(clips), generator=generator).split(batch_size):
            loss = _batch_loss(net, [clips[i] for i in batch], windows_per_clip, margin, generator)
            value = mean_over_ranks(loss.item(), loss.device)
            if not np.isfinite(value):
                raise TrainingDivergedError(
                    f"The loss became {value} in epoch {epoch + 1}; "
                    f"lower learning_rate={learning_rate}."
                )
            optimizer.zero_grad()
            loss.backward()
            average_gradients(net.parameters())
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(value)
        net.eval()
        row: dict[str, float] = {"epoch": epoch + 1, "train_loss": float(np.mean(losses))}
        if held_out:
            accuracy = np.nanmean(measure_ranking(net, held_out, _VALID_WINDOWS, exclude))
            # The ranks must stop together.
            row["valid_accuracy"] = mean_over_ranks(float(accuracy), clips[0].device)
        bar.set_postfix({name: f"{value:.3f}" for name, value in row.items() if name != "epoch"})
        history.append(row | {"seconds": time.perf_counter() - start})
        if held_out and row["valid_accuracy"] > best:
            best, best_epoch = row["valid_accuracy"], epoch
            best_state = copy.deepcopy(net.state_dict())
        if checkpoint is not None:
            checkpoint.write(
                {
                    "network": net.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "generator": generator.get_state(),
                    "history": history,
                    "best": (float(best), best_epoch, best_state),
                }
            )
    if held_out:
        net.load_state_dict(best_state)
    net.eval()
    return pd.DataFrame(history)


def _batch_loss(
    net: DynamicsUNet,
    clips: Sequence[Tensor],
    windows_per_clip: int,
    margin: float,
    generator: torch.Generator,
) -> Tensor:
    """Compute the rank loss of random windows, mean over all, with the penalty of the maps.

    Of several ranks, each computes it for its own clips, with the weight that makes the mean over
    the ranks that of all clips.
    """
    centres = []
    for clip in clips:
        order = torch.randperm(len(clip) - 2 * net.margin, generator=generator)
        centres.append((net.margin + order[:windows_per_clip]).to(clip.device))
    n_windows = sum(map(len, centres))
    own = slice(rank(), None, n_ranks())
    clip_weight = len(clips[own]) * n_ranks() / len(clips)
    window_weight = sum(map(len, centres[own])) * n_ranks() / n_windows
    clips, centres = clips[own], centres[own]
    if not clips:
        # The last batch of an epoch may have fewer clips than there are ranks.
        return torch.stack([0 * weight.sum() for weight in net.parameters()]).sum()
    maps = compute_maps(net, clips, centres)
    terms = []
    parts = maps.split([len(at) for at in centres])
    for part, clip, at in zip(parts, clips, centres, strict=True):
        terms += [rank_loss(s, margin).mean() for s in score_windows(net, part, clip, at)]
    penalty = _MAP_PENALTY * window_weight * maps.square().mean()
    return clip_weight * torch.stack(terms).mean() + penalty
