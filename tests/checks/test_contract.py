"""What scikit-learn's own checks ask of every estimator, asked on faces."""

import os
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner, FaceEmbedder, JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.networks import make_backbone


def assert_same(first, second):
    """Equal to the bit, list by list; NaN equals NaN."""
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


def copied(X):
    if isinstance(X, np.ndarray) and X.dtype != object:
        return X.copy()
    return [np.array(sample) for sample in X]


def test_refit_equals_fresh_fit(case):
    fresh = case.fit()
    some = slice(1, -1)
    refitted = case.fit(case.X[some], None if case.y is None else case.y[some])
    refitted.fit(case.X, case.y)
    assert_same(case.run(refitted), case.run(fresh))


@pytest.mark.cases("joint")
def test_refit_on_embeddings_equals_fresh_fit(case, tiny):
    embeddings = tiny.cases["joint-embeddings"]()
    model = case.fit(embeddings.X, embeddings.y)
    assert model.n_features_in_ == embeddings.X.shape[1]
    model.fit(case.X, case.y)
    assert not hasattr(model, "n_features_in_")
    assert_same(case.run(model), case.run(case.fit()))


def test_clone_of_fitted_is_unfitted_and_equal(case):
    fitted = case.fit()
    copy = clone(fitted)
    assert repr(copy.get_params()) == repr(case.estimator.get_params())
    assert_same(case.run(copy.fit(case.X, case.y)), case.run(fitted))


@pytest.mark.cases("joint", "joint-embeddings", "embedder", "pipeline")
def test_clone_of_fitted_does_not_predict(case):
    with pytest.raises(NotFittedError):
        case.run(clone(case.fit()))


def test_parameters_stay_as_given(case):
    before = case.estimator.get_params()
    fitted = clone(case.estimator).fit(case.X, case.y)
    after = fitted.get_params(deep=True)
    assert {k: repr(v) for k, v in after.items()} == {k: repr(v) for k, v in before.items()}


def test_input_is_not_modified(case):
    X, y = copied(case.X), None if case.y is None else case.y.copy()
    case.run(case.fit())
    assert_same(list(X), list(case.X))
    if y is not None:
        np.testing.assert_array_equal(y, case.y)


@pytest.mark.cases("joint", "joint-embeddings", "embedder", "pipeline")
def test_input_may_be_read_only(case):
    X = copied(case.X)
    for sample in X:
        sample.setflags(write=False)
    if isinstance(X, np.ndarray):
        X.setflags(write=False)
    assert_same(case.run(case.fit(X, case.y), X), case.run(case.fit()))


def test_global_random_state_is_untouched(case):
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    case.run(case.fit())
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.cases("joint", "joint-embeddings", "pipeline")
def test_set_output_yields_a_named_table(case):
    model = clone(case.estimator).set_output(transform="pandas").fit(case.X, case.y)
    table = model.transform(case.X)
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns) == list(model.get_feature_names_out())
    np.testing.assert_array_equal(table.to_numpy(), case.fit().transform(case.X))


def sphereface4():
    return make_backbone("sphereface4")


def test_set_output_does_not_break_a_pipeline_of_images(tiny):
    photos = tiny.cases["aligner"]().X
    pipeline = make_pipeline(FaceAligner(), FaceEmbedder(sphereface4, weights=None))
    pipeline.set_output(transform="pandas")
    with pytest.warns(UserWarning, match="Sample 2 has no face"):
        table = pipeline.fit(photos).transform(photos)
    assert isinstance(table, pd.DataFrame)
    assert table.shape == (4, 512)
    assert table.isna().all(axis=1).tolist() == [False, False, True, False]


@pytest.mark.cases("joint", "joint-embeddings", "pipeline")
def test_search_refits_the_best(case):
    (name,) = [name for name in case.estimator.get_params() if name.endswith("lambda_per")]
    split = [0, 1, 2, 5, 6, 7], [3, 4, 8, 9]
    search = GridSearchCV(case.estimator, {name: [0.5, 1.0]}, cv=[split]).fit(case.X, case.y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert np.isfinite(search.predict(case.X)).all()


FRESH_PROCESS = """
import sys, joblib
cases = joblib.load(sys.argv[1])
joblib.dump([(model.predict(X), model.transform(X)) for model, X in cases], sys.argv[2])
"""


def test_pickle_in_a_fresh_process(tmp_path):
    """Predictions are equal to the bit, and the file is the weights and at most a tenth more."""
    faces = make_affect_faces(3, aligned=True, random_state=0)
    embeddings = np.random.default_rng(0).normal(size=(6, 4000)).astype(np.float32)
    model = JointAffectEstimator(max_epochs=1, adapter_rank=32, random_state=0, device="cpu")
    cases = [(clone(model).fit(X, faces.target), X) for X in (faces.data, embeddings)]
    for fitted, _ in cases:
        joblib.dump(fitted, tmp_path / "model.joblib")
        state = fitted.net_.module_.state_dict().values()
        weights = sum(tensor.numel() * tensor.element_size() for tensor in state)
        assert weights < (tmp_path / "model.joblib").stat().st_size <= 1.1 * weights

    joblib.dump(cases, tmp_path / "cases")
    arguments = [tmp_path / "cases", tmp_path / "results"]
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, *arguments], check=True)
    results = joblib.load(tmp_path / "results")
    for (fitted, X), (predictions, embedded) in zip(cases, results, strict=True):
        np.testing.assert_array_equal(predictions, fitted.predict(X), strict=True)
        np.testing.assert_array_equal(embedded, fitted.transform(X), strict=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_fitted_on_a_gpu_loads_without_one(tmp_path):
    faces = make_affect_faces(3, aligned=True, random_state=0)
    model = JointAffectEstimator(max_epochs=1, random_state=0, device="cuda")
    joblib.dump([(model.fit(faces.data, faces.target), faces.data)], tmp_path / "cases")
    subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, tmp_path / "cases", tmp_path / "results"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )
    ((predictions, _),) = joblib.load(tmp_path / "results")
    np.testing.assert_allclose(predictions, model.predict(faces.data), rtol=1e-3, atol=1e-3)
