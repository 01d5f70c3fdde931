"""Fits with the same random_state give the same bits alone, in threads and in processes."""

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn

from persona_affect import JointAffectEstimator, RAMRegressor, load_model, save_model
from persona_affect.networks import Backbone

SEEDS = [0, 1, 0, 2]


class Dropping(Backbone):
    """A feature extractor with three ways to draw: layers, a function, and numbers of its own."""

    input_size, n_features = (8, 6), 5

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Dropout2d(0.3), nn.ReLU(), nn.Dropout())

    def forward(self, frames):
        features = self.layers((frames.permute(0, 3, 1, 2).float() - 127.5) / 64).mean((2, 3))
        if self.training:
            features = nn.functional.dropout(features) + 0.1 * torch.randn_like(features)
        return features


@pytest.fixture
def dropping(tiny):
    case = tiny.cases["joint"]()
    model = clone(case.estimator).set_params(backbone=Dropping, max_epochs=5)
    return model, case.X, case.y


def fit_with(model, seed, X, y):
    """Fit with a seed, and return what the model gives."""
    model = clone(model)
    own = {k: seed for k in model.get_params() if k.rpartition("__")[2] == "random_state"}
    model.set_params(**own).fit(X, y)
    method = model.predict if hasattr(model, "predict") else model.transform
    return list(method(X))


def fit_together(backend, model, X, y):
    settings = {"n_jobs": len(SEEDS)}
    if backend == "loky":
        # Sums over other numbers of threads may differ in their last bits.
        settings = {"n_jobs": 2, "inner_max_num_threads": torch.get_num_threads()}
    with joblib.parallel_config(backend=backend, **settings):
        return joblib.Parallel()(joblib.delayed(fit_with)(model, s, X, y) for s in SEEDS)


def assert_same(together, alone):
    for ours, theirs in zip(together, alone, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.cases("joint", "joint-stopping", "joint-embeddings", "embedder", "pipeline")
def test_threads(case):
    alone = [fit_with(case.estimator, seed, case.X, case.y) for seed in SEEDS]
    assert_same(fit_together("threading", case.estimator, case.X, case.y), alone)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_dropout_and_augmentation(backend, dropping):
    alone = [fit_with(dropping[0], seed, *dropping[1:]) for seed in SEEDS]
    assert np.isfinite(alone).all()
    assert not np.allclose(alone[0], alone[1])
    before = torch.get_rng_state()
    assert_same(fit_together(backend, *dropping), alone)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_ram_alone():
    rng = np.random.default_rng(0)
    emotion, traits = rng.uniform(-1, 1, (40, 2)), rng.uniform(size=(40, 5))
    model = RAMRegressor(max_epochs=20)
    alone = [fit_with(model, seed, emotion, traits) for seed in SEEDS]
    assert_same(fit_together("threading", model, emotion, traits), alone)


@pytest.mark.filterwarnings("ignore::persona_affect.exceptions.FewLabelsWarning")
def test_a_grid_search_in_threads(dropping):
    model, X, y = dropping
    y = np.nan_to_num(y, nan=0.5)
    grid = {"lambda_coh": [0.0, 0.1], "learning_rate": [1e-3, 1e-2]}

    def search(**settings):
        with joblib.parallel_config(**settings):
            return GridSearchCV(model, grid, cv=2).fit(list(X), y)

    alone, beside = search(n_jobs=1), search(backend="threading", n_jobs=4)
    for fold in range(2):
        name = f"split{fold}_test_score"
        np.testing.assert_array_equal(beside.cv_results_[name], alone.cv_results_[name])
    np.testing.assert_array_equal(beside.predict(list(X)), alone.predict(list(X)))


@pytest.mark.filterwarnings("ignore::persona_affect.exceptions.FewLabelsWarning")
def test_models_loaded_meanwhile_do_not_change_a_fit(dropping, tmp_path):
    model, X, y = dropping
    alone = fit_with(model, 0, X, y)
    save_model(
        JointAffectEstimator("sphereface4", max_epochs=1, batch_size=4).fit(
            np.zeros((4, 112, 96, 3), np.uint8), y[3:7]
        ),
        tmp_path / "model.safetensors",
    )
    with joblib.parallel_config(backend="threading", n_jobs=4):
        tasks = [joblib.delayed(fit_with)(model, 0, X, y) for _ in range(2)]
        tasks += [joblib.delayed(load_model)(tmp_path / "model.safetensors")] * 6
        results = joblib.Parallel()(tasks)
    assert_same(results[:2], [alone, alone])
