"""What all rooms need of scikit-learn: its private or young names, and the end of a pipeline.

This is the one place that a new version may break.

Tested against the oldest and the newest version that the package takes.
"""

import sys
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, TypeVar

from sklearn.base import BaseEstimator, _fit_context
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight

__all__ = [
    "HasMethods",
    "Interval",
    "StrOptions",
    "check_params",
    "check_sample_weight",
    "check_step_names",
    "final_step",
    "fit_context",
    "is_followed_by",
    "output_container",
    "safe_indexing",
]

# Methods of a pipeline that end in the same method of its last step.
_LAST_STEP_METHODS = ("fit", "fit_predict", "predict", "score")

_Method = TypeVar("_Method", bound=Callable[..., Any])

check_sample_weight = _check_sample_weight
safe_indexing = _safe_indexing


def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[_Method], _Method]:
    """Make scikit-learn's decorator of `fit`, which checks parameters, with the type of `fit`."""
    decorate: Callable[[_Method], _Method] = _fit_context(
        prefer_skip_nested_validation=prefer_skip_nested_validation
    )
    return decorate


def check_params(estimator: BaseEstimator) -> None:
    """Check an estimator's parameters against its `_parameter_constraints`."""
    estimator._validate_params()


def check_step_names(composed: Pipeline | FeatureUnion, names: Iterable[str]) -> None:
    """Raise ValueError for step names, or weights of a union, that scikit-learn would refuse."""
    if isinstance(composed, FeatureUnion):
        composed._validate_transformer_weights()
    composed._validate_names(list(names))


def final_step(model: BaseEstimator) -> Any:
    """Return the last step of a pipeline, also of pipelines in it, or the model itself."""
    return final_step(model.steps[-1][1]) if isinstance(model, Pipeline) else model


def is_followed_by(package: str) -> bool:
    """Return whether a pipeline runs this code in a step before its last, which `package` defines.

    Such a last step warns about missing values itself, and the steps before need not.
    """
    owners: list[Any] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Pipeline) and frame.f_code.co_name in _LAST_STEP_METHODS:
            last = final_step(owner)
            return type(last).__module__.startswith(f"{package}.") and all(
                last is not other for other in owners
            )
        owners.append(owner)
        frame = frame.f_back
    return False


def output_container(estimator: Any) -> str | None:
    """Return the container that `set_output` chose for `transform`, or None."""
    chosen: str | None = getattr(estimator, "_sklearn_output_config", {}).get("transform")
    return chosen
