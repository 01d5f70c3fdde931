"""No samples in give no rows out, of the usual width: in every estimator, in every container."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline, make_union

from persona_affect import (
    JointAffectEstimator,
    KernelFeatures,
    NuisanceShrinkage,
    RAMRegressor,
    TaskFusion,
    load_model,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 6))
NAMED = pd.DataFrame(X, columns=list("abcdef"))
Y = RNG.uniform(size=(12, 7))
TASKS = RNG.normal(size=(12, 3, 4))
JOINT = JointAffectEstimator(max_epochs=1, random_state=0, device="cpu")


def on_matrices(model):
    return [
        model.fit(X, Y),
        type(model)(**model.get_params()).fit(NAMED, Y),
        type(model)(**model.get_params()).fit(X, Y[:, 0]),
    ]


MATRICES = {
    "joint": JOINT,
    "RAM": RAMRegressor(max_epochs=2, random_state=0),
    "kernel": KernelFeatures(4, random_state=0),
    "shrinkage": NuisanceShrinkage(random_state=0),
    "pipeline": make_pipeline(make_union(KernelFeatures(4)), JOINT),
}


def results(model, samples):
    methods = ("predict", "transform", "predict_frames")
    return [getattr(model, name)(samples) for name in methods if hasattr(model, name)]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("empty", [[], (), np.empty(0), np.empty((0, 6)), NAMED[:0]], ids=repr)
@pytest.mark.parametrize("model", MATRICES.values(), ids=MATRICES)
def test_of_matrices(model, empty):
    variants = [model.fit(X, Y)] if "steps" in model.get_params() else on_matrices(model)
    for fitted in variants:
        named = hasattr(fitted, "feature_names_in_")
        if named != isinstance(empty, pd.DataFrame) and np.ndim(empty) == 2:
            continue  # scikit-learn warns of names, as it does with rows
        usual = results(fitted, NAMED if named else X)
        for found, expected in zip(results(fitted, empty), usual, strict=True):
            assert len(found) == 0
            assert np.shape(found)[1:] == np.shape(expected)[1:] or isinstance(expected, list)


@pytest.mark.cases("joint", "embedder", "pipeline")
@pytest.mark.filterwarnings("error")
def test_of_faces(case):
    fitted = case.fit()
    for empty in ([], np.empty(0, object), np.empty((0, 8, 6, 3), np.uint8)):
        for found, expected in zip(results(fitted, empty), results(fitted, case.X), strict=True):
            assert len(found) == 0
            assert isinstance(expected, list) or found.shape[1:] == expected.shape[1:]


@pytest.mark.parametrize("fusion", ["early", "late"])
@pytest.mark.parametrize("y", [Y, Y[:, 0]], ids=["seven", "one"])
def test_of_tasks(fusion, y):
    fitted = TaskFusion(None, Ridge(), fusion=fusion).fit(TASKS, y)
    for empty in ([], TASKS[:0]):
        assert fitted.predict(empty).shape == (0, *y.shape[1:])


def test_of_the_bundled_model():
    model = load_model()
    assert model.predict([]).shape == (0, 7)
    assert model.predict(np.empty((0, 64, 64, 3), np.uint8)).shape == (0, 7)
    assert model[:-1].transform([]).shape == (0, model[-1].n_features_in_)


def test_of_emotion():
    assert JOINT.fit(X, Y).predict_from_emotion([]).shape == (0, 5)


@pytest.mark.parametrize("model", [JOINT, *list(MATRICES.values())[1:3]], ids=repr)
def test_a_fit_of_no_samples_is_an_error(model):
    for empty in ([], X[:0]):
        with pytest.raises(ValueError, match=r"sample|1D"):
            model.fit(empty, Y[:0])
