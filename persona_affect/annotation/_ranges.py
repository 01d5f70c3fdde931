"""Ranges over which targets are shown, and the digits of their values."""

import math
from collections.abc import Iterable
from typing import Final

import numpy as np
from sklearn.base import BaseEstimator

from persona_affect._sklearn import final_step
from persona_affect.metrics import EMOTION_NAMES

#: Ranges extend this many standard deviations to each side of the mean rating.
REACH: Final = 3.0


def target_ranges(model: BaseEstimator) -> dict[str, tuple[float, float]]:
    """Return the range over which each target is shown.

    Parameters
    ----------
    model : estimator
        A fitted `JointAffectEstimator`, or a pipeline that ends in one.

    Returns
    -------
    dict of str to (float, float)
        Three standard deviations to both sides of the mean rating in the training set, if the
        model has them; otherwise [-1, 1] for arousal and valence, and [0, 1] for others.

    Examples
    --------
    >>> from persona_affect import load_model
    >>> from persona_affect.annotation import target_ranges
    >>> low, high = target_ranges(load_model())["happy"]
    >>> low < 50 < high
    True
    """
    final = final_step(model)
    names = [str(name) for name in final.target_names_]
    unknown = np.full(len(names), np.nan)
    means = np.asarray(getattr(final, "target_means_", unknown), float).tolist()
    stds = np.asarray(getattr(final, "target_stds_", unknown), float).tolist()
    ranges = default_ranges(names)
    for name, mean, std in zip(names, means, stds, strict=True):
        ranges[name] = rating_range(mean, std) or ranges[name]
    return ranges


def rating_range(mean: float, std: float) -> tuple[float, float] | None:
    """Return the range of ratings with this mean and standard deviation; None if unknown.

    Parameters
    ----------
    mean, std : float
        In the units of the ratings; NaN if unknown.

    Returns
    -------
    tuple of (float, float) or None
        Three standard deviations to both sides of the mean.

    Examples
    --------
    >>> from persona_affect.annotation import rating_range
    >>> rating_range(50.0, 10.0)
    (20.0, 80.0)
    """
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        return None
    return mean - REACH * std, mean + REACH * std


def default_ranges(names: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Return ranges for targets without known ratings."""
    return {name: (-1.0, 1.0) if name in EMOTION_NAMES else (0.0, 1.0) for name in names}


def format_value(value: float, spread: float | None) -> str:
    """Format a value in steps of about a hundredth of `spread`; three digits if that is None.

    Parameters
    ----------
    value : float
        What is shown; "-" if it is NaN or infinite.
    spread : float or None
        Such as the standard deviation of ratings, in the units of the value.

    Returns
    -------
    str
        The value in digits.

    Examples
    --------
    >>> from persona_affect.annotation import format_value
    >>> format_value(61.52, 20.0), format_value(float("nan"), None)
    ('61.5', '-')
    """
    if not math.isfinite(value):
        return "-"
    if spread is None:
        return f"{value:.3g}"
    return f"{value:.{count_digits(spread)}f}"


def count_digits(spread: float) -> int:
    """Return how many decimals show steps of about a hundredth of `spread`.

    Parameters
    ----------
    spread : float
        Above 0, in the units of the value.

    Returns
    -------
    int
        0 or more.

    Examples
    --------
    >>> from persona_affect.annotation import count_digits
    >>> count_digits(2.0), count_digits(100.0)
    (2, 0)
    """
    return max(0, 2 - round(math.log10(spread)))
