"""Terms of the loss that other packages register: their heads, targets, files and searches."""

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.nn import functional

from persona_affect import JointAffectEstimator, load_model, save_model
from persona_affect.exceptions import MissingDependencyError
from persona_affect.objectives import TERMS, LossTerm, _terms, register_term, regress

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)).astype(np.float32)
AGE = 40 + 10 * X[:, 0]
SMILES = (X[:, 1] > 0).astype(float)
TRAITS = pd.DataFrame(RNG.uniform(size=(60, 2)), columns=["trust", "skill"])
Y = TRAITS.assign(joy=X[:, 2] / 4, age=AGE, smile=SMILES)


def linear(n_features, n_targets):
    return nn.Linear(n_features, n_targets)


def cross_entropy(inputs):
    seen = ~inputs.labels.isnan().any(1)
    return functional.binary_cross_entropy(inputs.pooled()[seen], inputs.labels[seen])


def probability(n_features, n_targets):
    return nn.Sequential(nn.Linear(n_features, n_targets), nn.Sigmoid())


def size(inputs):
    return inputs.embedding.square().mean()


@pytest.fixture(autouse=True)
def registered():
    before = dict(TERMS)
    register_term(
        LossTerm("age", regress, build_head=linear, labels="age", targets=("age",), metric="r2")
    )
    register_term(
        LossTerm(
            "smile",
            cross_entropy,
            build_head=probability,
            labels="smile",
            targets=("smile",),
            standardize=False,
            metric="pearson",
        )
    )
    register_term(LossTerm("size", size))
    yield
    _terms._terms.clear()
    _terms._terms.update(before)


def joint(**settings):
    settings = {"learning_rate": 0.05, "max_epochs": 30, "random_state": 0, **settings}
    groups = {"personality": ["trust", "skill"], "emotion": ["joy"]}
    return JointAffectEstimator(device="cpu", **groups, **settings)


def test_heads_learn_targets_of_their_own_in_their_units():
    weights = {"age": 1.0, "smile": 1.0}
    model = joint(extra_lambdas=weights, max_epochs=300).fit(
        X, Y[["smile", "trust", "age", "skill", "joy"]]
    )
    assert model.target_names_ == ["smile", "trust", "age", "skill", "joy"]
    assert model.extra_names_ == {"age": ["age"], "smile": ["smile"]}
    found = pd.DataFrame(model.predict(X), columns=model.target_names_)
    assert np.corrcoef(found["age"], AGE)[0, 1] > 0.95
    assert abs(found["age"].mean() - 40) < 2
    assert found["smile"].between(0, 1).all()
    assert ((found["smile"] > 0.5) == SMILES).mean() > 0.9
    assert {"train_age", "train_smile", "train_per"} <= set(model.history_)
    scores = model.score_terms(X, Y)
    assert list(scores.index) == ["per_ccc", "emo_ccc", "age_r2", "smile_pearson"]
    assert scores["age_r2"] > 0.8


def test_labels_may_be_missing_and_a_group_may_stand_alone():
    y = Y.copy()
    y.loc[:29, ["trust", "skill", "joy"]] = np.nan
    y.loc[40:, "age"] = np.nan
    model = joint(extra_lambdas={"age": 1.0}, early_stopping=True).fit(X, y.drop(columns="smile"))
    assert np.isfinite(model.predict(X)).all()
    alone = joint(extra_lambdas={"age": 1.0}).set_params(personality=None, emotion=None)
    assert alone.fit(X, AGE[:, None]).target_names_ == ["age"]


def test_an_array_has_further_targets_last():
    values = Y[["trust", "skill", "joy", "age"]]
    model = joint(extra_lambdas={"age": 1.0})
    expected = clone(model).fit(X, values).predict(X)
    np.testing.assert_array_equal(model.fit(X, values.to_numpy()).predict(X), expected)


def test_a_weight_of_zero_predicts_the_mean_and_changes_no_other_head():
    y = Y.drop(columns=["age", "smile"])
    expected = joint().fit(X, y).predict(X)
    with_age = joint(extra_lambdas={"age": 0.0}).fit(X, y.assign(age=AGE))
    found = pd.DataFrame(with_age.predict(X), columns=with_age.target_names_)
    np.testing.assert_allclose(found["age"], AGE.mean(), rtol=1e-6)
    np.testing.assert_array_equal(found[list(y)], expected)


def test_a_term_without_labels_or_head():
    y = Y.drop(columns=["age", "smile"])
    free = joint(adapter_rank=3, max_epochs=5).fit(X, y)
    small = clone(free).set_params(extra_lambdas={"size": 10.0}).fit(X, y)
    assert small.history_["train_size"].iloc[-1] < np.square(free.transform(X)).mean()
    with pytest.raises(ValueError, match="Nothing to train on"):
        joint(extra_lambdas={"size": 1.0}, lambda_per=0, lambda_emo=0, lambda_ram=0).fit(X, y)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"pose": 1.0}, "'pose' is not registered"),
        ({"per": 1.0}, "the weight of .per. is lambda_per"),
        ({"age": -1.0}, "'age' has the weight -1.0"),
        ({"age": "high"}, "'age' has the weight 'high'"),
    ],
)
def test_wrong_weights_are_named(weights, message):
    with pytest.raises(ValueError, match=message):
        joint(extra_lambdas=weights).fit(X, Y)


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match=r"expected .*'age'"):
        joint(extra_lambdas={"age": 1.0}).fit(X, Y.drop(columns=["age", "smile"]))


def test_in_searches_pickles_and_files(tmp_path, monkeypatch):
    y = Y.drop(columns="smile")
    grid = {"extra_lambdas": [{"age": 0.1}, {"age": 1.0}]}
    search = GridSearchCV(joint(max_epochs=3), grid, cv=2)
    model = search.fit(X, y).best_estimator_
    joblib.dump(model, tmp_path / "model.joblib")
    save_model(model, tmp_path / "model")
    for again in (joblib.load(tmp_path / "model.joblib"), load_model(tmp_path / "model")):
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        assert again.extra_names_ == {"age": ["age"]}
    monkeypatch.delitem(_terms._terms, "age")
    with pytest.raises(MissingDependencyError, match=f"term 'age'.*import {regress.__module__}"):
        load_model(tmp_path / "model")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "two words"}, "identifier"),
        ({"labels": "age"}, "go together"),
        ({"targets": ("age",)}, "go together"),
        ({"labels": "age", "targets": ("age",)}, "needs build_head"),
    ],
)
def test_terms_that_do_not_hold_together(settings, message):
    with pytest.raises(ValueError, match=message):
        LossTerm(**{"name": "age", "loss": regress, **settings})


def test_a_name_of_another_package_is_taken():
    with pytest.raises(ValueError, match=r"registered by .* already"):
        register_term(LossTerm("per", size))
