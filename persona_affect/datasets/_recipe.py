"""Parameters of the functions that make synthetic persons, and their checks."""

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np

HALVES: Final = ("personality", "emotion")
Halves: TypeAlias = Literal["both", "personality", "emotion"]


@dataclass(frozen=True)
class Recipe:
    """Parameters of a maker."""

    n_persons: int
    n_samples_per_person: int
    n_frames: dict[str, int]
    halves: str
    domain_shift: float
    weights: tuple[float, float, float]
    image_size: int
    aligned: bool

    def check(self, samples: str) -> None:
        """Raise ValueError if one is out of range; `samples` names `n_samples_per_person`."""
        check_number("n_persons", self.n_persons, 1, whole=True)
        check_number(samples, self.n_samples_per_person, 1, whole=True)
        check_number("image_size", self.image_size, 48, whole=True)
        check_number("domain_shift", self.domain_shift, 0, 2)
        for name, weight in zip(("static", "emotion", "noise"), self.weights, strict=True):
            check_number(f"{name}_weight", weight, 0)
        if not any(self.weights):
            raise ValueError("static_weight, emotion_weight and noise_weight must not all be 0.")
        if self.halves not in ("both", *HALVES):
            raise ValueError(
                f"halves must be 'both', 'personality' or 'emotion'; got {self.halves!r}."
            )

    @property
    def chosen(self) -> tuple[str, ...]:
        """The halves to make."""
        return HALVES if self.halves == "both" else (self.halves,)


def check_number(
    name: str, value: Any, low: float, high: float = np.inf, *, whole: bool = False
) -> None:
    """Raise ValueError unless a parameter is a number within its limits."""
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    right_kind = isinstance(value, kinds) and not isinstance(value, bool)
    if not (right_kind and np.isfinite(value) and low <= value <= high):
        kind = "an int" if whole else "a number"
        span = f"{low} or more" if np.isinf(high) else f"from {low} to {high}"
        raise ValueError(f"{name} must be {kind}, {span}; got {value!r}.")
