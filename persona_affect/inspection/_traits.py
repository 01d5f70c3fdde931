"""Predicted traits as bars or a radar, beside the ratings that the model knows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from ._display import NotebookDisplay
from ._reference import RatingDistribution, named_table, new_axes, predict_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind = Literal["bars", "radar"]


class TraitDisplay(NotebookDisplay):
    """Apparent traits of one or several samples, as bars or a radar, with intervals.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_targets)
        Predictions; NaN where there is none.
    target_names : list of str
        Names of the columns of `values`.
    intervals : ndarray of shape (n_samples, n_targets, 2), optional
        Lower and upper end of an interval around each prediction.
    reference : RatingDistribution, optional
        Ratings of the same targets: bars then start at the mean rating, and bands show one and
        two standard deviations around it.
    sample_names : list of str, optional
        For the legend.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    artists_ : list
        For each sample, its bars or its line on the radar.

    See Also
    --------
    CircumplexDisplay : Arousal against valence.

    Examples
    --------
    >>> from persona_affect.inspection import TraitDisplay
    >>> display = TraitDisplay.from_predictions([[0.6, 0.4]], target_names=["openness", "warmth"])
    >>> [float(bar.get_width()) for bar in display.artists_[0]]
    [0.6, 0.4]
    """

    def __init__(
        self,
        values: NDArray[np.float64],
        *,
        target_names: Sequence[str],
        intervals: NDArray[np.float64] | None = None,
        reference: RatingDistribution | None = None,
        sample_names: Sequence[str] | None = None,
    ) -> None:
        self.values = values
        self.target_names = target_names
        self.intervals = intervals
        self.reference = reference
        self.sample_names = sample_names

    @classmethod
    def from_predictions(
        cls,
        y_pred: Any,
        *,
        target_names: Sequence[str] | None = None,
        intervals: ArrayLike | None = None,
        reference: RatingDistribution | None = None,
        sample_names: Sequence[str] | None = None,
        kind: Kind = "bars",
        standardize: bool = False,
        ax: "Axes | None" = None,
    ) -> Self:
        """Plot predictions.

        Parameters
        ----------
        y_pred : DataFrame, or array-like of shape (n_samples, n_targets) or (n_targets,)
            Predictions, in the units of the ratings.
        target_names : list of str, optional
            A DataFrame's columns by default.
        intervals : array-like of shape (n_samples, n_targets, 2), optional
            Lower and upper ends, as of :meth:`persona_affect.ConformalAffect.predict_interval`.
        reference : RatingDistribution, optional
            Ratings to show beside the predictions.
        sample_names : list of str, optional
            For the legend.
        kind : {"bars", "radar"}, default="bars"
        standardize : bool, default=False
            Show how many standard deviations each prediction is from the mean rating; needs
            `reference`.
        ax : matplotlib axes, optional
            Polar for a radar.

        Returns
        -------
        TraitDisplay

        Raises
        ------
        ValueError
            If names, intervals or the reference do not match the predictions.
        """
        table = named_table(y_pred, target_names)
        display = cls(
            table.to_numpy(float),
            target_names=list(table.columns),
            intervals=None if intervals is None else np.asarray(intervals, float),
            reference=reference,
            sample_names=sample_names,
        )
        return display.plot(ax=ax, kind=kind, standardize=standardize)

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Any,
        *,
        intervals: ArrayLike | None = None,
        sample_names: Sequence[str] | None = None,
        kind: Kind = "bars",
        standardize: bool = False,
        ax: "Axes | None" = None,
    ) -> Self:
        """Predict, and plot beside the ratings that the estimator was trained on.

        Parameters
        ----------
        estimator : JointAffectEstimator, or a pipeline that ends with one
            Fitted.
        X : samples
            What its `predict` takes.
        intervals, sample_names, kind, standardize, ax
            As for :meth:`from_predictions`.

        Returns
        -------
        TraitDisplay

        Raises
        ------
        ValueError
            If the model does not name its targets, or `intervals`, `sample_names` or `kind` do not
            fit.
        """
        return cls.from_predictions(
            predict_table(estimator, X),
            intervals=intervals,
            reference=RatingDistribution.from_estimator(estimator),
            sample_names=sample_names,
            kind=kind,
            standardize=standardize,
            ax=ax,
        )

    def plot(
        self, ax: "Axes | None" = None, *, kind: Kind = "bars", standardize: bool = False
    ) -> Self:
        """Draw the plot.

        Parameters
        ----------
        ax : matplotlib axes, optional
            Polar for a radar; a new figure by default.
        kind : {"bars", "radar"}, default="bars"
        standardize : bool, default=False
            As for :meth:`from_predictions`.

        Returns
        -------
        TraitDisplay
            Itself.

        Raises
        ------
        ValueError
            If there is no such `kind`, the axes are of the other kind, or the parts have different
            lengths; or, with `standardize`, without a `reference`.
        """
        if kind not in ("bars", "radar"):
            raise ValueError(f'kind={kind!r} must be "bars" or "radar".')
        values, intervals, mean, std = self._in_units(standardize)
        if ax is None:
            ax = new_axes("polar" if kind == "radar" else None)
        elif (ax.name == "polar") != (kind == "radar"):
            raise ValueError(
                'kind="radar" needs polar axes, plt.subplots(subplot_kw={"projection": "polar"}), '
                'and kind="bars" needs axes that are not polar.'
            )
        draw = self._bars if kind == "bars" else self._radar
        self.artists_ = draw(ax, values, intervals, mean, std)
        if self.sample_names is not None:
            ax.legend()
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _in_units(self, standardize: bool) -> tuple[Any, Any, Any, Any]:
        """Return values, intervals, and the ratings' mean and spread, in the units of the plot."""
        reference, shape = self.reference, self.values.shape
        if self.intervals is not None and self.intervals.shape != (*shape, 2):
            raise ValueError(f"intervals has the shape {self.intervals.shape}, not {(*shape, 2)}.")
        if self.sample_names is not None and len(self.sample_names) != len(self.values):
            raise ValueError(
                f"{len(self.sample_names)} sample_names for {len(self.values)} samples."
            )
        if reference is None:
            if standardize:
                raise ValueError("standardize=True needs a reference.")
            return self.values, self.intervals, None, None
        if list(reference.target_names) != list(self.target_names):
            raise ValueError(
                f"The reference has the targets {list(reference.target_names)}, the predictions "
                f"have {list(self.target_names)}."
            )
        if not standardize:
            return self.values, self.intervals, np.array(reference.mean), np.array(reference.std)
        intervals = self.intervals
        if intervals is not None:
            intervals = np.stack([reference.standardize(intervals[..., i]) for i in (0, 1)], -1)
        n = shape[1]
        return reference.standardize(self.values), intervals, np.zeros(n), np.ones(n)

    def _label(self, sample: int) -> str | None:
        return None if self.sample_names is None else str(self.sample_names[sample])

    def _bars(self, ax: "Axes", values: Any, intervals: Any, mean: Any, std: Any) -> list[Any]:
        n_samples, n_targets = values.shape
        rows = np.arange(n_targets)
        start = np.zeros(n_targets) if mean is None else np.nan_to_num(mean)
        if mean is not None:
            for width in (2, 1):
                ax.barh(rows, 2 * width * std, 0.9, start - width * std, color="0.5", alpha=0.15)
            ax.vlines(start, rows - 0.45, rows + 0.45, color="0.5", linewidth=1)
        height = 0.6 / n_samples
        artists = []
        for i, row in enumerate(values):
            offsets = rows + (i - (n_samples - 1) / 2) * height
            bars = ax.barh(offsets, row - start, 0.9 * height, start, label=self._label(i))
            if intervals is not None:
                ax.hlines(offsets, *intervals[i].T, color="black", linewidth=1.5)
            artists.append(bars)
        ax.set_yticks(rows, list(self.target_names))
        ax.set_ylim(n_targets - 0.5, -0.5)
        ax.set_xlabel("apparent trait, as rated")
        return artists

    def _radar(self, ax: Any, values: Any, intervals: Any, mean: Any, std: Any) -> list[Any]:
        n_targets = values.shape[1]
        angles = 2 * np.pi * np.arange(n_targets + 1) / n_targets

        def closed(row: Any) -> Any:
            return np.append(row, row[0])

        ax.set_theta_zero_location("N")
        ax.set_theta_direction(-1)
        if mean is not None:
            ax.fill_between(angles, closed(mean - std), closed(mean + std), color="0.5", alpha=0.2)
            ax.plot(angles, closed(mean), color="0.5", linewidth=1)
        artists = []
        for i, row in enumerate(values):
            (line,) = ax.plot(angles, closed(row), marker="o", label=self._label(i))
            if intervals is not None:
                ends = (closed(end) for end in intervals[i].T)
                ax.fill_between(angles, *ends, color=line.get_color(), alpha=0.25)
            artists.append(line)
        ax.set_xticks(angles[:-1], list(self.target_names))
        # Without room in the middle, the lowest value would be a point at the centre.
        low, high = ax.get_ylim()
        ax.set_ylim(low - 0.2 * (high - low), high)
        return artists
