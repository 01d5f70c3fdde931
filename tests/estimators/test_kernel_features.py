import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from persona_affect import KernelFeatures, load_model, save_model


@pytest.fixture(name="X")
def make_embeddings():
    return np.random.default_rng(0).normal(size=(60, 8)) * np.arange(1, 9)


def appended(X, **settings):
    features = KernelFeatures(random_state=0, **settings).fit_transform(X)
    np.testing.assert_array_equal(features[:, : X.shape[1]], X)
    return features[:, X.shape[1] :]


def test_with_all_samples_the_kernel_is_exact(X):
    features = appended(X, n_components=60, rank=3, gamma=0.7)
    seen = PCA(3).fit_transform(X)
    mean_squared_distance = ((seen[:, None] - seen[None]) ** 2).sum(-1).mean()
    kernel = rbf_kernel(seen, gamma=0.7 / mean_squared_distance)
    found = features @ features.T
    np.testing.assert_allclose(found / found[0, 0], kernel, atol=1e-8)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_weight_balances_both_parts(X, weight):
    features = appended(X, n_components=20, weight=weight)
    assert features.shape == (60, 20)
    assert features.var(0).sum() == pytest.approx(weight * X.var(0).sum())


def test_units_do_not_matter(X):
    np.testing.assert_allclose(appended(1000 * X), 1000 * appended(X), rtol=1e-6, atol=1e-3)


def test_linear_models_bend(X):
    y = X[:, -1] ** 2
    bending = make_pipeline(KernelFeatures(random_state=0), Ridge(1e-3))
    assert cross_val_score(Ridge(), X, y).mean() < 0
    assert cross_val_score(bending, X, y).mean() > 0.7


def test_samples_without_a_face_pass(X):
    holes = X.copy()
    holes[[3, 40]] = np.nan
    model = KernelFeatures(n_components=30, random_state=0).fit(holes)
    features = model.transform(holes)
    assert np.isnan(features).all(1).nonzero()[0].tolist() == [3, 40]
    whole = KernelFeatures(n_components=30, random_state=0).fit(np.delete(X, [3, 40], axis=0))
    np.testing.assert_allclose(features[:3], whole.transform(X[:3]))
    assert np.isnan(model.transform(holes[[3]])).all()


def test_single_precision_stays(X):
    features = KernelFeatures(random_state=0).fit_transform(X.astype(np.float32))
    assert features.dtype == np.float32
    np.testing.assert_allclose(
        features, KernelFeatures(random_state=0).fit_transform(X), rtol=1e-2, atol=1e-2
    )


def test_samples_that_are_all_alike():
    assert np.isfinite(KernelFeatures().fit_transform(np.ones((5, 2)))).all()


def test_one_face_is_too_few(X):
    X[1:] = np.nan
    with pytest.raises(ValueError, match="needs 2 samples with a face or more, not 1"):
        KernelFeatures().fit(X)


def test_a_file_holds_it(X, tmp_path):
    model = KernelFeatures(n_components=12, rank=4, random_state=0).fit(X)
    save_model(model, tmp_path / "kernel.safetensors")
    again = load_model(tmp_path / "kernel.safetensors")
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    assert again.get_feature_names_out().tolist() == model.get_feature_names_out().tolist()
