"""On embeddings, each head starts at its own solution; PAM and EAM keep the penalty of ridge.

This is ours, not from the papers. With fixed features and few faces, stochastic gradient descent
from a random start overfits, and ridge, with a penalty chosen by leave-one-out, gives better
results. The joint losses then change the heads only if this reduces the loss. The RAM starts at a
fit to the predictions of the EAM: otherwise it pulls the EAM towards its own random start, or, at
the small learning rates that wide embeddings need, it never learns.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from torch import Tensor

from persona_affect.networks import RAM, PersEmoN
from persona_affect.objectives import TERMS, PersEmoNLoss

from ._batches import LabelledClips
from ._ram import RAMRegressor
from ._targets import MIN_LABELS

_STRENGTHS: Final = np.logspace(-2, 6, 33)


def start_heads(network: PersEmoN, data: LabelledClips, losses: PersEmoNLoss) -> dict[str, Tensor]:
    """Set PAM and EAM to ridge regression on the embeddings, then train the RAM, in place.

    Parameters
    ----------
    network : PersEmoN
        With linear heads, and standardised embeddings as its FEM.
    data : LabelledClips
        Samples of one frame, which is an embedding.
    losses : PersEmoNLoss
        A head whose loss has weight 0 is not changed.

    Returns
    -------
    dict of str to torch.Tensor of shape (n_outputs,)
        By head, the factor p of the penalty ``p / 2 |w|^2`` that makes the ridge solution a
        minimum of the training loss.
    """
    weights = losses.weights
    with torch.no_grad():
        embedding = network.fem(torch.from_numpy(np.concatenate(data.clips)))
    features = embedding.double().numpy()
    penalties: dict[str, Tensor] = {}
    for term in (TERMS["per"], TERMS["emo"]):
        head = getattr(network, term.head)
        if head is None or not weights[term.name]:
            continue
        linear, labels = head[0], data.labels[str(term.labels)]
        rated = ~np.isnan(labels).all(1)
        penalty = torch.zeros(labels.shape[1])
        mass = data.labels["weight"][rated].sum()
        for seen, columns in _group_columns(labels):
            if seen.sum() < MIN_LABELS:
                continue
            fit = RidgeCV(_STRENGTHS, alpha_per_target=True).fit(
                features[seen],
                labels[np.ix_(seen, columns)].astype(np.float64),
                sample_weight=data.labels["weight"][seen],
            )
            with torch.no_grad():
                linear.weight[columns] = torch.from_numpy(fit.coef_).float()
                linear.bias[columns] = torch.from_numpy(fit.intercept_).float()
            strength = np.atleast_1d(fit.alpha_) * weights[term.name] / mass
            penalty[columns] = torch.from_numpy(strength).float()
        penalties[term.head] = penalty
    if network.ram is not None and network.eam is not None and weights["emo"]:
        with torch.no_grad():
            emotion = network.eam(embedding)
        _start_ram(network.ram, emotion, data, losses)
    return penalties


def _start_ram(ram: RAM, emotion: Tensor, data: LabelledClips, losses: PersEmoNLoss) -> None:
    """Train the RAM on predictions of the EAM, as `RAMRegressor` does; the EAM is not changed."""
    alone = RAMRegressor()
    traits, weight = (torch.from_numpy(data.labels[name]) for name in ("personality", "weight"))
    optimizer = torch.optim.AdamW(
        ram.parameters(), alone.learning_rate, weight_decay=alone.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, alone.max_epochs)
    for _ in range(alone.max_epochs):
        loss = losses.regression(ram(emotion), traits, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _group_columns(
    labels: NDArray[np.float32],
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    """Group columns with the same rated samples, so that one decomposition is enough for each."""
    patterns, group = np.unique(~np.isnan(labels), axis=1, return_inverse=True)
    for i, seen in enumerate(patterns.T):
        yield seen, np.flatnonzero(group == i)
