"""Errors of a calibration, one for each person, and the bounds that they give."""

from math import ceil, floor
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_array

from persona_affect._arrays import read_labels

#: Sums such as (n + 1) * (1 - 0.9) are a little off a whole number.
_ROUNDING = 1e-9


def count_needed(alpha: float) -> int:
    """Return the calibration persons that an interval needs: n with ceil((n+1)(1-alpha)) <= n.

    Examples
    --------
    >>> [count_needed(alpha) for alpha in (0.2, 0.1, 0.05)]
    [4, 9, 19]
    """
    return max(1, ceil(1 / alpha - 1 - _ROUNDING))


def read_label_table(y: Any) -> tuple[NDArray[np.float64], list[str] | None]:
    """Read labels as (n_samples, n_targets), NaN where missing, and the names of a table."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    names = [str(name) for name in y.columns] if isinstance(y, pd.DataFrame) else None
    labels = check_array(
        read_labels(y),
        ensure_2d=False,
        dtype=np.float64,
        ensure_all_finite="allow-nan",
        input_name="y",
    )
    return labels.reshape(len(labels), -1), names


def one_per_person(
    errors: NDArray[np.float64], persons: NDArray[np.intp], rng: np.random.RandomState
) -> NDArray[np.float64]:
    """Draw one error of each person and target, at random.

    Parameters
    ----------
    errors : ndarray of shape (n_samples, n_targets)
        NaN where there is none.
    persons : ndarray of int of shape (n_samples,)
        Numbers from 0.
    rng : RandomState

    Returns
    -------
    ndarray of shape (n_persons, n_targets)
        NaN for a person without an error for a target.
    """
    drawn = np.full((persons.max(initial=-1) + 1, errors.shape[1]), np.nan)
    order = rng.permutation(len(errors)) if len(drawn) < len(errors) else np.arange(len(errors))
    for j in range(errors.shape[1]):
        rows = order[np.isfinite(errors[order, j])]
        # Of rows with the same person, the last one stays.
        drawn[persons[rows], j] = errors[rows, j]
    return drawn


def compare_with_mean(
    labels: NDArray[np.float64], errors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Divide the variance of each target's labels by the mean squared error of predictions.

    Parameters
    ----------
    labels, errors : ndarray of shape (n_samples, n_targets)
        NaN where there is none.

    Returns
    -------
    ndarray of shape (n_targets,)
        Above 1 if the predictions are better than the mean label; 1 where that is not known.
    """
    ratios = np.ones(labels.shape[1])
    for j in range(labels.shape[1]):
        known = np.isfinite(errors[:, j])
        error = float((errors[known, j] ** 2).mean()) if known.any() else 0.0
        if error > 0:
            ratios[j] = labels[known, j].var() / error
    return ratios


def split_bounds(
    values: NDArray[np.float64],
    scores: NDArray[np.float64],
    difficulty: NDArray[np.float64],
    alpha: float,
) -> NDArray[np.float64]:
    """Put the ceil((n+1)(1-alpha))-th smallest error around each prediction.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_targets)
    scores : ndarray of shape (n_persons, n_targets)
        NaN where there is none.
    difficulty : ndarray of shape (n_samples,)
    alpha : float

    Returns
    -------
    ndarray of shape (n_samples, n_targets, 2)
        NaN for targets with too few persons.
    """
    half = np.full(values.shape[1], np.nan)
    for j in range(values.shape[1]):
        own = np.sort(scores[np.isfinite(scores[:, j]), j])
        if len(own) >= count_needed(alpha):
            half[j] = own[_upper_rank(len(own), alpha) - 1]
    reach = difficulty[:, None] * half
    return np.stack([values - reach, values + reach], axis=-1)


def cross_bounds(
    members: NDArray[np.float64],
    scores: NDArray[np.float64],
    folds: NDArray[np.intp],
    difficulty: NDArray[np.float64],
    alpha: float,
) -> NDArray[np.float64]:
    """Combine the predictions of copies with the errors that they made: CV+.

    Barber et al. 2021, equation 10: over all persons i, order statistics of the prediction of the
    copy that has not seen i, minus and plus the error of i.

    Parameters
    ----------
    members : ndarray of shape (n_folds, n_samples, n_targets)
        Predictions of the copies.
    scores : ndarray of shape (n_persons, n_targets)
        NaN where there is none.
    folds : ndarray of int of shape (n_persons,)
        The copy that has not seen each person.
    difficulty : ndarray of shape (n_samples,)
    alpha : float

    Returns
    -------
    ndarray of shape (n_samples, n_targets, 2)
        NaN for targets with too few persons.
    """
    bounds = np.full((*members.shape[1:], 2), np.nan)
    for j in range(members.shape[2]):
        rated = np.isfinite(scores[:, j])
        n = int(rated.sum())
        if n < count_needed(alpha):
            continue
        centre = members[folds[rated], :, j]
        reach = scores[rated, j, None] * difficulty
        lower, upper = _lower_rank(n, alpha) - 1, _upper_rank(n, alpha) - 1
        bounds[:, j, 0] = np.partition(centre - reach, lower, axis=0)[lower]
        bounds[:, j, 1] = np.partition(centre + reach, upper, axis=0)[upper]
    return bounds


def _upper_rank(n: int, alpha: float) -> int:
    return ceil((n + 1) * (1 - alpha) - _ROUNDING)


def _lower_rank(n: int, alpha: float) -> int:
    return floor((n + 1) * alpha + _ROUNDING)
