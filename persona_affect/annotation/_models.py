"""Checks of models for annotation and the command line, and what runs them."""

from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from persona_affect._sklearn import final_step
from persona_affect.engines import get_report
from persona_affect.estimators import ConformalAffect
from persona_affect.faces import FaceAligner


def check_photo_model(model: Any) -> Pipeline:
    """Check that a model takes photos and clips, is fitted, and names its targets.

    Parameters
    ----------
    model : object
        A pipeline, or a :class:`persona_affect.ConformalAffect` around one.

    Returns
    -------
    Pipeline
        `model` itself, or the one that it is around.

    Raises
    ------
    ValueError
        If it is not a pipeline that starts with a :class:`persona_affect.FaceAligner` and ends
        with an estimator that has `target_names_`, such as a fitted
        :class:`persona_affect.JointAffectEstimator`.
    NotFittedError
        If it is not fitted.

    Examples
    --------
    >>> from persona_affect import load_model
    >>> from persona_affect.annotation import check_photo_model
    >>> model = load_model()
    >>> check_photo_model(model) is model
    True
    """
    if isinstance(model, ConformalAffect):
        check_is_fitted(model)
        model = model.estimator_
    if not isinstance(model, Pipeline) or not isinstance(model[0], FaceAligner):
        raise ValueError(
            "The model must be a Pipeline that starts with a FaceAligner, such as "
            "make_pipeline(FaceAligner(), JointAffectEstimator()); this one is a "
            f"{type(model).__name__}, which takes aligned faces or numbers."
        )
    check_is_fitted(model)
    final = final_step(model)
    if not hasattr(final, "target_names_"):
        raise ValueError(
            f"The model ends in {type(final).__name__}, which has no target_names_: end it with a "
            "fitted JointAffectEstimator."
        )
    return model


def engine_of(model: Pipeline) -> str | None:
    """Name what runs a compiled model, so that its numbers are not mixed with others; else None."""
    report = get_report(model)
    if report is None:
        return None
    return f"{report.engine}, {report.precision}, {'two views' if report.mirror else 'one view'}"
