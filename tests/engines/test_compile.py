"""Compiled models: the same answers by other engines, and the choice of the engine."""

import copy
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

from persona_affect import FaceAligner, FaceEmbedder, RAMRegressor, load_model, save_model
from persona_affect.engines import ENGINES, compile, get_report
from persona_affect.exceptions import (
    EngineError,
    EngineWarning,
    MissingDependencyError,
    NoFaceWarning,
)
from persona_affect.persistence import model_fingerprint

from .conftest import Small, first, make_model

pytestmark = pytest.mark.filterwarnings("ignore::persona_affect.exceptions.NoFaceWarning")

ALL = [name for name, engine in ENGINES.items() if engine.is_installed()]


# Converting a model for another engine takes seconds: by default, one test does.
SLOW = [pytest.param(name, marks=[pytest.mark.slow] if name != "torch" else []) for name in ALL]


@pytest.fixture(scope="module", params=SLOW)
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def compiled(engine, model):
    return compile(model, engine=engine, precision="float32")


def test_a_compiled_pipeline_answers_as_the_model(engine, compiled, model, clips):
    assert type(compiled) is type(model)
    assert [name for name, _ in compiled.steps] == [name for name, _ in model.steps]
    np.testing.assert_allclose(compiled.predict(clips), model.predict(clips), rtol=1e-4)
    embedded = compiled[:-1].transform(clips)
    np.testing.assert_allclose(embedded, model[:-1].transform(clips), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        compiled[-1].transform(embedded), model[-1].transform(embedded), rtol=1e-4, atol=1e-5
    )
    assert compiled[-1].target_names_ == ["a", "b", "c"]
    names = compiled[:-1].get_feature_names_out()
    assert names.tolist() == model[:-1].get_feature_names_out().tolist()
    assert compiled.get_params().keys() == model.get_params().keys()
    assert get_report(compiled).engine == engine
    assert get_report(compiled[1:]) is get_report(compiled)
    assert get_report(model) is None


@pytest.mark.parametrize(
    "engine",
    [name if name == "openvino" else pytest.param(name, marks=pytest.mark.slow) for name in ALL],
)
def test_a_network_on_faces_answers_as_the_model(engine, joint, clips):
    fast = compile(joint, engine=engine, precision="float32")
    np.testing.assert_allclose(fast.predict(clips), joint.predict(clips), rtol=1e-4)
    np.testing.assert_allclose(fast.transform(clips), joint.transform(clips), rtol=1e-4, atol=1e-6)
    for found, wanted in zip(fast.predict_frames(clips), joint.predict_frames(clips), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4)
    emotion = [[0.1], [0.2]]
    assert np.array_equal(fast.predict_from_emotion(emotion), joint.predict_from_emotion(emotion))
    assert joint._engine is None


@pytest.mark.skipif("openvino" not in ALL, reason="needs openvino")
def test_openvino_reports_nothing_to_its_makers():
    program = (
        "import sys, torch; from torch import nn; from persona_affect.engines import ENGINES;"
        "ENGINES['openvino'].convert(nn.Linear(2, 2), torch.zeros(1, 2));"
        "print([n for n, m in sys.modules.items() if n.startswith('openvino_telemetry') and m])"
    )
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_samples_without_a_face_are_missing_with_one_warning(compiled, clips):
    with pytest.warns(NoFaceWarning, match="Sample 8 has no face") as caught:
        found = compiled.predict(clips)
    assert np.isnan(found).all(axis=1).tolist() == [False] * 8 + [True]
    assert len(caught) == 1


def test_no_samples(compiled):
    assert compiled.predict(np.empty(0, dtype=object)).shape == (0, 3)


def test_any_batch_size_gives_the_same_rows(compiled, model):
    rng = np.random.default_rng(2)
    faces = rng.integers(0, 256, (23, 16, 16, 3), dtype=np.uint8)
    for n in (1, 3, 5, 16, 23):
        np.testing.assert_allclose(compiled.predict(faces[:n]), model.predict(faces[:n]), rtol=1e-4)


def test_mirror_images_can_be_left_out(engine, joint, clips):
    fast = compile(joint, engine=engine, precision="float32", mirror=False)
    one_view = copy.copy(joint).set_params(mirror=False)
    np.testing.assert_allclose(fast.predict(clips), one_view.predict(clips), rtol=1e-4)
    assert np.nanmax(np.abs(fast.predict(clips) - joint.predict(clips))) > 1e-3
    assert not get_report(fast).mirror
    assert "one view" in str(get_report(fast))


def test_threads_share_a_compiled_model(compiled, clips):
    wanted = compiled.predict(clips)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(compiled.predict, [clips] * 12))
    for values in found:
        assert np.array_equal(values, wanted, equal_nan=True)


def test_a_compiled_model_is_not_pickled(engine, compiled, tmp_path):
    with pytest.raises(EngineError, match=f"compiled for {engine} cannot be pickled"):
        pickle.dumps(compiled)
    with pytest.raises(EngineError, match="save the model that it came from"):
        joblib.dump(compiled, tmp_path / "model.joblib")


def test_clone_gives_the_model_that_it_came_from(compiled, model, clips, labels):
    again = clone(compiled).fit(clips[:-1], labels[:-1])
    assert get_report(again) is None
    assert np.array_equal(again.predict(clips), model.predict(clips), equal_nan=True)


def test_another_fit_forgets_the_engine(clips, labels):
    model = make_model().fit(clips[:-1], labels[:-1])
    fast = compile(model, engine="torch", mirror=False)
    wanted = model.predict(clips)
    fast.fit(clips[:-1], labels[:-1])
    assert get_report(fast) is None
    assert np.array_equal(fast.predict(clips), wanted, equal_nan=True)


