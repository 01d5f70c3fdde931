"""The ratings that a model was trained on, and helpers that the displays share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from persona_affect._sklearn import final_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class RatingDistribution:
    """Mean and standard deviation of the ratings that a model was trained on.

    A model stores only these two numbers for each target, so that percentiles are those of a
    normal distribution.

    Parameters
    ----------
    target_names : list of str
        In the order of `mean` and `std`.
    mean, std : ndarray of shape (n_targets,)
        In the units of the ratings. NaN where unknown: for a target without ratings, and for
        a model that was trained on raw targets (`heads` other than ``"linear"``).

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
        """Take it from a fitted `JointAffectEstimator`, or a pipeline that ends with one.

        Parameters
        ----------
        estimator : JointAffectEstimator, or a pipeline that ends with one
            Fitted.

        Returns
        -------
        RatingDistribution

        Raises
        ------
        ValueError
            If the model does not name its targets.
        """
        model = final_model(estimator)
        return cls(list(model.target_names_), model.target_means_, model.target_stds_)

    def standardize(self, values: ArrayLike) -> NDArray[np.float64]:
        """Convert ratings to standard deviations from the mean.

        Parameters
        ----------
        values : array-like of shape (..., n_targets)
            Ratings or predictions, in the order of `target_names`.

        Returns
        -------
        ndarray of shape (..., n_targets)
            Standard deviations from the mean.
        """
        return (np.asarray(values, float) - np.asarray(self.mean)) / np.asarray(self.std)

    def percentile(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the percentiles of ratings in the training set.

        Parameters
        ----------
        values : array-like of shape (..., n_targets)
            Ratings or predictions, in the order of `target_names`.

        Returns
        -------
        ndarray of shape (..., n_targets)
            Between 0 and 100.
        """
        return 100 * norm.cdf(self.standardize(values))


def final_model(estimator: BaseEstimator) -> Any:
    """Return the last step of a pipeline, or the estimator itself; it must name its targets."""
    model = final_step(estimator)
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
        If they are not a table, or if names and columns do not match.
    """
    if isinstance(y_pred, pd.DataFrame) and target_names is None:
        return y_pred
    values = np.asarray(y_pred, dtype=float)
    if values.ndim == 1:
        values = values[None]
    if target_names is None:
        raise ValueError("Pass target_names=: y_pred is not a DataFrame with named columns.")
    if values.ndim != 2 or values.shape[1] != len(target_names):
        raise ValueError(
            f"y_pred has the shape {values.shape}; for {len(target_names)} target names it must "
            f"have (n_samples, {len(target_names)})."
        )
    return pd.DataFrame(values, columns=list(target_names))


def predict_table(estimator: BaseEstimator, X: Any) -> pd.DataFrame:
    """Predict, as a table with one named column a target, also where there is only one."""
    names = final_model(estimator).target_names_
    return named_table(np.reshape(estimator.predict(X), (-1, len(names))), names)


def new_axes(projection: str | None = None) -> "Axes":
    """Make axes in a figure of their own."""
    # Imported here: matplotlib takes long to import, and most of the package does without.
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(layout="constrained", subplot_kw={"projection": projection})
    return ax
