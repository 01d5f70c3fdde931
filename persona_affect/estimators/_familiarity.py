"""How far a face is from the faces that a model knows, by its features."""

from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from ._state import Facts, Tensors, check_finite, copy_array

#: Columns and faces that are kept, at most: a megabyte.
MAX_COLUMNS: Final = 512
MAX_FACES: Final = 1000
#: Neighbours whose mean distance counts.
_NEIGHBOURS: Final = 5
_ARRAYS: Final = ("known", "shift", "distances")


class Familiarity:
    """The features of known faces, kept small, and the distance of other faces from them.

    The distance of a face is its mean distance to the five nearest known faces, in units of the
    spread of the known faces. Of many features every k-th is kept: neighbouring features of a
    network are alike, so that distances hardly change.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
        Of known faces; rows of NaN are left out.
    persons : ndarray of int of shape (n_samples,)
        Samples of one person are not neighbours of each other.
    rng : RandomState
        Draws the faces that are kept, if there are too many.

    Attributes
    ----------
    known : ndarray of float16, shape (n_known, n_columns)
        Scaled features.
    distances : ndarray of shape (101,)
        Percentiles of the distances of the known faces from other persons'.

    Raises
    ------
    ValueError
        If fewer than two persons have features.
    """

    known: NDArray[np.float16]
    shift: NDArray[np.float32]
    distances: NDArray[np.float64]

    def __init__(
        self, features: NDArray[Any], persons: NDArray[np.intp], rng: np.random.RandomState
    ) -> None:
        present = np.flatnonzero(np.isfinite(features).all(axis=1))
        if len(np.unique(persons[present])) < 2:
            raise ValueError("Distances between faces need the faces of two persons or more.")
        if len(present) > MAX_FACES:
            present = np.sort(rng.choice(present, MAX_FACES, replace=False))
        self.n_features = features.shape[1]
        kept = self._thin(features[present])
        self.shift = kept.mean(axis=0)
        spread = float(np.sqrt(((kept - self.shift) ** 2).sum(axis=1).mean()))
        self.spread = spread if spread > 0 else 1.0
        # Rounded here already, so that a loaded model gives the same distances.
        self.known = ((kept - self.shift) / self.spread).astype(np.float16)
        self._persons: NDArray[np.intp] = persons[present]
        own = self._nearest(self.known.astype(np.float32), self._persons)
        self.distances = np.percentile(own, np.arange(101))

    def ratio(self, features: Any, persons: NDArray[np.intp] | None = None) -> NDArray[np.float64]:
        """Return the distance of each sample relative to that of the median known face.

        Parameters
        ----------
        features : array-like of shape (n_samples, n_features)
        persons : ndarray of int of shape (n_samples,), optional
            For samples of the fit: distances are then those from other persons.

        Returns
        -------
        ndarray of shape (n_samples,)
            NaN for rows of NaN.
        """
        features = np.asarray(features, dtype=np.float32)
        if features.ndim != 2 or features.shape[1] != self.n_features:
            raise ValueError(
                f"features have the shape {features.shape}, not (n, {self.n_features})."
            )
        result = np.full(len(features), np.nan)
        present = np.isfinite(features).all(axis=1)
        if present.any():
            scaled = (self._thin(features[present]) - self.shift) / self.spread
            own = None if persons is None else persons[present]
            result[present] = self._nearest(scaled, own)
        median = self.distances[50]
        return result / (median if median > 0 else 1.0)

    def _thin(self, features: NDArray[Any]) -> NDArray[np.float32]:
        step = -(-self.n_features // MAX_COLUMNS)
        return np.asarray(features[:, ::step], dtype=np.float32)

    def _nearest(
        self, scaled: NDArray[np.float32], persons: NDArray[np.intp] | None
    ) -> NDArray[np.float64]:
        """Return mean distances to the nearest known faces, with `persons` to other persons'."""
        distances = cdist(scaled, self.known.astype(np.float32))
        if persons is not None:
            distances[persons[:, None] == self._persons] = np.nan
        kept = min(_NEIGHBOURS, len(self.known))
        # NaN is sorted behind all numbers.
        nearest = np.partition(distances, kept - 1, axis=1)[:, :kept]
        return np.asarray(np.nanmean(nearest, axis=1), dtype=np.float64)

    def get_state(self) -> tuple[Facts, Tensors]:
        """Return facts and tensors, as in ``_state.py``."""
        tensors = {name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS}
        return {"n_features": self.n_features, "spread": self.spread}, tensors

    @classmethod
    def from_state(cls, facts: Facts, tensors: Tensors) -> Self:
        """Build one from the result of `get_state`, which is not trusted."""
        self = cls.__new__(cls)
        self.n_features, self.spread = int(facts["n_features"]), float(facts["spread"])
        if self.n_features < 1 or not self.spread > 0:
            raise ValueError(f"{self.n_features} features of spread {self.spread}")
        width = len(range(0, self.n_features, -(-self.n_features // MAX_COLUMNS)))
        wanted = {
            "known": (torch.float16, (len(tensors["known"]), width)),
            "shift": (torch.float32, (width,)),
            "distances": (torch.float64, (101,)),
        }
        for name, expected in wanted.items():
            tensor = tensors.pop(name)
            if (tensor.dtype, tuple(tensor.shape)) != expected or not len(tensor):
                raise ValueError(f"{name} is {tensor.dtype} {tuple(tensor.shape)}, not {expected}")
            check_finite(name, tensor)
            setattr(self, name, copy_array(tensor))
        return self
