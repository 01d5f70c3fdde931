"""On embeddings, PAM and EAM start where ridge regression ends, and keep its penalty.

Ours, not the papers': with fixed features and few faces, stochastic descent from a random start
overfits, while ridge, its strength chosen by leave-one-out, is hard to beat. The joint losses then
move the heads only as far as they pay for it.
"""

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
        for j in range(labels.shape[1]):
            fit = _fit(features, labels[:, j].astype(np.float64), data.labels["weight"])
            if fit is None:
                continue
            with torch.no_grad():
                linear.weight[j] = torch.from_numpy(fit.coef_)
                linear.bias[j] = float(fit.intercept_)
            penalty[j] = float(weights[term] * fit.alpha_ / data.labels["weight"][rated].sum())
        penalties[name] = penalty
    return penalties


def _fit(
    features: NDArray[np.float64], labels: NDArray[np.float64], weight: NDArray[np.float32]
) -> RidgeCV | None:
    """Ridge on the observed labels; None where there are too few to leave one out."""
    seen = ~np.isnan(labels)
    if seen.sum() < 3:
        return None
    return RidgeCV(_STRENGTHS).fit(features[seen], labels[seen], sample_weight=weight[seen])
