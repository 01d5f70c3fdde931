"""The steps of a pipeline, run once for several models that share them."""

import warnings
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.pipeline import Pipeline

from persona_affect.exceptions import NoFaceWarning
from persona_affect.faces import FaceAligner

from ._embedder import FaceEmbedder


def count_shared(model: Any) -> int:
    """Count the leading steps of a pipeline that learn nothing; copies of the rest share them."""
    if not isinstance(model, Pipeline):
        return 0
    n_steps = 0
    for step in model[:-1]:
        if not isinstance(step, FaceAligner | FaceEmbedder):
            break
        n_steps += 1
    return n_steps


def look(
    model: Any,
    X: Any,
    n_shared: int,
    *,
    needs_shared: bool,
    needs_features: bool,
    takes_matrix: bool,
) -> tuple[Any, Any, Any]:
    """Predict, and return what was computed on the way.

    Parameters
    ----------
    model : estimator or pipeline
        Fitted.
    X : samples
    n_shared : int
        Leading steps of a pipeline that copies share.
    needs_shared, needs_features : bool
        Whether the first, and the second, result is used.
    takes_matrix : bool
        Whether `X` itself counts as features, if the model has none of its own.

    Returns
    -------
    shared : samples
        After the shared steps.
    features : array-like of shape (n_samples, n_features) or None
        What the last step takes; or, if that is no matrix, what its `transform` gives.
    predicted : ndarray
    """
    if not isinstance(model, Pipeline):
        features = None
        if needs_features and hasattr(model, "transform"):
            features = model.transform(X)
        elif needs_features and takes_matrix:
            features = X
        if issparse(features):
            raise TypeError("Distances need a dense matrix; sparse data was passed.")
        return X, features, model.predict(X)
    if not needs_shared:
        return None, None, model.predict(X)
    shared = X
    with warnings.catch_warnings():
        # The last step warns of the same samples.
        warnings.simplefilter("ignore", NoFaceWarning)
        for step in model[:n_shared]:
            shared = step.transform(shared)
        inputs = shared
        for step in model[n_shared:-1]:
            inputs = step.transform(inputs)
        features = inputs if needs_features else None
        if needs_features and np.ndim(inputs) != 2 and hasattr(model[-1], "transform"):
            features = model[-1].transform(inputs)
    return shared, features, model[-1].predict(inputs)
