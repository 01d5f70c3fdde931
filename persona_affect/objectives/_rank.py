"""The rank loss: scores of a window's frames, by its dynamic map, must increase over time."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional


def window_scores(
    maps: Tensor,
    frames: Tensor,
    centres: Tensor,
    scale: int,
    deviation: Tensor | None = None,
) -> Tensor:
    r"""Score the frames around each centre by the centre's dynamic map.

    .. math:: S_\tau = \langle D_t, (I_\tau - \bar I) / \rho \rangle / (H W C),
              \quad \tau = t - k, \dots, t + k

    with the mean frame :math:`\bar I` of the window and its root mean square deviation :math:`\rho`
    over frames and pixels. The look of the face and the size of movements do not change the scores.
    In a window of equal frames all scores are 0.

    Parameters
    ----------
    maps : torch.Tensor of shape (n_clips, n_centres, ...)
        Dynamic maps :math:`D_t`, each with as many values as a frame.
    frames : torch.Tensor of shape (n_clips, n_frames, ...)
        All frames of the clips.
    centres : torch.Tensor of shape (n_clips, n_centres), int64
        Frame t of each map, at least `scale` frames from both ends.
    scale : int
        k, 1 or more.
    deviation : torch.Tensor of shape () or (n_clips, 1), default=None
        Used instead of :math:`\rho`, for all windows of a clip, so that windows with more motion
        have larger scores.

    Returns
    -------
    torch.Tensor of shape (n_clips, n_centres, 2 * scale + 1)
        Scores of the frames of each window, in the order of time.

    Notes
    -----
    Our reconstruction: the paper gives no formula for the scores. Windows are not copied: the inner
    products of maps with frames and of frames with frames are enough.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.objectives import window_scores
    >>> frames = torch.arange(5.0).reshape(1, 5, 1)  # a clip that grows brighter
    >>> window_scores(torch.ones(1, 1, 1), frames, torch.tensor([[2]]), scale=1)[0, 0] > 0
    tensor([False, False,  True])
    """
    window = centres[..., None] + torch.arange(-scale, scale + 1, device=centres.device)
    pixels = frames.flatten(2)
    # Without the part common to all frames, the products are smaller and more precise.
    pixels = pixels - pixels.mean(1, keepdim=True)
    raw = (maps.flatten(2) @ pixels.mT).gather(2, window)
    if deviation is None:
        deviation = _window_variance(pixels, window).clamp_min(1e-12).sqrt()
    return (raw - raw.mean(2, keepdim=True)) / (deviation[..., None] * pixels.shape[2])


def _window_variance(pixels: Tensor, window: Tensor) -> Tensor:
    """Return the mean square deviation of each window from its mean, (n_clips, n_centres)."""
    n_clips, n_centres, length = window.shape
    with torch.no_grad():
        gram = pixels @ pixels.mT
        rows = gram.gather(1, window.flatten(1)[..., None].expand(-1, -1, gram.shape[2]))
        rows = rows.view(n_clips, n_centres, length, -1)
        block = rows.gather(3, window[:, :, None].expand(-1, -1, length, -1))
        total = block.diagonal(dim1=2, dim2=3).sum(2) - block.sum((2, 3)) / length
    return total / (length * pixels.shape[2])


def rank_loss(scores: Tensor, margin: float = 1.0) -> Tensor:
    r"""Compute the hinge loss over all pairs of frames of a window.

    .. math:: L = \frac{2}{T (T - 1)} \sum_{i < j} \max(0, m - (S_j - S_i))

    Parameters
    ----------
    scores : torch.Tensor of shape (..., T)
        Scores of a window's frames in their order in time, T at least 2.
    margin : float, default=1.0
        m, the required difference of the scores of two frames.

    Returns
    -------
    torch.Tensor of shape (...)
        0 where all pairs are in order and `margin` apart; `margin` where all scores are equal.

    Notes
    -----
    Our reconstruction, after rank pooling (Fernando et al., CVPR 2015).

    Examples
    --------
    >>> import torch
    >>> from persona_affect.objectives import rank_loss
    >>> rank_loss(torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]))
    tensor([0., 1.])
    """
    first, second = torch.triu_indices(scores.shape[-1], scores.shape[-1], 1, device=scores.device)
    return functional.relu(margin - (scores[..., second] - scores[..., first])).mean(-1)


def rank_accuracy(scores: Tensor, exclude: Iterable[int] = ()) -> Tensor:
    """Return the fraction of a window's pairs of frames whose scores are in the right order.

    Parameters
    ----------
    scores : torch.Tensor of shape (..., T)
        T odd: the window's centre is in the middle.
    exclude : iterable of int, default=()
        Frames to leave out of the pairs, relative to the centre: the input of the network.

    Returns
    -------
    torch.Tensor of shape (...)
        In [0, 1]; a tie counts as half. NaN where fewer than two frames are left.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.objectives import rank_accuracy
    >>> rank_accuracy(torch.tensor([0.0, 2.0, 1.0]))
    tensor(0.6667)
    """
    reach, excluded = scores.shape[-1] // 2, set(exclude)
    left = [reach + i for i in range(-reach, reach + 1) if i not in excluded]
    first, second = torch.triu_indices(len(left), len(left), 1, device=scores.device)
    scores = scores[..., left]
    gaps = scores[..., second] - scores[..., first]
    return (0.5 * (gaps.sign() + 1)).mean(-1)
