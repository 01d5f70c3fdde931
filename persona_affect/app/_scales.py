"""How the page shows numbers of a model: their order, scales and reference ratings."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from persona_affect._sklearn import final_step
from persona_affect.annotation import count_digits, format_value, rating_range
from persona_affect.inspection import RatingDistribution, find_circumplex_names


@dataclass(frozen=True)
class Scales:
    """The targets of a model, and the ratings that they are compared with.

    Attributes
    ----------
    names : list of str
        In the order of predictions.
    mean, std : dict of str to float
        Mean and standard deviation of the training ratings; NaN if unknown.
    plane : (str, str) or None
        The two targets that are shown as arousal and valence.
    """

    names: list[str]
    mean: dict[str, float]
    std: dict[str, float]
    plane: tuple[str, str] | None

    @classmethod
    def of(cls, model: BaseEstimator) -> Self:
        """Read the scales from a fitted model."""
        ratings = RatingDistribution.from_estimator(model)
        names = list(ratings.target_names)
        emotions = getattr(final_step(model), "emotion_names_", [])
        return cls(
            names,
            dict(zip(names, np.asarray(ratings.mean).tolist(), strict=True)),
            dict(zip(names, np.asarray(ratings.std).tolist(), strict=True)),
            find_circumplex_names(model) if len(emotions) >= 2 else None,
        )

    def known(self, name: str) -> bool:
        """Return whether the mean and spread of the ratings are known."""
        return rating_range(self.mean[name], self.std[name]) is not None

    def write(self, name: str, value: float) -> str:
        """Format a value with as many digits as are useful to compare faces."""
        return format_value(value, self.std[name] if self.known(name) else None)

    def describe(self) -> list[dict[str, Any]]:
        """Describe each target for scripts: its name, the ends of its scale, and its digits.

        The ends and the digits of a target whose ratings are not known are None.
        """
        described = []
        for name in self.names:
            ends = rating_range(self.mean[name], self.std[name])
            digits = None if ends is None else count_digits(self.std[name])
            described.append({"name": name, "ends": ends, "digits": digits})
        return described

    def place(self, name: str, values: ArrayLike) -> NDArray[np.float64]:
        """Place values between 0 and 1 on the target's scale; NaN stays NaN."""
        numbers = np.asarray(values, dtype=float)
        low, high = rating_range(self.mean[name], self.std[name]) or self._range(numbers)
        return np.clip((numbers - low) / (high - low), 0, 1)

    def rank(self, name: str, value: float) -> float:
        """Return the percentile of a value among the ratings, treated as normal: 0 to 100."""
        ratings = RatingDistribution([name], [self.mean[name]], [self.std[name]])
        return float(ratings.percentile([value])[0])

    @staticmethod
    def _range(numbers: NDArray[Any]) -> tuple[float, float]:
        seen = numbers[np.isfinite(numbers)]
        if not len(seen) or seen.min() == seen.max():
            middle = float(seen[0]) if len(seen) else 0.0
            return middle - 0.5, middle + 0.5
        return float(seen.min()), float(seen.max())
