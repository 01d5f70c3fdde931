"""Arousal against valence: the circumplex of affect."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from ._display import NotebookDisplay
from ._reference import RatingDistribution, final_model, named_table, new_axes, predict_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class CircumplexDisplay(NotebookDisplay):
    """Apparent emotion as points in the plane of valence (across) and arousal (up).

    The axes are labelled with the names of the targets: the two emotion targets of a model may be
    others, such as *happy* and *alert* of the bundled model.

    Parameters
    ----------
    valence, arousal : ndarray of shape (n_samples,)
        NaN where there is no prediction.
    valence_name, arousal_name : str, default="valence", "arousal"
        Names of the two targets, for the labels of the axes.
    reference : RatingDistribution, optional
        Two ellipses then show one and two standard deviations of the ratings around their mean.
        Without a reference, a circle of radius 1 shows the range of valence and arousal.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    points_ : matplotlib.collections.PathCollection
    line_ : matplotlib.lines.Line2D or None
        The line from sample to sample, with ``connect=True``.

    References
    ----------
    Russell, "A circumplex model of affect", Journal of Personality and Social Psychology, 1980.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.inspection import CircumplexDisplay
    >>> emotion = np.array([[0.2, 0.5], [-0.1, 0.4]])  # arousal, valence
    >>> display = CircumplexDisplay.from_predictions(emotion)
    >>> display.ax_.get_xlabel()
    'valence'
    """

    def __init__(
        self,
        valence: NDArray[np.float64],
        arousal: NDArray[np.float64],
        *,
        valence_name: str = "valence",
        arousal_name: str = "arousal",
        reference: RatingDistribution | None = None,
    ) -> None:
        self.valence = valence
        self.arousal = arousal
        self.valence_name = valence_name
        self.arousal_name = arousal_name
        self.reference = reference

    @classmethod
    def from_predictions(
        cls,
        y_pred: Any,
        *,
        valence_name: str = "valence",
        arousal_name: str = "arousal",
        reference: RatingDistribution | None = None,
        connect: bool = False,
        ax: "Axes | None" = None,
    ) -> Self:
        """Plot predictions.

        Parameters
        ----------
        y_pred : DataFrame, or array-like of shape (n_samples, 2)
            A table with columns of the two names, and perhaps others; an array has arousal first.
        valence_name, arousal_name : str
            Columns of a table, and the labels of the axes.
        reference : RatingDistribution, optional
            Ratings of these two targets, and perhaps of others.
        connect : bool, default=False
            Draw a line from each sample to the next, as for the frames of a clip.
        ax : matplotlib axes, optional
            A new figure by default.

        Returns
        -------
        CircumplexDisplay

        Raises
        ------
        ValueError
            If one of the two is not among the predictions or in the reference.
        """
        names = None if hasattr(y_pred, "columns") else [arousal_name, valence_name]
        table = named_table(y_pred, names)
        for name in (valence_name, arousal_name):
            if name not in table.columns:
                raise ValueError(
                    f"{name!r} is not among the predictions, which are {list(table.columns)}."
                )
        display = cls(
            table[valence_name].to_numpy(float),
            table[arousal_name].to_numpy(float),
            valence_name=valence_name,
            arousal_name=arousal_name,
            reference=reference,
        )
        return display.plot(ax=ax, connect=connect)

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Any,
        *,
        connect: bool = False,
        ax: "Axes | None" = None,
    ) -> Self:
        """Predict, and plot the two emotion targets beside the ratings of the training set.

        Parameters
        ----------
        estimator : JointAffectEstimator, or a pipeline that ends with one
            Fitted, with two emotion targets or more; see :func:`find_circumplex_names`.
        X : samples
            What its `predict` takes.
        connect, ax
            As for :meth:`from_predictions`.

        Returns
        -------
        CircumplexDisplay

        Raises
        ------
        ValueError
            If the model names no targets, or has fewer than two emotion targets.
        """
        arousal_name, valence_name = find_circumplex_names(estimator)
        reference = RatingDistribution.from_estimator(estimator)
        return cls.from_predictions(
            predict_table(estimator, X),
            valence_name=valence_name,
            arousal_name=arousal_name,
            reference=reference if np.isfinite(np.asarray(reference.std)).all() else None,
            connect=connect,
            ax=ax,
        )

    def plot(self, ax: "Axes | None" = None, *, connect: bool = False) -> Self:
        """Draw the plot.

        Parameters
        ----------
        ax : matplotlib axes, optional
            A new figure by default.
        connect : bool, default=False
            As for :meth:`from_predictions`.

        Returns
        -------
        CircumplexDisplay
            Itself.

        Raises
        ------
        ValueError
            If the two targets are not in `reference`.
        """
        ax = new_axes() if ax is None else ax
        centre, spread = self._reference()
        radii = (1.0,) if self.reference is None else (1.0, 2.0)
        turn = np.linspace(0, 2 * np.pi, 200)
        for radius in radii:
            ring = centre + radius * spread * np.stack([np.cos(turn), np.sin(turn)], axis=1)
            ax.plot(*ring.T, color="0.6", linewidth=1)
        ax.axvline(centre[0], color="0.8", linewidth=1, zorder=0)
        ax.axhline(centre[1], color="0.8", linewidth=1, zorder=0)
        self.line_ = ax.plot(self.valence, self.arousal, linewidth=1)[0] if connect else None
        self.points_ = ax.scatter(self.valence, self.arousal, zorder=3)
        ax.set(xlabel=self.valence_name, ylabel=self.arousal_name, box_aspect=1)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _reference(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean and the spread of the ratings, each as (valence, arousal)."""
        if self.reference is None:
            return np.zeros(2), np.ones(2)
        names = list(self.reference.target_names)
        for name in (self.valence_name, self.arousal_name):
            if name not in names:
                raise ValueError(f"{name!r} is not in the reference, which has {names}.")
        picked = [names.index(self.valence_name), names.index(self.arousal_name)]
        return np.asarray(self.reference.mean)[picked], np.asarray(self.reference.std)[picked]


def find_circumplex_names(estimator: BaseEstimator) -> tuple[str, str]:
    """Find the two targets of a model that a circumplex shows as arousal and valence.

    Parameters
    ----------
    estimator : JointAffectEstimator, or a pipeline that ends with one
        Fitted.

    Returns
    -------
    arousal_name, valence_name : str
        ``"arousal"`` and ``"valence"`` if the model has both; otherwise its first two emotion
        targets.

    Raises
    ------
    ValueError
        If the model has fewer than two emotion targets.

    Examples
    --------
    >>> from persona_affect import load_model
    >>> from persona_affect.inspection import find_circumplex_names
    >>> find_circumplex_names(load_model())
    ('alert', 'happy')
    """
    names = getattr(final_model(estimator), "emotion_names_", [])
    if {"arousal", "valence"} <= set(names):
        return "arousal", "valence"
    if len(names) < 2:
        raise ValueError(f"A circumplex needs two emotion targets; this model has {list(names)}.")
    return names[0], names[1]
