"""Regression losses for labels that are partly missing."""

from torch import Tensor
from torch.nn import functional


def _masked(elementwise: Tensor, observed: Tensor, weight: Tensor | None) -> Tensor:
    """Sum over the observed targets of a sample, then the weighted mean over rated samples."""
    rated = observed.any(1).to(elementwise.dtype)
    if weight is not None:
        rated = rated * weight
    per_sample = elementwise.masked_fill(~observed, 0).sum(1)
    # A batch in which nobody was rated has loss zero, not NaN.
    return (rated * per_sample).sum() / rated.sum().clamp_min(1e-12)


def masked_half_squared_error(
    y_pred: Tensor, y_true: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Half squared Euclidean distance to the observed labels, averaged over the rated samples.

    ``1/2 mean_i |y_pred_i - y_true_i|^2``: the paper's L_per, L_emo and L_RAM.

    Parameters
    ----------
    y_pred, y_true : torch.Tensor of shape (n_samples, n_targets)
        A label that is NaN was not observed: it adds nothing, and has no gradient.
    weight : torch.Tensor of shape (n_samples,), optional
        Sample weights, non-negative.

    Returns
    -------
    torch.Tensor, scalar
        0 where no label was observed.

    References
    ----------
    PersEmoN, section 3.2 (equations for L_per and L_emo) and 3.4 (L_RAM).
    """
    observed = ~y_true.isnan()
    difference = y_pred - y_true.nan_to_num()
    return _masked(difference.square() / 2, observed, weight)


def masked_smooth_l1(y_pred: Tensor, y_true: Tensor, weight: Tensor | None = None) -> Tensor:
    """Huber loss with threshold 1, with which the DeepPersonality benchmark trains PersEmoN.

    Parameters and return value are those of `masked_half_squared_error`; for differences below 1
    the values are the same too.
    """
    observed = ~y_true.isnan()
    error = functional.smooth_l1_loss(y_pred, y_true.nan_to_num(), reduction="none")
    return _masked(error, observed, weight)
