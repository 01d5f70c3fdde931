"""Models of traits from emotion that `RelationDisplay` puts beside each other."""

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.utils.validation import check_is_fitted

from persona_affect._sklearn import final_step
from persona_affect.estimators import RAMRegressor

from ._aligned import unwrap

_Floats = NDArray[np.float64]


class MonotoneRegressor(RegressorMixin, BaseEstimator):
    """Boosted trees that rise or fall with each column, and never turn.

    The direction of each column is the sign of its rank correlation with the target in the
    training samples.

    Parameters
    ----------
    max_iter : int, default=100
        Number of trees.
    learning_rate : float, default=0.1
    random_state : int, RandomState instance or None, default=None

    Attributes
    ----------
    directions_ : list of int
        1 or -1 for each column; 0 for a constant one.
    model_ : HistGradientBoostingRegressor
    n_features_in_ : int
    """

    def __init__(
        self,
        max_iter: int = 100,
        *,
        learning_rate: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Find the directions, then fit.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)

        Returns
        -------
        self
        """
        X, y = np.asarray(X, float), np.asarray(y, float)
        constant = np.ptp(X, axis=0) == 0 if np.ptp(y) else np.full(X.shape[1], True)
        self.directions_ = [
            0 if constant[j] else int(np.sign(spearmanr(X[:, j], y).statistic))
            for j in range(X.shape[1])
        ]
        self.n_features_in_ = X.shape[1]
        self.model_ = HistGradientBoostingRegressor(
            max_iter=self.max_iter,
            learning_rate=self.learning_rate,
            monotonic_cst=self.directions_,
            random_state=self.random_state,
        ).fit(X, y)
        return self

    def predict(self, X: ArrayLike) -> _Floats:
        """Predict.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        return np.asarray(self.model_.predict(np.asarray(X, float)))


class FittedRelation(RegressorMixin, BaseEstimator):
    """One trait of a fitted relationship module, as a regressor from emotion.

    Parameters
    ----------
    module : RAMRegressor or JointAffectEstimator
        Fitted.
    trait : str
        One of its traits.

    Attributes
    ----------
    n_features_in_ : int
    """

    def __init__(self, module: Any, trait: str) -> None:
        self.module = module
        self.trait = trait

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Do nothing: the module is fitted.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_emotions)
        y : array-like of shape (n_samples,)

        Returns
        -------
        self
        """
        return self

    @property
    def n_features_in_(self) -> int:
        """Number of emotions."""
        own = getattr(self.module, "emotion_names_", None)
        return int(self.module.n_features_in_) if own is None else len(own)

    def predict(self, X: ArrayLike) -> _Floats:
        """Predict the trait.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_emotions)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        table: Any = np.asarray(X, float)
        predict = getattr(self.module, "predict_from_emotion", None)
        if predict is None:
            predict = self.module.predict
            # A regressor that was fitted to a table warns of an array.
            if hasattr(self.module, "feature_names_in_"):
                table = pd.DataFrame(table, columns=self.module.feature_names_in_)
        values = np.asarray(predict(table), float)
        return values.reshape(len(values), -1)[:, trait_names(self.module).index(self.trait)]

    def __sklearn_is_fitted__(self) -> bool:
        return True


def find_module(estimator: BaseEstimator) -> Any:
    """Return what predicts traits from emotion in a fitted model.

    Raises
    ------
    ValueError
        If it is neither a RAMRegressor nor a joint model that was trained with a RAM.
    NotFittedError
    """
    module = final_step(unwrap(estimator))
    check_is_fitted(module)
    if isinstance(module, RAMRegressor):
        return module
    if not hasattr(module, "predict_from_emotion"):
        raise ValueError(
            f"{type(module).__name__} has no relationship module: give a fitted RAMRegressor, or a "
            "JointAffectEstimator or a pipeline that ends with one."
        )
    # Raises where the model was trained without the module.
    module.predict_from_emotion(np.empty((0, len(module.emotion_names_))))
    return module


def trait_names(module: Any) -> list[str]:
    """Return the names of the traits that a relationship module predicts."""
    return list(getattr(module, "personality_names_", module.target_names_))


def emotion_names(module: Any, columns: list[Any]) -> list[Any]:
    """Return which columns of a table a relationship module takes, in its order.

    Raises
    ------
    ValueError
        If one is missing, or the module knows no names and the table has another number of columns.
    """
    own = getattr(module, "emotion_names_", getattr(module, "feature_names_in_", None))
    if own is None and len(columns) == module.n_features_in_:
        return columns
    wanted = [f"{module.n_features_in_} columns"] if own is None else list(own)
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise ValueError(f"The model needs the emotions {wanted}; there are {columns}.")
    return wanted