@pytest.mark.slow
def test_a_file_of_a_compiled_model_is_that_of_the_model(engine, tmp_path):
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (2, 150, 150, 3), dtype=np.uint8)
    embedder = FaceEmbedder("faceapi_expression", backbone_params={"crops": 0.7}).fit(faces)
    fast = compile(embedder, engine=engine, precision="float32", mirror=False)
    assert model_fingerprint(fast) == model_fingerprint(embedder)
    save_model(fast, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert np.array_equal(again.transform(faces), embedder.transform(faces))
    np.testing.assert_allclose(
        compile(embedder, engine=engine, precision="float32").transform(faces),
        embedder.transform(faces),
        rtol=2e-3,
        atol=1e-5,
    )


def test_bfloat16_is_for_networks_of_faces(joint, clips):
    fast = compile(joint, engine="torch", precision="bfloat16", max_error=0.1)
    difference = np.nanmax(np.abs(fast.predict(clips) - joint.predict(clips)))
    assert 0 < difference < 0.01
    assert 0 < get_report(fast).errors["JointAffectEstimator"] < 0.1


class _Fake(ENGINES["torch"]):
    """An engine that is slow, wrong, or cannot do something."""

    name, precisions = "fake", ("float32",)
    packages = ("torch",)
    factor, seconds = 1.0, 0.0

    def __call__(self, batch):
        time.sleep(self.seconds)
        return self.factor * super().__call__(batch)


@pytest.fixture
def fake(monkeypatch):
    """Only this engine and torch, which is made slow."""
    kind = type("Fake", (_Fake,), {})
    slow = type("Torch", (_Fake,), {"name": "torch", "seconds": 0.02, "extra": "slow"})
    for name in list(ENGINES):
        monkeypatch.delitem(ENGINES, name)
    monkeypatch.setitem(ENGINES, "fake", kind)
    monkeypatch.setitem(ENGINES, "torch", slow)
    return kind


def test_auto_takes_the_fastest_and_says_why_not_the_others(fake, model):
    report = get_report(compile(model, precision="float32"))
    assert (report.engine, report.precision) == ("fake", "float32")
    assert list(report.others) == ["torch in float32"]
    assert "times the time" in report.others["torch in float32"]
    assert "not torch in float32: " in str(report)


def test_auto_leaves_out_what_differs_too_much(fake, model):
    fake.factor = 1.1
    report = get_report(compile(model))
    assert report.engine == "torch"
    assert report.others["fake in float32"] == "differs by 1.0e-01, above 0.03"
    assert report.others["fake in bfloat16"] == "fake computes with float32 on a CPU"
    ENGINES["torch"].factor = 1.2
    with pytest.raises(EngineError, match=r"No engine is within max_error=0\.03"):
        compile(model)


def test_auto_says_what_is_not_installed(fake, model):
    fake.packages, fake.extra = ("a_package_that_nobody_has",), "some"
    report = get_report(compile(model, precision="float32"))
    assert report.engine == "torch"
    assert report.others["fake"] == 'not installed: pip install "persona-affect[some]"'
    with pytest.raises(MissingDependencyError, match=r"persona-affect\[some\]"):
        compile(model, engine="fake")


def test_an_engine_by_name_that_differs_warns(fake, model):
    fake.factor = 2.0
    with pytest.warns(EngineWarning, match=r"fake in float32 differs .* by 1\.0e\+00"):
        compile(model, engine="fake", precision="float32")
    fake.factor = np.nan
    with pytest.warns(EngineWarning, match="by inf"):
        compile(model, engine="fake", precision="float32")


def test_a_precision_that_an_engine_lacks(fake, model, monkeypatch):
    with pytest.raises(EngineError, match="fake computes with float32"):
        compile(model, engine="fake", precision="bfloat16")


class Turned(Small):
    """A network with an operation that OpenVINO does not know."""

    def forward(self, frames):
        """Embed (n, 16, 16, 3) frames as (n, 6)."""
        grid = F.affine_grid(torch.eye(2, 3)[None], [1, 3, 16, 16], align_corners=False)
        return super().forward(frames) + grid.mean()


@pytest.mark.skipif("openvino" not in ALL, reason="needs openvino")
def test_networks_that_an_engine_cannot_run_are_named_and_run_by_torch(clips):
    one = FaceEmbedder(Turned, weights=None).fit(clips[:-1])
    model = make_pipeline(one, StandardScaler()).fit(clips[:-1])
    with pytest.warns(EngineWarning, match="openvino cannot run faceembedder, torch runs it: "):
        fast = compile(model, engine="openvino", precision="float32")
    assert np.array_equal(fast.transform(clips), model.transform(clips), equal_nan=True)
    assert list(get_report(fast).left_on_torch) == ["faceembedder"]


def test_estimators_that_no_engine_runs_are_named(fake, clips):
    embedder = FaceEmbedder(first, weights=None)
    y = np.random.default_rng(0).uniform(size=(len(clips), 2))
    model = make_pipeline(embedder, RAMRegressor(max_epochs=1, random_state=0))
    model.fit(clips[:-1], y[:-1])
    with pytest.warns(EngineWarning, match="fake does not run ramregressor, torch does"):
        compile(model, engine="fake", precision="float32")


def test_what_cannot_be_compiled(model):
    with pytest.raises(EngineError, match="FaceAligner has no network that an engine runs"):
        compile(FaceAligner())
    with pytest.raises(ValueError, match="engine='tensorrt' is not one of"):
        compile(model, engine="tensorrt")
    with pytest.raises(ValueError, match="precision='float16' is not one of"):
        compile(model, precision="float16")
    with pytest.raises(ValueError, match="not fitted"):
        compile(make_model())
