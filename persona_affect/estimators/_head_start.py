"""On embeddings, PAM and EAM start where ridge regression ends, and keep its penalty.

Ours, not the papers': with fixed features and few faces, stochastic descent from a random start
overfits, while ridge, its strength chosen by leave-one-out, is hard to beat. The joint losses then
move the heads only as far as they pay for it.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from torch import Tensor

from persona_affect.networks import PersEmoN

from ._batches import LabelledClips

_STRENGTHS: Final = np.logspace(-2, 6, 17)


def start_at_ridge(
    network: PersEmoN, data: LabelledClips, weights: dict[str, float]
) -> dict[str, Tensor]:
    """Set the linear heads to ridge regression on the embeddings, in place.

    Parameters
    ----------
    network : PersEmoN
        With linear heads, and standardised embeddings as its FEM.
    data : LabelledClips
        One frame, an embedding, a sample.
    weights : dict of str to float
        The loss's weights by term; a head without a loss of its own is left alone.

    Returns
    -------
    dict of str to torch.Tensor of shape (n_outputs,)
        By head, the strength p of the penalty ``p / 2 |w|^2`` that makes the ridge solution a
        minimum of the training loss.
    """
    with torch.no_grad():
        features = network.fem(torch.from_numpy(np.concatenate(data.clips))).double().numpy()
    penalties: dict[str, Tensor] = {}
    for name, term, group in (("pam", "per", "personality"), ("eam", "emo", "emotion")):
        head = getattr(network, name)
        if head is None or not weights[term]:
            continue
        linear, labels = head[0], data.labels[group]
        rated = ~np.isnan(labels).all(1)
        penalty = torch.zeros(labels.shape[1])
        mass = data.labels["weight"][rated].sum()
        for seen, columns in _rated_alike(labels):
            # Below three there are too few to leave one out.
            if seen.sum() < 3:
                continue
            fit = RidgeCV(_STRENGTHS, alpha_per_target=True).fit(
                features[seen],
                labels[np.ix_(seen, columns)].astype(np.float64),
                sample_weight=data.labels["weight"][seen],
            )
            with torch.no_grad():
                linear.weight[columns] = torch.from_numpy(fit.coef_).float()
                linear.bias[columns] = torch.from_numpy(fit.intercept_).float()
            strength = np.atleast_1d(fit.alpha_) * weights[term] / mass
            penalty[columns] = torch.from_numpy(strength).float()
        penalties[name] = penalty
    return penalties


def _rated_alike(
    labels: NDArray[np.float32],
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.intp]]]:
    """Group the columns that the same samples were rated on: one decomposition serves them all."""
    patterns, group = np.unique(~np.isnan(labels), axis=1, return_inverse=True)
    for i, seen in enumerate(patterns.T):
        yield seen, np.flatnonzero(group == i)
