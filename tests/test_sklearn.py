"""Each private name of scikit-learn that the package uses does what it is used for.

`.ci/run oldest` runs this with the oldest version that the package takes, `.ci/run test` with the
newest.
"""

import inspect
from numbers import Integral
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from persona_affect import _sklearn
from persona_affect._sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    check_params,
    check_sample_weight,
    check_step_names,
    final_step,
    fit_context,
    is_followed_by,
    output_container,
    safe_indexing,
)


class Thing(TransformerMixin, BaseEstimator):
    _parameter_constraints: ClassVar = {
        "size": [Interval(Integral, 1, None, closed="left")],
        "kind": [StrOptions({"plain", "fancy"}), HasMethods("draw")],
    }

    def __init__(self, size=1, kind="plain"):
        self.size = size
        self.kind = kind

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X

    def get_feature_names_out(self, input_features=None):
        return np.array(["a"], dtype=object)


class Drawing:
    def draw(self):
        """A method that the constraint asks for."""


class Asking(Thing):
    """Notes, whenever it runs, whether a step of a package follows."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        self.answer_ = is_followed_by("package")
        return X

    def predict(self, X):
        return self.transform(X)


def test_a_step_knows_whether_a_step_of_a_package_follows(monkeypatch):
    monkeypatch.setattr(Asking, "__module__", "package.steps")
    X = np.eye(2)
    first, nested, last = Asking(), Asking(), Asking()
    make_pipeline(make_union(first, make_pipeline(nested)), last).fit(X).predict(X)
    assert (first.answer_, nested.answer_, last.answer_) == (True, True, False)
    first.transform(X)
    assert not first.answer_
    make_pipeline(first, LinearRegression()).fit(X, [0, 1]).predict(X)
    assert not first.answer_


def test_every_name_is_tested_here():
    source = inspect.getsource(inspect.getmodule(Thing))
    assert [name for name in _sklearn.__all__ if f"{name}(" not in source] == []


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": 1.5}, {"kind": "odd"}, {"kind": 3}])
def test_parameters_are_checked(wrong):
    for check in (check_params, lambda thing: thing.fit([[0.0]])):
        with pytest.raises(ValueError, match=f"'{next(iter(wrong))}' parameter of Thing must be"):
            check(Thing(**wrong))


def test_the_last_step_of_nested_pipelines():
    thing = Thing()
    assert final_step(thing) is thing
    assert final_step(make_pipeline(StandardScaler(), make_pipeline(Thing(), thing))) is thing


def test_good_parameters_pass():
    for right in ({}, {"size": 7}, {"kind": "fancy"}, {"kind": Drawing()}):
        check_params(Thing(**right))
        assert isinstance(clone(Thing(**right)).fit([[0.0]]), Thing)


def test_names_of_steps():
    pipeline = make_pipeline(Thing(), Thing())
    check_step_names(pipeline, ["first", "second"])
    for names, message in [
        (["same", "same"], "unique"),
        (["with__underscores", "b"], "must not contain __"),
        (["steps", "b"], "conflict with constructor arguments"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_step_names(pipeline, names)


def test_weights_of_unions():
    union = make_union(Thing(), StandardScaler())
    names = [name for name, _ in union.transformer_list]
    check_step_names(union.set_params(transformer_weights={names[0]: 2.0}), names)
    wrong = FeatureUnion(union.transformer_list, transformer_weights={"nobody": 2.0})
    with pytest.raises(ValueError, match="nobody"):
        check_step_names(wrong, names)


def test_container_of_the_output():
    assert output_container(Thing()) is None
    assert output_container(Thing().set_output(transform="pandas")) == "pandas"
    assert output_container(object()) is None


def test_sample_weights():
    X = np.zeros((3, 1))
    assert check_sample_weight(None, X).tolist() == [1, 1, 1]
    assert check_sample_weight([1, 2, 3], X, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="sample_weight"):
        check_sample_weight([1, 2], X)
    with pytest.raises(ValueError, match="Negative"):
        check_sample_weight([1, 2, -3], X, ensure_non_negative=True)


@pytest.mark.parametrize(
    "samples", [["a", "b", "c"], np.array(["a", "b", "c"]), pd.Series(["a", "b", "c"], [7, 8, 9])]
)
def test_indexing_of_any_container(samples):
    taken = safe_indexing(samples, np.array([2, 0]))
    assert type(taken) is type(samples)
    assert list(taken) == ["c", "a"]
