"""L = lambda_per L_per + lambda_emo L_emo + lambda_coh L_coh + lambda_ram L_RAM."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from ._coherence import coherence_loss
from ._regression import masked_half_squared_error, masked_smooth_l1

REGRESSION_LOSSES: Final[dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]]] = {
    "half_squared_error": masked_half_squared_error,
    "smooth_l1": masked_smooth_l1,
}


class JointOutput(Protocol):
    """The parts of the network's output that the loss uses; None for a head that is not built."""

    @property
    def embedding(self) -> Tensor: ...
    @property
    def personality(self) -> Tensor | None: ...
    @property
    def emotion(self) -> Tensor | None: ...
    @property
    def personality_from_emotion(self) -> Tensor | None: ...


def pool_clips(values: Tensor, clip: Tensor, n_clips: int) -> Tensor:
    """Average frames into clips: ``mean_t`` of the paper's losses.

    Parameters
    ----------
    values : torch.Tensor of shape (n_frames, d)
    clip : torch.Tensor of shape (n_frames,), int64
        The clip of each frame, 0 .. n_clips - 1.
    n_clips : int
        Number of clips; each must have at least one frame.

    Returns
    -------
    torch.Tensor of shape (n_clips, d)
    """
    total = values.new_zeros(n_clips, values.shape[1]).index_add_(0, clip, values)
    return total / torch.bincount(clip, minlength=n_clips)[:, None]


class PersEmoNLoss(nn.Module):
    """The joint loss, term by term.

    Parameters
    ----------
    lambda_per, lambda_emo, lambda_coh, lambda_ram : float
        Weights of the four terms; a term of weight 0 is not computed.
    regression : {"half_squared_error", "smooth_l1"}, default="half_squared_error"
        The loss of L_per, L_emo and L_RAM.

    References
    ----------
    PersEmoN, section 3.5; the demo paper's equation for L.
    """

    def __init__(
        self,
        lambda_per: float = 1.0,
        lambda_emo: float = 1.0,
        lambda_coh: float = 0.05,
        lambda_ram: float = 0.2,
        regression: str = "half_squared_error",
    ) -> None:
        super().__init__()
        self.weights = {
            "per": lambda_per,
            "emo": lambda_emo,
            "coh": lambda_coh,
            "ram": lambda_ram,
        }
        self.regression = REGRESSION_LOSSES[regression]

    def forward(
        self, output: JointOutput, labels: Mapping[str, Tensor], domain_head: nn.Module | None
    ) -> dict[str, Tensor]:
        """Compute each term that has a weight, and their weighted sum.

        Parameters
        ----------
        output : JointOutput
            Output for a batch of n_frames frames from n_clips clips.
        labels : mapping of str to torch.Tensor
            ``personality`` and ``emotion`` (n_clips, .), NaN where not observed; ``weight``
            (n_clips,); ``domain`` (n_clips,), 0 personality set, 1 emotion set, -1 both; ``clip``
            (n_frames,), the clip of each frame.
        domain_head : torch.nn.Module or None
            The head of the coherence loss; None if its weight is 0.

        Returns
        -------
        dict of str to torch.Tensor
            Those of ``per``, ``emo``, ``coh``, ``ram`` that are computed, and ``total``.
        """
        clip, weight = labels["clip"], labels["weight"]

        def regress(frames: Tensor, y_true: Tensor) -> Tensor:
            return self.regression(pool_clips(frames.float(), clip, len(y_true)), y_true, weight)

        terms: dict[str, Tensor] = {}
        if self.weights["per"] and output.personality is not None:
            terms["per"] = regress(output.personality, labels["personality"])
        if self.weights["emo"] and output.emotion is not None:
            terms["emo"] = regress(output.emotion, labels["emotion"])
        if self.weights["coh"] and domain_head is not None:
            embedding = output.embedding.float()
            terms["coh"] = coherence_loss(embedding, labels["domain"][clip], domain_head)
        if self.weights["ram"] and output.personality_from_emotion is not None:
            terms["ram"] = regress(output.personality_from_emotion, labels["personality"])
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return {**terms, "total": total}
