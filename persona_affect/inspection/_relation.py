"""Traits as surfaces over emotion: what a relationship module has learnt."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import gaussian_kde
from sklearn.base import BaseEstimator, clone
from sklearn.inspection import partial_dependence
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GroupKFold, KFold, cross_val_predict

from persona_affect.estimators import RAMRegressor
from persona_affect.metrics import pearson_score, r2_score

from ._display import NotebookDisplay
from ._reference import named_table
from ._relation_models import (
    FittedRelation,
    MonotoneRegressor,
    emotion_names,
    find_module,
    trait_names,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Contours of the density contain these shares of the samples.
_SHARES: Final = (0.95, 0.5)
_Floats = NDArray[np.float64]


class RelationDisplay(NotebookDisplay):
    """Each trait as a surface over two emotions, by several models beside each other.

    A surface is a model's partial dependence: the mean prediction when the two emotions have the
    values of the point, and all other emotions those of the samples. Contours contain half and
    95 % of the samples; outside of them a surface is extrapolation. A relation between ratings is
    one of impressions: it does not say that an emotion makes a person so.

    Parameters
    ----------
    surfaces : dict of str to dict of str to ndarray of shape (n_grid, n_grid)
        By model and trait; rows are values of the second emotion.
    grid : tuple of two ndarrays of shape (n_grid,)
        Values of the two emotions.
    emotion : ndarray of shape (n_samples, 2)
        The samples' emotions, for the density.
    emotion_names : list of str
        Of the two emotions.
    scores : DataFrame
        A row per ``trait`` and ``model``, with ``n``, ``pearson`` and ``r2``: cross-validated, but
        for a module that was fitted before.

    Attributes
    ----------
    axes_ : ndarray of matplotlib axes of shape (n_traits, n_models)
    figure_ : matplotlib.figure.Figure

    References
    ----------
    Zhang et al., PersEmoN, arXiv 1811.08657, section 3.4: traits from arousal and valence.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from persona_affect.inspection import RelationDisplay
    >>> rng = np.random.default_rng(0)
    >>> emotion = pd.DataFrame(rng.normal(size=(60, 2)), columns=["arousal", "valence"])
    >>> traits = pd.DataFrame({"warm": emotion["valence"] + 0.1 * rng.normal(size=60)})
    >>> display = RelationDisplay.from_data(
    ...     emotion, traits, models={"linear": LinearRegression()}, plot=False
    ... )
    >>> display.scores.round(2).to_dict("records")
    [{'trait': 'warm', 'model': 'linear', 'n': 60, 'pearson': 0.99, 'r2': 0.99}]
    """

    def __init__(
        self,
        surfaces: Mapping[str, Mapping[str, _Floats]],
        grid: tuple[_Floats, _Floats],
        emotion: _Floats,
        *,
        emotion_names: Sequence[str],
        scores: pd.DataFrame,
    ) -> None:
        self.surfaces = surfaces
        self.grid = grid
        self.emotion = emotion
        self.emotion_names = emotion_names
        self.scores = scores

    @classmethod
    def from_data(
        cls,
        emotion: Any,
        traits: Any,
        *,
        groups: ArrayLike | None = None,
        features: tuple[str, str] | None = None,
        models: Mapping[str, BaseEstimator] | None = None,
        cv: int = 5,
        n_grid: int = 40,
        random_state: int = 0,
        plot: bool = True,
    ) -> Self:
        """Fit and cross-validate models of each trait, and plot their surfaces.

        Parameters
        ----------
        emotion : DataFrame of shape (n_samples, n_emotions)
            Ratings, or predictions for other persons than the model's.
        traits : DataFrame of shape (n_samples, n_traits)
            Ratings, NaN where not rated.
        groups : array-like of shape (n_samples,), optional
            The person of each sample, who is then in one fold only.
        features : tuple of two str, optional
            The emotions of the plot; the first two columns by default.
        models : dict of str to regressor, optional
            By default `RAMRegressor` as ``"RAM"``, ``"linear"``, and ``"monotone"``: boosted
            trees that rise or fall with each emotion. Each is fitted to one trait at a time.
        cv : int, default=5
            Number of folds.
        n_grid : int, default=40
            Points along each emotion, from the lowest to the highest value.
        random_state : int, default=0
            Of the folds, and of the default models.
        plot : bool, default=True
            Draw at once; else with :meth:`plot`.

        Returns
        -------
        RelationDisplay

        Raises
        ------
        ValueError
            If an emotion is missing, unknown, not finite or constant, or a trait has fewer samples
            than folds.
        """
        if models is None:
            models = {"RAM": RAMRegressor(random_state=random_state)} | _others(random_state)
        display = cls._compare(
            named_table(emotion, None),
            named_table(traits, None),
            groups,
            features,
            lambda trait: models,
            cv,
            n_grid,
            random_state,
        )
        return display.plot() if plot else display

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        emotion: Any,
        traits: Any,
        *,
        groups: ArrayLike | None = None,
        features: tuple[str, str] | None = None,
        models: Mapping[str, BaseEstimator] | None = None,
        cv: int = 5,
        n_grid: int = 40,
        random_state: int = 0,
        plot: bool = True,
    ) -> Self:
        """Read the relationship module of a fitted model, and put other models beside it.

        The module is used as it is, under the name ``"fitted RAM"``, and scored on all samples:
        give persons that it was not trained on. The models beside it are fitted to these samples
        and cross-validated, as in :meth:`from_data`.

        Parameters
        ----------
        estimator : fitted estimator
            A :class:`JointAffectEstimator` that was trained with a RAM, a :class:`RAMRegressor`, a
            pipeline that ends with one, or a :class:`ConformalAffect` around one.
        emotion : DataFrame of shape (n_samples, n_emotions)
            Its emotions, by name; other columns are left out.
        traits : DataFrame of shape (n_samples, n_traits)
            Ratings, NaN where not rated; columns that the module does not predict are left out.
        groups, features, cv, n_grid, random_state, plot
            As for :meth:`from_data`.
        models : dict of str to regressor, optional
            By default ``"linear"`` and ``"monotone"``.

        Returns
        -------
        RelationDisplay

        Raises
        ------
        ValueError
            If the model has no RAM, if the tables have none of its emotions or traits, and as for
            :meth:`from_data`.
        NotFittedError
        """
        module = find_module(estimator)
        emotion, traits = named_table(emotion, None), named_table(traits, None)
        emotion = emotion[emotion_names(module, list(emotion.columns))]
        known = [name for name in traits.columns if name in trait_names(module)]
        if not known:
            raise ValueError(
                f"The model predicts {trait_names(module)}; there are {list(traits.columns)}."
            )
        beside = dict(_others(random_state) if models is None else models)
        display = cls._compare(
            emotion,
            traits[known],
            groups,
            features,
            lambda trait: {"fitted RAM": FittedRelation(module, trait)} | beside,
            cv,
            n_grid,
            random_state,
        )
        return display.plot() if plot else display

    @classmethod
    def _compare(
        cls,
        emotion: pd.DataFrame,
        traits: pd.DataFrame,
        groups: ArrayLike | None,
        features: tuple[str, str] | None,
        models_of: Callable[[str], Mapping[str, BaseEstimator]],
        cv: int,
        n_grid: int,
        random_state: int,
    ) -> Self:
        names = list(features or emotion.columns[:2])
        _check(emotion, traits, names)
        X = emotion.to_numpy(float)
        columns = [list(emotion.columns).index(name) for name in names]
        first, second = (np.linspace(X[:, j].min(), X[:, j].max(), n_grid) for j in columns)
        people = None if groups is None else np.asarray(groups)
        surfaces: dict[str, dict[str, _Floats]] = {}
        scores = []
        for trait in map(str, traits):
            rated = traits[trait].notna().to_numpy()
            y = traits.loc[rated, trait].to_numpy(float)
            own = None if people is None else people[rated]
            n_units = len(y) if own is None else len(np.unique(own))
            if n_units < cv:
                raise ValueError(f"{trait} has {n_units} rated persons; {cv} folds need {cv}.")
            folds = (
                KFold(cv, shuffle=True, random_state=random_state)
                if own is None
                else GroupKFold(cv, shuffle=True, random_state=random_state)
            )
            # Where a point has a value for every emotion, all samples give the same mean.
            background = X[rated] if X.shape[1] > 2 else X[rated][:1]
            for name, model in models_of(trait).items():
                if isinstance(model, FittedRelation):
                    fitted, predicted = model, model.predict(X[rated])
                else:
                    fitted = clone(model).fit(X[rated], y)
                    predicted = cross_val_predict(clone(model), X[rated], y, groups=own, cv=folds)
                scores.append(
                    {
                        "trait": trait,
                        "model": name,
                        "n": len(y),
                        "pearson": float(pearson_score(y, predicted)),
                        "r2": float(r2_score(y, predicted)),
                    }
                )
                surface = partial_dependence(
                    fitted,
                    background,
                    columns,
                    custom_values=dict(zip(columns, (first, second), strict=True)),
                    method="brute",
                )
                surfaces.setdefault(name, {})[trait] = surface["average"][0].T
        return cls(
            surfaces,
            (first, second),
            X[:, columns],
            emotion_names=names,
            scores=pd.DataFrame(scores),
        )

    def plot(self, *, figure: "Figure | None" = None, density: bool = True) -> Self:
        """Draw a row of surfaces for each trait, in the same colours for all models.

        Parameters
        ----------
        figure : matplotlib figure, optional
            Empty; a new one by default.
        density : bool, default=True
            Draw the contours of the samples.

        Returns
        -------
        RelationDisplay
            Itself.
        """
        models = list(self.surfaces)
        traits = list(next(iter(self.surfaces.values())))
        if figure is None:
            import matplotlib.pyplot as plt

            size = (1 + 2.6 * len(models), 0.5 + 2.3 * len(traits))
            figure = plt.figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(traits), len(models), squeeze=False, sharex=True, sharey=True)
        r = self.scores.set_index(["trait", "model"])["pearson"]
        contours = self._density() if density else None
        for row, trait in zip(axes, traits, strict=True):
            values = [self.surfaces[model][trait] for model in models]
            low, high = min(map(np.min, values)), max(map(np.max, values))
            for ax, model, surface in zip(row, models, values, strict=True):
                mesh = ax.pcolormesh(*self.grid, surface, vmin=low, vmax=high, shading="nearest")
                if contours is not None:
                    heights, levels = contours
                    ax.contour(*self.grid, heights, levels=levels, colors="white", linewidths=0.8)
                ax.set_title(f"{trait}, {model}: r = {r[trait, model]:.2f}", fontsize="small")
            figure.colorbar(mesh, ax=list(row), label=trait)
        for ax in axes[-1]:
            ax.set_xlabel(self.emotion_names[0])
        for ax in axes[:, 0]:
            ax.set_ylabel(self.emotion_names[1])
        self.axes_, self.figure_ = axes, figure
        return self

    def _density(self) -> tuple[_Floats, _Floats]:
        """Return the samples' density on the grid, and the heights of the contours."""
        density = gaussian_kde(self.emotion.T)
        mesh = np.stack(np.meshgrid(*self.grid))
        heights = density(mesh.reshape(2, -1)).reshape(mesh.shape[1:])
        levels = np.quantile(density(self.emotion.T), [1 - share for share in _SHARES])
        return heights, levels


def _check(emotion: pd.DataFrame, traits: pd.DataFrame, names: list[str]) -> None:
    if len(emotion) != len(traits):
        raise ValueError(f"{len(emotion)} rows of emotions, {len(traits)} of traits.")
    unknown = [name for name in names if name not in emotion]
    if unknown:
        raise ValueError(f"There is no emotion {unknown[0]!r} in {list(emotion.columns)}.")
    if len(set(names)) != 2:
        raise ValueError(f"A surface needs two emotions, not {names}.")
    missing = ~np.isfinite(emotion.to_numpy(float)).all(axis=1)
    if missing.any():
        raise ValueError(f"Sample {int(np.argmax(missing))} has an emotion that is not finite.")
    for name in names:
        if np.ptp(emotion[name].to_numpy(float)) == 0:
            raise ValueError(f"The emotion {name!r} is the same in all samples.")


def _others(random_state: int) -> dict[str, BaseEstimator]:
    return {
        "linear": LinearRegression(),
        "monotone": MonotoneRegressor(random_state=random_state),
    }
