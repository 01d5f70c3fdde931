"""Training in several processes (ranks): each computes a part of every batch.

Each rank runs the network on its own part of a batch. The outputs, which are small, are then
gathered, and every rank computes the whole loss. So a loss may depend on the whole batch, as
coherence does, and the result is that of one process. `torch.nn.parallel.DistributedDataParallel`
cannot be used: it expects the loss to use no parameters that its `forward` does not use, and the
coherence loss trains a head of its own.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

from persona_affect._ranks import n_ranks, rank
from persona_affect.networks import PersEmoNOutput


def check_layers(network: nn.Module) -> None:
    """Check that a network treats each frame by itself, if there are several ranks.

    Raises
    ------
    ValueError
        If a layer draws random numbers or uses statistics of the batch, of which a rank has a part.
    """
    mixing = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    for name, layer in network.named_modules():
        if n_ranks() > 1 and isinstance(layer, mixing):
            raise ValueError(
                f"{name} of the network is a {type(layer).__name__}: with several processes it "
                "would not compute what it computes with one. Train in one process."
            )


def own_rows(clip: Tensor) -> Tensor:
    """Return the rows of a batch that are frames of this rank: of every `n_ranks()`-th sample.

    A batch begins with one domain and ends with the other, so that every rank has both.

    Parameters
    ----------
    clip : torch.Tensor of shape (n_frames,), int64
        For each frame of the batch, the position of its sample in the batch.
    """
    return torch.nonzero(clip % n_ranks() == rank())[:, 0]


def gather_output(output: PersEmoNOutput, clip: Tensor) -> PersEmoNOutput:
    """Gather the network's output for all frames of a batch, from all ranks.

    Parameters
    ----------
    output : PersEmoNOutput
        For the frames of this rank.
    clip : torch.Tensor of shape (n_frames,), int64
        The clip of each frame of the whole batch.

    Returns
    -------
    PersEmoNOutput
        For all frames, in the order of the batch, float32. `average_gradients` must follow
        the backward pass.
    """
    if n_ranks() == 1:
        return output
    named = {name: value for name, value in output._asdict().items() if name != "extra"}
    parts = {name: value for name, value in {**named, **output.extra}.items() if value is not None}
    whole: Tensor = _Gather.apply(torch.cat([part.float() for part in parts.values()], 1), clip)
    widths = [part.shape[1] for part in parts.values()]
    found = dict(zip(parts, whole.split(widths, dim=1), strict=True))
    extra = {name: found[name] for name in output.extra}
    return PersEmoNOutput(
        found["embedding"],
        found.get("personality"),
        found.get("emotion"),
        found.get("personality_from_emotion"),
        extra,
    )


class _Gather(torch.autograd.Function):
    """All rows of a batch from the rows of each rank."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, clip: Tensor) -> Tensor:
        ranks = (clip % n_ranks()).cpu()
        sizes = torch.bincount(ranks, minlength=n_ranks()).tolist()
        # Some backends gather only tensors of one size.
        padded = own.new_zeros(max(sizes), own.shape[1])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        whole = own.new_empty(len(clip), own.shape[1])
        for i, (part, size) in enumerate(zip(parts, sizes, strict=True)):
            whole[ranks == i] = part[:size]
        ctx.save_for_backward(own_rows(clip))
        return whole

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        # Every rank computes the same gradient here. Gradients of weights before this point are
        # summed over ranks, those of weights after it are equal; the factor makes the mean right
        # for both.
        (rows,) = ctx.saved_tensors
        return grads[0][rows] * n_ranks(), None


class AverageGradients(Callback):
    """Averages the gradients over the ranks, before anything uses them."""

    def on_grad_computed(self, net: NeuralNet, named_parameters: Any, **kwargs: Any) -> None:
        """Average in one message."""
        average_gradients(parameter for _, parameter in named_parameters)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over the ranks; nothing is done with one rank."""
    if n_ranks() == 1:
        return
    # A weight that the loss does not use has none, on every rank alike.
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([grad.reshape(-1) for grad in grads])
    dist.all_reduce(flat)
    flat /= n_ranks()
    for grad, mean in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
        grad.copy_(mean.view(grad.shape))


def mean_over_ranks(value: float, device: torch.device) -> float:
    """Return the mean of a number over the ranks, equal to the bit on all; `device` sends it."""
    if n_ranks() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.item() / n_ranks()
