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
    torch.Tensor of shape ()
        0 where no label was observed.

    References
    ----------
    PersEmoN, section 3.2 (equations for L_per and L_emo) and 3.4 (L_RAM).

    Examples
    --------
    >>> import torch
    >>> from persona_affect.objectives import masked_half_squared_error
    >>> y_true = torch.tensor([[1.0, float("nan")], [0.0, 0.0]])
    >>> masked_half_squared_error(torch.zeros(2, 2), y_true)
    tensor(0.2500)
    """
    observed = ~y_true.isnan()
    difference = y_pred - y_true.nan_to_num()
    return _masked(difference.square() / 2, observed, weight)


def masked_smooth_l1(y_pred: Tensor, y_true: Tensor, weight: Tensor | None = None) -> Tensor:
    """Huber loss with threshold 1, with which the DeepPersonality benchmark trains PersEmoN.

    For differences below 1 the values are those of :func:`masked_half_squared_error`.

    Parameters
    ----------
    y_pred, y_true : torch.Tensor of shape (n_samples, n_targets)
        A label that is NaN was not observed: it adds nothing, and has no gradient.
    weight : torch.Tensor of shape (n_samples,), optional
        Sample weights, non-negative.

    Returns
    -------
    torch.Tensor of shape ()
        0 where no label was observed.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.objectives import masked_smooth_l1
    >>> masked_smooth_l1(torch.tensor([[3.0]]), torch.tensor([[0.0]]))
    tensor(2.5000)
    """
    observed = ~y_true.isnan()
    error = functional.smooth_l1_loss(y_pred, y_true.nan_to_num(), reduction="none")
    return _masked(error, observed, weight)
