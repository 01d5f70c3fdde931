"""L = lambda_per L_per + lambda_emo L_emo + lambda_coh L_coh + lambda_ram L_RAM."""

from collections.abc import Mapping
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from ._regression import masked_half_squared_error, masked_smooth_l1
from ._terms import LossTerm, Regression, TermInputs, get_term

REGRESSION_LOSSES: Final[dict[str, Regression]] = {
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
    @property
    def extra(self) -> Mapping[str, Tensor]: ...


class PersEmoNLoss(nn.Module):
    """The joint loss, term by term.

    Parameters
    ----------
    lambda_per, lambda_emo, lambda_coh, lambda_ram : float
        Weights of the four terms; a term of weight 0 is not computed.
    regression : {"half_squared_error", "smooth_l1"}, default="half_squared_error"
        The loss of L_per, L_emo and L_RAM.
    extra_lambdas : mapping of str to float, optional
        Weights of extra terms, by their names; see :func:`register_term`.

    References
    ----------
    PersEmoN, section 3.5; the demo paper's equation for L.

    Examples
    --------
    >>> from persona_affect.objectives import PersEmoNLoss
    >>> PersEmoNLoss(lambda_coh=0.0).weights
    {'per': 1.0, 'emo': 1.0, 'coh': 0.0, 'ram': 0.2}
    """

    def __init__(
        self,
        lambda_per: float = 1.0,
        lambda_emo: float = 1.0,
        lambda_coh: float = 0.05,
        lambda_ram: float = 0.2,
        regression: str = "half_squared_error",
        extra_lambdas: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.weights = {
            "per": lambda_per,
            "emo": lambda_emo,
            "coh": lambda_coh,
            "ram": lambda_ram,
            **(extra_lambdas or {}),
        }
        self.regression = REGRESSION_LOSSES[regression]

    def forward(
        self, output: JointOutput, labels: Mapping[str, Tensor], heads: Mapping[str, nn.Module]
    ) -> dict[str, Tensor]:
        """Compute each term that has a weight, and their weighted sum.

        Parameters
        ----------
        output : JointOutput
            Output for a batch of n_frames frames from n_clips clips.
        labels : mapping of str to torch.Tensor
            ``personality``, ``emotion`` and the groups of extra terms (n_clips, .), NaN where not
            observed; ``weight`` (n_clips,); ``domain`` (n_clips,), 0 personality set, 1 emotion
            set, -1 both; ``clip`` (n_frames,), the clip of each frame.
        heads : mapping of str to torch.nn.Module
            The heads that were built, by name; the coherence loss needs ``domain``.

        Returns
        -------
        dict of str to torch.Tensor of shape ()
            The terms that are computed, by name, and ``total``.
        """
        terms: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            if weight:
                term = get_term(name)
                value = term.loss(self._inputs(term, output, labels, heads))
                if value is not None:
                    terms[name] = value
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return {**terms, "total": total}

    def _inputs(
        self,
        term: LossTerm,
        output: JointOutput,
        labels: Mapping[str, Tensor],
        heads: Mapping[str, nn.Module],
    ) -> TermInputs:
        return TermInputs(
            output=getattr(output, term.output) if term.output else output.extra.get(term.head),
            head=heads.get(term.head),
            labels=None if term.labels is None else labels[term.labels],
            embedding=output.embedding,
            weight=labels["weight"],
            domain=labels["domain"],
            clip=labels["clip"],
            regression=self.regression,
        )
