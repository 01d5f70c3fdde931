"""Filters inserted into the frozen U-net, which learn one person's dynamics."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class PersonFilters(nn.Module):
    r"""Residual 1x1 convolutions, one set for each person, applied to many persons at once.

    After a level with features x of a person, the filter W of that person and level makes

    .. math:: x + W (x - \bar x)

    with :math:`\bar x` the mean of the features over the person's windows. All filters start at
    zero, so that inserting them changes nothing. They use differences from the person's mean:
    otherwise their gradient would contain the product of the mean features and the mean direction
    of motion, that is, of the static look and noise.

    Parameters
    ----------
    level_widths : mapping of str to int
        Channels after each level of the network (see `DynamicsUNet.level_widths`).
    levels : iterable of str
        Levels at which filters are inserted.
    n_persons : int, default=1
        Number of sets.

    Attributes
    ----------
    weights : torch.nn.ParameterDict of torch.Tensor of shape (n_persons, channels, channels)
        Filters by level.

    Notes
    -----
    The paper inserts "a set of intermediate filters" and trains only them with one person's videos.
    Their residual form, their levels, and the subtraction of the mean are ours.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import PersonFilters
    >>> filters = PersonFilters({"enc1": 8}, ["enc1"], n_persons=2)
    >>> filters.weights["enc1"].shape
    torch.Size([2, 8, 8])
    """

    def __init__(
        self, level_widths: Mapping[str, int], levels: Iterable[str], n_persons: int = 1
    ) -> None:
        super().__init__()
        self.weights = nn.ParameterDict(
            {
                level: nn.Parameter(
                    torch.zeros(n_persons, level_widths[level], level_widths[level])
                )
                for level in levels
            }
        )

    def forward(self, level: str, features: Tensor, person: Tensor) -> Tensor:
        """Apply each person's filter to the person's windows.

        Parameters
        ----------
        level : str
            Level of the features; without filters at it, they are returned unchanged.
        features : torch.Tensor of shape (n, channels, H, W)
            What the level computed for each window.
        person : torch.Tensor of shape (n,), int64
            Person of each window, counted from 0.

        Returns
        -------
        torch.Tensor of shape (n, channels, H, W)
        """
        if level not in self.weights:
            return features
        weight = self.weights[level]
        departures = from_person_mean(features, person, len(weight))
        return features + (weight[person] @ departures.flatten(2)).view_as(features)


def from_person_mean(features: Tensor, person: Tensor, n_persons: int) -> Tensor:
    """Subtract from each window's features the mean over the person's windows.

    Parameters
    ----------
    features : torch.Tensor of shape (n, ...)
        Of each window.
    person : torch.Tensor of shape (n,), int64
        Person of each window, in [0, n_persons).
    n_persons : int
        Number of persons; each must have a window.

    Returns
    -------
    torch.Tensor of shape (n, ...)
        Differences from the mean.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import from_person_mean
    >>> features = torch.tensor([[1.0], [3.0], [7.0]])
    >>> from_person_mean(features, torch.tensor([0, 0, 1]), n_persons=2).flatten()
    tensor([-1.,  1.,  0.])
    """
    counts = torch.bincount(person, minlength=n_persons).clamp_min(1)
    sums = features.new_zeros(n_persons, *features.shape[1:]).index_add(0, person, features)
    means = sums / counts.view(-1, *[1] * (features.ndim - 1))
    return features - means[person]
