"""Linear calibration of predictions, for each target."""

from typing import Self

import numpy as np
import pandas as pd


class AffineCalibration:
    """A line for each target, from predictions to labels, by least squares.

    It corrects a shift, and a spread that is too wide or too narrow; correlations stay the same.
    Least squares moves uncertain predictions towards the mean: accuracy and RMSE improve, CCC may
    become worse. Fit it on samples that are neither in the training nor in the test part.

    Attributes
    ----------
    slope_, intercept_ : Series
        By target; 1 and 0 where there are fewer than three labels, or predictions are constant.

    Examples
    --------
    >>> import pandas as pd
    >>> from persona_affect.protocols import AffineCalibration
    >>> predicted = pd.DataFrame({"openness": [0.1, 0.2, 0.3, 0.4]})
    >>> labels = 2 * predicted + 0.05
    >>> AffineCalibration().fit(labels, predicted).transform(predicted).openness.round(2).tolist()
    [0.25, 0.45, 0.65, 0.85]
    """

    def fit(self, y_true: pd.DataFrame, y_pred: pd.DataFrame) -> Self:
        """Fit the lines.

        Parameters
        ----------
        y_true : DataFrame of shape (n_samples, n_targets)
            NaN where not rated.
        y_pred : DataFrame of shape (n_samples, n_targets)
            With the same columns; NaN where nothing was predicted.

        Returns
        -------
        self
        """
        self.slope_ = pd.Series(1.0, y_true.columns)
        self.intercept_ = pd.Series(0.0, y_true.columns)
        for name in y_true.columns:
            known = y_true[name].notna().to_numpy() & y_pred[name].notna().to_numpy()
            p, y = y_pred[name].to_numpy()[known], y_true[name].to_numpy()[known]
            if len(y) >= 3 and np.ptp(p) > 0:
                slope, intercept = np.polyfit(p, y, 1)
                self.slope_[name], self.intercept_[name] = slope, intercept
        return self

    def transform(self, y_pred: pd.DataFrame) -> pd.DataFrame:
        """Apply the lines to predictions.

        Parameters
        ----------
        y_pred : DataFrame of shape (n_samples, n_targets)
            With the columns of `fit`.

        Returns
        -------
        DataFrame
            Of the same shape, index and columns.
        """
        return y_pred * self.slope_ + self.intercept_
