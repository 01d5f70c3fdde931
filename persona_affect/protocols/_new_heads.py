"""New heads on the frozen features of a fitted model: for ratings of one's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from persona_affect.estimators import ConformalAffect, JointAffectEstimator
from persona_affect.model_selection import AffectGroupKFold

from ._evaluation import evaluate_predictions


@dataclass(frozen=True)
class NewHeads:
    """A model with new heads, and how well its recipe predicts samples that it was not trained on.

    Attributes
    ----------
    model : Pipeline
        Trained on all samples.
    predictions : DataFrame of shape (n_samples, n_targets)
        Each sample by heads that did not learn from its group; NaN without a face.
    scores : DataFrame of a row per target
        As :func:`evaluate_predictions` returns it; the baseline is the mean label of all samples.
    intervals : ConformalAffect
        Around `model`, calibrated by the errors of `predictions`: :func:`save_model` stores both.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.pipeline import make_pipeline
    >>> from persona_affect import ConformalAffect, FaceAligner, JointAffectEstimator
    >>> from persona_affect.protocols import NewHeads
    >>> model = make_pipeline(FaceAligner(), JointAffectEstimator())
    >>> predicted, scores = pd.DataFrame({"warm": [4.8]}), pd.DataFrame({"ccc": [0.4]})
    >>> heads = NewHeads(model, predicted, scores, ConformalAffect(model))
    >>> heads.scores["ccc"].tolist()
    [0.4]
    """

    model: Pipeline
    predictions: pd.DataFrame
    scores: pd.DataFrame
    intervals: ConformalAffect


def train_heads(
    start: Pipeline,
    X: Any,
    y: pd.DataFrame,
    *,
    personality: Sequence[str],
    emotion: Sequence[str],
    groups: ArrayLike | None = None,
    n_splits: int = 5,
    n_resamples: int = 1000,
    random_state: int = 0,
) -> NewHeads:
    """Train new heads for a fitted model, on other ratings; everything before them is frozen.

    The networks see each sample once, so that this takes minutes on a laptop. The method is ours,
    not from the papers.

    Parameters
    ----------
    start : Pipeline
        Fitted, ending in a :class:`persona_affect.JointAffectEstimator` on embeddings, as the
        bundled model does. It is not changed.
    X : array-like of n_samples photos or clips
        What `start` takes.
    y : DataFrame of shape (n_samples, n_targets)
        Ratings in any units, NaN where a sample was not rated.
    personality, emotion : sequence of str
        The columns of `y` that are of either kind.
    groups : array-like of shape (n_samples,), optional
        The person whom each sample shows: all samples of a person are in one fold. By default each
        sample is of another person.
    n_splits : int, default=5
        Folds of the cross-validation, or fewer if there are fewer persons.
    n_resamples : int, default=1000
        Draws of the bootstrap over persons, for the intervals.
    random_state : int, default=0
        Seed of folds, heads and bootstrap.

    Returns
    -------
    NewHeads
        The model, and predictions for each sample by heads that did not learn from its group.

    Raises
    ------
    ValueError
        If `start` does not end in heads on embeddings, or fewer than two persons have a face.

    Examples
    --------
    Embeddings in place of photos, and a model that was trained on them:

    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from persona_affect import JointAffectEstimator
    >>> from persona_affect.protocols import train_heads
    >>> X = np.random.RandomState(0).randn(60, 8).astype(np.float32)
    >>> heads = JointAffectEstimator(max_epochs=2, random_state=0)
    >>> start = make_pipeline(StandardScaler(), heads).fit(X, np.full((60, 7), 0.5) + X[:, :7])
    >>> ratings = pd.DataFrame({"warmth": 4 + X[:, 0], "joy": 4 + X[:, 1]})
    >>> found = train_heads(
    ...     start, X, ratings, personality=["warmth"], emotion=["joy"], n_splits=2, n_resamples=9
    ... )
    >>> bool(found.scores.loc["warmth", "pearson"] > 0.8)
    True
    """
    heads = _find_heads(start)
    names = [*personality, *emotion]
    y = y[names].reset_index(drop=True)
    features = np.asarray(start[:-1].transform(X))
    persons = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    found = ~np.isnan(features).any(1)
    n_persons = len(np.unique(persons[found]))
    if n_persons < 2:
        raise ValueError(
            f"{n_persons} person(s) with a face: heads need two or more, to be checked on others."
        )
    fresh = clone(heads).set_params(
        personality=list(personality), emotion=list(emotion), random_state=random_state
    )
    predicted = pd.DataFrame(np.nan, y.index, names)
    n_folds = min(n_splits, n_persons)
    folds = AffectGroupKFold(
        n_folds,
        shuffle=True,
        random_state=random_state,
        personality=personality,
        emotion=emotion,
    )
    rows = np.flatnonzero(found)
    for train, test in folds.split(rows, y.iloc[rows], groups=persons[rows]):
        fitted = clone(fresh).fit(features[rows[train]], y.iloc[rows[train]])
        values = np.reshape(fitted.predict(features[rows[test]]), (len(test), -1))
        predicted.loc[rows[test], fitted.target_names_] = values
    scores = evaluate_predictions(
        y,
        predicted,
        groups=persons,
        baseline=y.mean(),
        personality=personality,
        emotion=emotion,
        n_resamples=n_resamples,
        random_state=random_state,
    )
    final = fresh.fit(features[rows], y.iloc[rows])
    model = Pipeline([*start.steps[:-1], (start.steps[-1][0], final)])
    # Around the heads alone, so that the networks do not see each sample again.
    conformal = ConformalAffect(model, method="base", cv=n_folds, random_state=random_state)
    conformal = conformal.around(model[-1:]).conformalize(
        features[rows], y.iloc[rows], persons[rows], predicted=predicted.iloc[rows]
    )
    return NewHeads(model, predicted, scores, conformal.around(model))


def _find_heads(start: BaseEstimator) -> JointAffectEstimator:
    heads = start.steps[-1][1] if isinstance(start, Pipeline) else None
    if not isinstance(heads, JointAffectEstimator) or not hasattr(heads, "n_features_in_"):
        raise ValueError(
            "The model to start from must be a pipeline whose last step is a JointAffectEstimator "
            "that was fitted on embeddings, such as load_model()."
        )
    return heads
