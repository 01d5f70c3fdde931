"""What raters said of the faces that a model was trained on: what a prediction compares with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted


@dataclass(frozen=True, eq=False)
class RatingDistribution:
    """Mean and standard deviation of the ratings that a model was trained on.

    A model keeps no more of them than these two numbers a target, so ranks are those of a normal
    distribution.

    Parameters
    ----------
    target_names : list of str
    mean, std : ndarray of shape (n_targets,)
        In the ratings' units; NaN where unknown: a target never rated, or a model that was trained
        on raw targets (its `heads` not ``"linear"``) and so never needed the spread.

    Examples
    --------
    >>> from persona_affect.inspection import RatingDistribution
    >>> ratings = RatingDistribution(["happy"], mean=[50.0], std=[10.0])
    >>> ratings.percentile([60.0]).round(1)
    array([84.1])
    """

    target_names: Sequence[str]
    mean: ArrayLike
    std: ArrayLike

    @classmethod
    def from_estimator(cls, estimator: BaseEstimator) -> Self:
        """Read it from a fitted `JointAffectEstimator`, or a pipeline that ends with one."""
        model = final_model(estimator)
        return cls(list(model.target_names_), model.target_means_, model.target_stds_)

    def standardize(self, values: ArrayLike) -> NDArray[np.float64]:
        """Turn (..., n_targets) ratings into standard deviations from the mean."""
        return (np.asarray(values, float) - np.asarray(self.mean)) / np.asarray(self.std)

    def percentile(self, values: ArrayLike) -> NDArray[np.float64]:
        """Rank (..., n_targets) ratings among those of the training set, 0 to 100."""
        return 100 * norm.cdf(self.standardize(values))


def final_model(estimator: BaseEstimator) -> Any:
    """Return the last step of a pipeline, or the estimator itself; it must name its targets."""
    model = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    check_is_fitted(model)
    if not hasattr(model, "target_names_"):
        raise ValueError(
            f"{type(model).__name__} does not name its targets: give a fitted "
            "JointAffectEstimator or a pipeline that ends with one, or use from_predictions."
        )
    return model


def named_table(y_pred: Any, target_names: Sequence[str] | None) -> pd.DataFrame:
    """Return predictions as a table with one named column a target.

    Raises
    ------
    ValueError
        If they are no table, or names and columns do not match.
    """
    if isinstance(y_pred, pd.DataFrame) and target_names is None:
        return y_pred
    values = np.asarray(y_pred, dtype=float)
    if values.ndim == 1:
        values = values[None]
    if target_names is None:
        raise ValueError("target_names= is needed: y_pred is no DataFrame with named columns.")
    if values.ndim != 2 or values.shape[1] != len(target_names):
        raise ValueError(
            f"y_pred has shape {values.shape}, but {len(target_names)} targets are named: expected "
            f"(n_samples, {len(target_names)})."
        )
    return pd.DataFrame(values, columns=list(target_names))
