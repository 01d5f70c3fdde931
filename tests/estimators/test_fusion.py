import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import cross_val_predict

from persona_affect import PersonDynamicsEncoder, TaskFusion
from persona_affect.datasets import make_dynamic_clips
from persona_affect.exceptions import NoFaceWarning
from persona_affect.metrics import ccc_score


class _MeanColour(TransformerMixin, BaseEstimator):
    """Stands in for an encoder: says how bright clips are; NaN for one without frames."""

    def fit(self, X, y=None):
        self.n_seen_ = len(X)
        return self

    def transform(self, X):
        return np.array([c.mean((0, 1, 2)) if len(c) else np.full(3, np.nan) for c in X])


@pytest.fixture
def recorded():
    rng = np.random.RandomState(0)
    X = np.empty((30, 2), dtype=object)
    for cell in np.ndindex(X.shape):
        X[cell] = np.full((2, 4, 4, 3), rng.randint(0, 256, 3), np.uint8)
    first, second = (np.array([c[0, 0, 0] for c in X[:, j]], float) for j in (0, 1))
    return X, np.column_stack([first[:, 0] + second[:, 1], first[:, 2]])


def test_early_fusion_regresses_on_all_descriptors(recorded):
    X, y = recorded
    model = TaskFusion(_MeanColour(), LinearRegression()).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-9)
    assert model.encoder_.n_seen_ == 60
    assert model.regressors_[0].coef_.shape == (2, 6)


def test_late_fusion_averages_predictions(recorded):
    X, y = recorded
    model = TaskFusion(_MeanColour(), Ridge(), fusion="late").fit(X, y)
    descriptors = [_MeanColour().transform(X[:, j]) for j in (0, 1)]
    expected = np.mean([Ridge().fit(d, y).predict(d) for d in descriptors], axis=0)
    np.testing.assert_allclose(model.predict(X), expected)
    flat = clone(model).fit(X, y[:, 0]).predict(X)
    np.testing.assert_allclose(flat, expected[:, 0])


def test_late_fusion_does_without_a_task(recorded):
    X, y = recorded
    nobody = np.empty((0, 4, 4, 3), np.uint8)
    X[0, 1] = X[1, 0] = X[2, 0] = X[2, 1] = nobody
    late = TaskFusion(_MeanColour(), Ridge(), fusion="late").fit(X, y)
    predicted = late.predict(X)
    only_first = late.regressors_[0].predict(_MeanColour().transform(X[:1, 0]))
    np.testing.assert_allclose(predicted[0], only_first[0])
    assert np.isfinite(predicted[1]).all()
    assert np.isnan(predicted[2]).all()
    early = TaskFusion(_MeanColour(), Ridge()).fit(X, y).predict(X)
    assert np.isnan(early[:3]).all()
    assert np.isfinite(early[3:]).all()


def test_stacked_fusion_weighs_tasks_by_what_they_show():
    """One task shows the first target weakly, the other the second; the third shows nothing."""
    rng = np.random.RandomState(0)
    y = rng.standard_normal((400, 2))
    descriptors = rng.standard_normal((400, 3, 20))
    descriptors[:, 0, 0] += y[:, 0]
    descriptors[:, 1, 0] += y[:, 1]
    train, test = slice(0, 300), slice(300, None)
    late, stacked = (
        TaskFusion(None, Ridge(), fusion=fusion).fit(descriptors[train], y[train])
        for fusion in ("late", "stacked")
    )
    predicted, averaged = (model.predict(descriptors[test]) for model in (stacked, late))
    assert ccc_score(y[test], predicted) > 0.15 + ccc_score(y[test], averaged)
    weights = stacked.task_weights_
    assert weights.shape == (3, 2)
    assert (weights >= 0).all()
    assert weights[0, 0] > 0.6 > 0.4 > weights[1:, 0].max()
    # One target, and a person without some tasks.
    flat = clone(stacked).fit(descriptors[train], y[train, 0]).predict(descriptors[test])
    np.testing.assert_allclose(flat, predicted[:, 0])
    some = descriptors[test].copy()
    some[0, 1:] = some[1] = np.nan
    found = stacked.predict(some)
    expected = stacked.regressors_[0].predict(some[:1, 0]) - stacked._task_means[0]
    np.testing.assert_allclose(found[0], (stacked._offset + weights[0] * expected)[0])
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[2:], predicted[2:])
    some[1:, 0] = np.nan
    with pytest.raises(ValueError, match="Task 0 has 1 descriptor"):
        clone(stacked).fit(some, y[test])


def test_a_frozen_encoder_is_not_fitted_again(recorded):
    X, y = recorded
    frozen = FrozenEstimator(_MeanColour().fit([0]))
    model = TaskFusion(frozen, Ridge()).fit(X, y)
    assert model.encoder_.n_seen_ == 1


def test_descriptors_without_an_encoder(recorded):
    X, y = recorded
    descriptors = np.stack([_MeanColour().transform(X[:, j]) for j in (0, 1)], 1)
    direct = TaskFusion(None, Ridge()).fit(descriptors, y).predict(descriptors)
    np.testing.assert_allclose(direct, TaskFusion(_MeanColour(), Ridge()).fit(X, y).predict(X))


def test_wrong_shapes_are_named(recorded):
    X, y = recorded
    with pytest.raises(ValueError, match=r"found \[1, 2\]"):
        TaskFusion(_MeanColour(), Ridge()).fit([[X[0, 0]], [X[1, 0], X[1, 1]]], y[:2])
    with pytest.raises(ValueError, match="1 tasks, but was fitted with 2"):
        TaskFusion(_MeanColour(), Ridge()).fit(X, y).predict(X[:, :1])
    with pytest.raises(ValueError, match="fusion"):
        TaskFusion(_MeanColour(), Ridge(), fusion="middle").fit(X, y)
    X[:, 1] = [np.empty((0, 4, 4, 3), np.uint8)] * 30
    with pytest.raises(ValueError, match="Task 1"):
        TaskFusion(_MeanColour(), Ridge(), fusion="late").fit(X, y)


def test_with_person_dynamics():
    bunch = make_dynamic_clips(
        4, 1, n_frames=8, tasks=("reading", "talking"), image_size=48, random_state=0
    )
    X = bunch.data.reshape(4, 2)
    y = bunch.target.iloc[::2].to_numpy()
    encoder = PersonDynamicsEncoder(scales=(1,), max_epochs=1, device="cpu", random_state=0)
    X[0, 0] = X[0, 0][:0]
    with pytest.warns(NoFaceWarning):
        predicted = cross_val_predict(TaskFusion(encoder, Ridge(), fusion="late"), X, y, cv=2)
    assert predicted.shape == (4, 5)
    assert np.isfinite(predicted).all()
