"""The calibration of a model in its file."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.pipeline import make_pipeline

from persona_affect import (
    ConformalAffect,
    JointAffectEstimator,
    KernelFeatures,
    load_model,
    save_model,
)
from persona_affect.exceptions import ModelFormatError
from persona_affect.persistence import _files, model_fingerprint, read_model_info

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)).astype(np.float32)
Y = RNG.uniform(size=(40, 7))
JOINT = JointAffectEstimator(max_epochs=1, random_state=0, device="cpu")
PIPELINE = make_pipeline(KernelFeatures(8, random_state=0), JOINT)


@pytest.fixture(params=["plus", "base", "distance", "one step"])
def model(request):
    settings = {"method": "base"} if request.param == "base" else {}
    settings |= {"difficulty": "distance"} if request.param == "distance" else {}
    estimator = JOINT if request.param == "one step" else PIPELINE
    return ConformalAffect(estimator, alpha=0.2, cv=2, random_state=0, **settings).fit(X, Y)


def test_intervals_come_back_to_the_bit(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path, notes={"data": "random"})
    again = load_model(path, intervals=True)
    assert isinstance(again, ConformalAffect)
    for name, value in model.get_params(deep=False).items():
        assert name == "estimator" or again.get_params()[name] == value
    np.testing.assert_array_equal(again.predict_interval(X), model.predict_interval(X))
    np.testing.assert_array_equal(again.predict_interval(X, 0.3), model.predict_interval(X, 0.3))
    np.testing.assert_array_equal(again.describe_faces(X)[1], model.describe_faces(X)[1])
    np.testing.assert_array_equal(again.advantages_, model.advantages_)
    assert again.target_names_ == model.target_names_
    assert again.n_features_in_ == 6
    assert model_fingerprint(again) == model_fingerprint(model)
    save_model(again, tmp_path / "again.safetensors")
    # Without asking for intervals it is the model that predicts.
    plain = load_model(path)
    assert type(plain) is type(model.estimator_)
    np.testing.assert_array_equal(plain.predict(X), model.predict(X))
    assert read_model_info(path)["class"] == type(model.estimator_).__name__


def test_a_file_without_a_calibration_says_so(tmp_path):
    save_model(PIPELINE.fit(X, Y), tmp_path / "plain.safetensors")
    with pytest.raises(ModelFormatError, match="no calibration"):
        load_model(tmp_path / "plain.safetensors", intervals=True)


def test_what_cannot_be_saved_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    step = make_pipeline(KernelFeatures(8), ConformalAffect(JOINT, cv=2)).fit(X, Y)
    with pytest.raises(ValueError, match="around the whole pipeline"):
        save_model(step, path)
    function = ConformalAffect(PIPELINE, cv=2, difficulty=lambda _, X: np.ones(len(X)))
    with pytest.raises(ValueError, match="difficulty"):
        save_model(function.fit(X, Y), path)
    many = ConformalAffect(JointAffectEstimator(max_epochs=1, random_state=0), cv=2).fit(X, Y)
    many.members_ = many.members_ * 40
    with pytest.raises(ValueError, match="fewer folds"):
        save_model(many, path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda node, tensors: node["parameters"].update(alpha=2), "alpha"),
        (lambda node, tensors: node["parameters"].update(estimator=1), "estimator"),
        (lambda node, tensors: node["facts"].update(n_shared=9), "n_shared"),
        (lambda node, tensors: node["facts"].update(target_names=["a"]), "scores"),
        (lambda node, tensors: node["facts"]["familiarity"].update(n_features=0), "0 features"),
        (lambda node, tensors: node.update(members=[]), "folds|unknown"),
        (lambda node, tensors: node.update(members=[{"class": "os"}]), "members|table"),
        (lambda node, tensors: node.pop("facts"), "facts"),
        (lambda node, tensors: tensors["intervals/scores"].neg_(), "negative"),
        (lambda node, tensors: tensors["intervals/folds"].add_(7), "folds"),
        (lambda node, tensors: tensors["intervals/familiarity.shift"].fill_(np.nan), "NaN"),
        (lambda node, tensors: tensors.pop("intervals/familiarity.known"), "known"),
        (
            lambda node, tensors: tensors.update({"intervals/x": tensors["intervals/folds"] + 0}),
            "x",
        ),
    ],
)
def test_calibrations_that_do_not_hold_together_are_refused(edit, message, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(ConformalAffect(PIPELINE, cv=2, random_state=0).fit(X, Y), path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    description = json.loads(header["persona_affect"])
    edit(description["intervals"], tensors)
    text = json.dumps(description)
    digest = _files._digest(text, tensors)
    save_file(tensors, path, metadata={"persona_affect": text, "sha256": digest})
    with pytest.raises(ModelFormatError, match=message):
        load_model(path, intervals=True)
