"""Embeddings with features of a Gaussian kernel, so that linear heads become nonlinear."""

from numbers import Integral, Real
from typing import Any, ClassVar, Final, Self

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from persona_affect._sklearn import Interval, fit_context

from ._clips import check_embeddings, check_matrix
from ._engine import RunByEngine
from ._modules import AppendedKernel
from ._state import Facts, Tensors, check_finite, copy_array, pack_inputs, unpack_inputs

#: Fitted attributes that are arrays.
_ARRAYS: Final = ("mean_", "components_", "centres_", "normalization_")


class KernelFeatures(RunByEngine, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Append features of a Gaussian kernel to embeddings.

    This method is ours, not from the papers. Embeddings are projected on their principal
    components, and Nyström's method approximates the kernel of these by features. scikit-learn's
    `PCA` and `Nystroem` do the computation. In addition, this class keeps the embeddings, balances
    both parts, finds the width of the kernel, and accepts samples without a face.

    Parameters
    ----------
    n_components : int, default=512
        Number of training samples at which the kernel is evaluated, or all if there are fewer.
    rank : int, default=64
        Number of principal components that the kernel uses.
    gamma : float, default=0.35
        Width of the kernel ``exp(-gamma d^2)``, where ``d^2`` is in units of the mean squared
        distance between training samples.
    weight : float, default=1.0
        Variance of all appended features together, relative to that of the embeddings.
    random_state : int, RandomState instance or None, default=None
        Seed of the choice of training samples.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
    components_ : ndarray of shape (rank, n_features)
        The principal components.
    centres_ : ndarray of shape (n_components, rank)
        The chosen training samples, projected on the components.
    normalization_ : ndarray of shape (n_components, n_components)
        Matrix from kernel values to features; it includes `weight`.
    gamma_ : float
        Width of the kernel, in units of the components.
    n_features_in_ : int

    References
    ----------
    Williams, Seeger. Using the Nyström Method to Speed Up Kernel Machines. NIPS 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect import KernelFeatures
    >>> X = np.random.default_rng(0).normal(size=(20, 5))
    >>> KernelFeatures(n_components=8, random_state=0).fit_transform(X).shape
    (20, 13)
    """

    gamma_: float
    mean_: NDArray[np.floating]
    components_: NDArray[np.floating]
    centres_: NDArray[np.floating]
    normalization_: NDArray[np.floating]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "rank": [Interval(Integral, 1, None, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "weight": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int = 512,
        *,
        rank: int = 64,
        gamma: float = 0.35,
        weight: float = 1.0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.rank = rank
        self.gamma = gamma
        self.weight = weight
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the components, the centres and the width of the kernel.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings; a row of NaN is a sample without a face, and is left out.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If fewer than two samples have a face, or a row is partly missing.
        """
        X = self._check(X, reset=True)
        self._engine = None
        X = X[~np.isnan(X).any(1)]
        if len(X) < 2:
            raise ValueError(f"KernelFeatures needs 2 samples with a face or more, not {len(X)}.")
        rng = check_random_state(self.random_state)
        with np.errstate(invalid="ignore"):
            # If all samples are the same, the explained variance is 0 / 0.
            pca = PCA(min(self.rank, *X.shape), random_state=rng).fit(X)
        seen = pca.transform(X)
        # Twice the variance is the mean squared distance.
        spread = 2 * float(seen.var(0).sum())
        # If all samples are the same, the width does not matter.
        self.gamma_ = self.gamma / spread if spread > 0 else 1.0
        nystroem = Nystroem(
            gamma=self.gamma_,
            n_components=min(self.n_components, len(X)),
            random_state=rng,
        ).fit(seen)
        # Contiguous, as when loaded from a file: otherwise sums differ in their last bits.
        self.mean_, self.components_, self.centres_ = map(
            np.ascontiguousarray, (pca.mean_, pca.components_, nystroem.components_)
        )
        appended = float(nystroem.transform(seen).var(0).sum())
        scale = (self.weight * float(X.var(0).sum()) / appended) ** 0.5 if appended > 0 else 1.0
        self.normalization_ = np.ascontiguousarray(scale * nystroem.normalization_, dtype=X.dtype)
        self._n_features_out = X.shape[1] + len(self.centres_)
        return self

    def transform(self, X: Any) -> NDArray[np.floating]:
        """Append the features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Embeddings, as in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features + n_components)
            Rows of NaN stay rows of NaN.

        Raises
        ------
        ValueError
            If `X` has another width, or a row is partly NaN.
        """
        check_is_fitted(self)
        X = self._check(X, reset=False)
        result = np.full((len(X), self._n_features_out), np.nan, dtype=X.dtype)
        present = ~np.isnan(X).any(1)
        if present.any():
            # With torch: the threads of NumPy and those of torch, which the networks use, would
            # wait for each other; on two cores this takes twice as long.
            with torch.inference_mode():
                seen = torch.from_numpy(X[present])
                if self._engine is not None:
                    appended = self._engine(seen.float())
                else:
                    appended = self._as_module(X.dtype)(seen)
            result[present] = appended.numpy()
        return result

    def _as_module(self, dtype: DTypeLike = np.float32) -> nn.Module:
        check_is_fitted(self)
        arrays = (getattr(self, name).astype(dtype, copy=False) for name in _ARRAYS)
        return AppendedKernel(*map(torch.from_numpy, arrays), gamma=self.gamma_)

    def _get_network(self, *, mirror: bool = True) -> nn.Module:
        return self._as_module()

    def _get_input_shape(self) -> tuple[int, ...]:
        return (len(self.mean_),)

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
        tensors = {name: torch.from_numpy(getattr(self, name)) for name in _ARRAYS}
        return {"gamma": self.gamma_, **pack_inputs(self)}, tensors

    def _set_state(self, facts: Facts, tensors: Tensors) -> None:
        arrays = {name: copy_array(tensors.pop(name)) for name in _ARRAYS}
        n_features, n_centres = len(arrays["mean_"]), len(arrays["centres_"])
        rank = len(arrays["components_"])
        expected = ((n_features,), (rank, n_features), (n_centres, rank), (n_centres, n_centres))
        for (name, array), shape in zip(arrays.items(), expected, strict=True):
            if array.shape != shape or array.dtype.kind != "f":
                raise ValueError(f"{name} is {array.dtype} {array.shape}, not a float {shape}")
            check_finite(name, torch.from_numpy(array))
            setattr(self, name, array)
        self.gamma_ = float(facts["gamma"])
        if not self.gamma_ > 0:
            raise ValueError(f"gamma is {self.gamma_}, not positive")
        self._n_features_out = n_features + n_centres
        unpack_inputs(self, facts, n_features)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
