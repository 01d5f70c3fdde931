"""The adversarial loss that makes two differently labelled data sets similar."""

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional


def coherence_loss(embedding: Tensor, domain: Tensor, head: nn.Module) -> Tensor:
    """Coherence of the two domains' embeddings.

    The authors use two cross entropies on ``z = D(f)``: one with the domain labels d, from which
    the head and the features learn, and one with 1 - d, from which only the features learn. For
    the features the sum of both pulls towards a uniform posterior. All gradients therefore equal
    those of ``CE(D(f.detach()), d) + 2 * mean(-1/2 * sum_c log softmax(D_frozen(f))_c)``: the head
    learns to separate the domains, and the features learn to prevent it.

    Parameters
    ----------
    embedding : torch.Tensor of shape (n, d)
        The FEM's output f.
    domain : torch.Tensor of shape (n,), int64
        0 for the personality set, 1 for the emotion set; -1 for a sample of both, which is left
        out.
    head : torch.nn.Module
        D, from (n, d) to (n, 2) logits.

    Returns
    -------
    torch.Tensor of shape ()
        0 where all samples are of both sets. At the optimum, ``3 log 2``.

    References
    ----------
    PersEmoN, section 3.3; weights of the two terms from the released training definition.

    Examples
    --------
    >>> import math
    >>> import torch
    >>> from persona_affect.objectives import coherence_loss
    >>> head = torch.nn.Linear(4, 2)
    >>> _ = torch.nn.init.zeros_(head.weight), torch.nn.init.zeros_(head.bias)
    >>> loss = coherence_loss(torch.zeros(2, 4), torch.tensor([0, 1]), head)
    >>> round(loss.item() / math.log(2), 3)
    3.0
    """
    one_sided = domain >= 0
    if not one_sided.any():
        return embedding.new_zeros(())
    embedding, domain = embedding[one_sided], domain[one_sided]
    frozen = {name: value.detach() for name, value in head.named_parameters()}
    separation = functional.cross_entropy(head(embedding.detach()), domain)
    posterior = functional.log_softmax(functional_call(head, frozen, (embedding,)), dim=1)
    return separation - posterior.sum(1).mean()
