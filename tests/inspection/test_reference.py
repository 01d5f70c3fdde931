import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from persona_affect import JointAffectEstimator, load_model, save_model
from persona_affect.inspection import RatingDistribution


def test_it_is_of_the_ratings_that_a_model_was_trained_on(model, faces):
    reference = RatingDistribution.from_estimator(model)
    assert reference.target_names == list(faces.target.columns)
    np.testing.assert_allclose(reference.mean, faces.target.mean())
    np.testing.assert_allclose(reference.std, faces.target.std(ddof=0))


def test_a_saved_model_still_knows(model, tmp_path):
    save_model(model, tmp_path / "model.safetensors")
    again = RatingDistribution.from_estimator(load_model(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(again.std, RatingDistribution.from_estimator(model).std)


def test_without_standardised_targets_the_spread_is_unknown():
    rng = np.random.RandomState(0)
    raw = JointAffectEstimator(heads="authors", max_epochs=1, random_state=0)
    raw.fit(rng.randn(8, 4).astype(np.float32), rng.uniform(-1, 1, (8, 2)))
    reference = RatingDistribution.from_estimator(raw)
    assert np.isfinite(reference.mean).all()
    assert np.isnan(reference.std).all()


def test_percentiles_are_of_a_normal_distribution():
    reference = RatingDistribution(["a", "b"], [0.0, 10.0], [1.0, 2.0])
    got = reference.percentile([[0.0, 10.0], [1.0, 8.0]])
    np.testing.assert_allclose(got, [[50, 50], [84.134, 15.866]], atol=1e-3)


def test_a_model_without_names_is_refused():
    model = LinearRegression().fit(np.eye(2), np.eye(2))
    with pytest.raises(ValueError, match="LinearRegression does not name its targets"):
        RatingDistribution.from_estimator(model)
