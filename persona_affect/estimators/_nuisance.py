"""Embeddings that move less when a photograph is disturbed."""

from numbers import Integral, Real
from typing import Any, ClassVar, Final, Self

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags, check_consistent_length, check_random_state
from sklearn.utils.extmath import randomized_svd
from sklearn.utils.validation import check_is_fitted
from torch import nn

from persona_affect._sklearn import Interval, fit_context

from ._clips import check_embeddings, check_matrix
from ._modules import ShrunkDirections
from ._state import Facts, Tensors, check_finite, copy_array, pack_inputs, unpack_inputs

#: Directions are wide and many; they are kept and saved in half precision.
_KEPT: Final = np.float16


class NuisanceShrinkage(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Shrink the directions of embeddings in which views of the same face differ.

    The same face in other light, in another size or out of focus should get the same prediction.
    Fit on several views of each face: the principal directions of the differences within faces are
    found, and an embedding is shrunk along each of them, by
    ``1 / sqrt(1 + strength * within / between)``. There, `within` is the variance between the
    views of a face and `between` that of the means of faces, along that direction: what hardly
    differs between views is hardly changed. It needs no labels.

    This method is ours, not from the papers; it is a shrunken form of within-class covariance
    normalisation (Hatch, Kajarekar, Stolcke, 2006).

    Parameters
    ----------
    n_directions : int, default=32
        Number of directions.
    strength : float, default=20.0
        How much a direction is shrunk; 0 changes nothing.
    random_state : int, RandomState instance or None, default=None
        Seed of the randomised decomposition.

    Attributes
    ----------
    directions_ : ndarray of shape (n_directions, n_features), float16
        Of unit length, the one with the largest differences first. There are none if each face has
        one view.
    shrinkage_ : ndarray of shape (n_directions,)
        The share of each that is taken away, in [0, 1).
    n_features_in_ : int

    References
    ----------
    Hatch, Kajarekar, Stolcke. Within-class Covariance Normalization for SVM-based Speaker
    Recognition. Interspeech 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect import NuisanceShrinkage
    >>> rng = np.random.default_rng(0)
    >>> faces = rng.normal(size=(30, 4)).repeat(3, axis=0)
    >>> light = rng.normal(size=(90, 1)) * [3, 0, 0, 0]
    >>> model = NuisanceShrinkage(n_directions=1).fit(faces + light, groups=np.arange(90) // 3)
    >>> model.transform(np.eye(4)).diagonal().round(1)
    array([0.2, 1. , 1. , 1. ])
    """

    directions_: NDArray[np.floating]
    shrinkage_: NDArray[np.floating]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_directions": [Interval(Integral, 1, None, closed="left")],
        "strength": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_directions: int = 32,
        *,
        strength: float = 20.0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_directions = n_directions
        self.strength = strength
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, groups: Any = None) -> Self:
        """Find the directions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings of views; a row of NaN is a view without a face, and is left out.
        y : ignored
        groups : array-like of shape (n_samples,), default=None
            The face of each view. Without it, each view is a face of its own, and nothing is
            shrunk.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If fewer than two samples have a face, or a row is partly missing.
        """
        X = self._check(X, reset=True)
        check_consistent_length(X, groups)
        present = ~np.isnan(X).any(1)
        faces = np.arange(len(X)) if groups is None else np.unique(groups, return_inverse=True)[1]
        X, faces = X[present], faces[present]
        if len(X) < 2:
            raise ValueError(
                f"NuisanceShrinkage needs 2 samples with a face or more, not {len(X)}."
            )
        _, faces, counts = np.unique(faces, return_inverse=True, return_counts=True)
        means = np.zeros((len(counts), X.shape[1]), X.dtype)
        np.add.at(means, faces, X)
        means /= counts[:, None].astype(X.dtype)
        free = len(X) - len(counts)
        rank = min(self.n_directions, X.shape[1], free)
        self.directions_ = np.zeros((0, X.shape[1]), _KEPT)
        self.shrinkage_ = np.zeros(0)
        if rank > 0:
            _, lengths, directions = randomized_svd(
                X - means[faces], rank, random_state=check_random_state(self.random_state)
            )
            between = ((means - means.mean(0)) @ directions.T).var(0, dtype=np.float64)
            within = lengths.astype(np.float64) ** 2 / free
            # A direction in which faces do not differ at all has nothing to lose.
            ratio = within / np.maximum(between, 1e-9 * max(float(within.max()), 1e-30))
            self.directions_ = np.ascontiguousarray(directions, dtype=_KEPT)
            self.shrinkage_ = 1 - 1 / np.sqrt(1 + self.strength * ratio)
        return self

    def transform(self, X: Any) -> NDArray[np.floating]:
        """Shrink the embeddings along the directions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings, as in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            Rows of NaN stay rows of NaN.

        Raises
        ------
        ValueError
            If `X` has another width, or a row is partly NaN.
        """
        check_is_fitted(self)
        X = self._check(X, reset=False)
        # With torch, as in KernelFeatures: NumPy's threads and those of the networks would wait
        # for each other.
        with torch.inference_mode():
            seen = torch.from_numpy(np.require(X, requirements=["C", "W"]))
            shrunk: NDArray[np.floating] = self._as_module(X.dtype)(seen).numpy()
        return shrunk

    def _as_module(self, dtype: DTypeLike = np.float32) -> nn.Module:
        check_is_fitted(self)
        arrays = (array.astype(dtype) for array in (self.directions_, self.shrinkage_))
        return ShrunkDirections(*map(torch.from_numpy, arrays))

    def _check(self, X: Any, *, reset: bool) -> NDArray[np.floating]:
        X = check_matrix(
            self,
            X,
            reset=reset,
            min_samples=2,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
        )
        check_embeddings(X)
        return X

    def _get_state(self) -> tuple[Facts, Tensors]:
        tensors = {
            "directions": torch.from_numpy(self.directions_),
            "shrinkage": torch.from_numpy(self.shrinkage_),
        }
        return pack_inputs(self), tensors

    def _set_state(self, facts: Facts, tensors: Tensors) -> None:
        directions, shrinkage = (copy_array(tensors.pop(n)) for n in ("directions", "shrinkage"))
        if directions.ndim != 2 or directions.dtype != _KEPT:
            raise ValueError(f"directions is {directions.dtype} {directions.shape}")
        if shrinkage.shape != directions.shape[:1] or shrinkage.dtype != np.float64:
            raise ValueError(f"shrinkage is {shrinkage.dtype} {shrinkage.shape}")
        check_finite("directions", torch.from_numpy(directions))
        if not ((shrinkage >= 0) & (shrinkage < 1)).all():
            raise ValueError("shrinkage is not in [0, 1)")
        self.directions_, self.shrinkage_ = directions, shrinkage
        unpack_inputs(self, facts, directions.shape[1])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
