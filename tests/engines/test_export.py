"""ONNX files: the numbers of the model in plain ONNX Runtime, and what the file says of itself."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn import functional as F

from persona_affect import FaceAligner, FaceEmbedder, KernelFeatures, load_model
from persona_affect.engines import compile, export_onnx
from persona_affect.exceptions import (
    EngineError,
    EngineWarning,
    MissingDependencyError,
    OutputPathError,
)
from persona_affect.networks import BACKBONES, make_backbone

from .conftest import Small, first

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

#: Largest difference that we accept, relative to the norm of what torch gives.
TOLERANCE = 1e-4

#: A program of another kind: neither this package nor torch.
PROGRAM = """
import sys

for name in ("persona_affect", "torch", "sklearn"):
    sys.modules[name] = None
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
(values,) = session.run(None, {"faces": np.load(sys.argv[2])})
np.save(sys.argv[3], values)
print(session.get_modelmeta().custom_metadata_map["target_names"])
"""


def run_elsewhere(model_path, faces, folder):
    """Run a file in a process that has only ONNX Runtime; return its numbers and target names."""
    np.save(folder / "faces.npy", faces)
    paths = map(str, (model_path, folder / "faces.npy", folder / "values.npy"))
    result = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, *paths],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    return np.load(folder / "values.npy"), json.loads(result.stdout)


def open_session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run(session, batch):
    (values,) = session.run(None, {session.get_inputs()[0].name: batch})
    return values


def difference(found, wanted):
    assert found.shape == wanted.shape
    assert found.dtype == np.float32
    return np.linalg.norm(found - wanted) / max(np.linalg.norm(wanted), 1e-12)


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """The file of a model of faces with a kernel, and its session."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(model, path, notes={"licence": "CC0", "data": "random numbers"})
    return path, open_session(path)


@pytest.mark.slow
def test_plain_onnx_runtime_gets_our_numbers(whole, model, tmp_path):
    faces = np.random.default_rng(3).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    found, names = run_elsewhere(whole[0], faces, tmp_path)
    assert difference(found, model.predict(faces)) < TOLERANCE
    assert names == model[-1].target_names_


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 9), seed=st.integers(0, 2**32 - 1), low=st.integers(0, 255))
def test_any_batch_of_faces_gets_our_numbers(whole, model, n, seed, low):
    rng = np.random.default_rng(seed)
    faces = rng.integers(low, 256, (n, 16, 16, 3), dtype=np.uint8)
    assert difference(run(whole[1], faces), model.predict(faces)) < TOLERANCE


@pytest.mark.slow
def test_the_file_says_what_goes_in_and_what_comes_out(whole, model):
    session = whole[1]
    (faces,), (targets,) = session.get_inputs(), session.get_outputs()
    assert (faces.name, faces.type, faces.shape) == ("faces", "tensor(uint8)", ["n", 16, 16, 3])
    assert (targets.name, targets.type, targets.shape) == ("targets", "tensor(float)", ["n", 3])
    about = session.get_modelmeta()
    assert about.producer_name == "persona-affect"
    assert "Do not use them to judge, select, rank or screen people." in about.description
    found = about.custom_metadata_map
    assert found["licence"] == "CC0"
    assert json.loads(found["target_names"]) == ["a", "b", "c"]
    means = json.loads(found["rating_means"])
    np.testing.assert_allclose(means, model[-1].target_means_)
    assert "impressions that faces make on raters" in found["meaning"]
    assert (found["height"], found["width"], found["colours"]) == ("16", "16", "RGB")


def test_a_network_on_embeddings(model, clips, tmp_path):
    seen = model[:-1].transform(clips[:-1])
    export_onnx(model[-1], tmp_path / "heads.onnx")
    session = open_session(tmp_path / "heads.onnx")
    assert session.get_inputs()[0].name == "embeddings"
    assert difference(run(session, seen), model[-1].predict(seen)) < TOLERANCE


@pytest.mark.slow
def test_a_kernel_on_embeddings(model, clips, tmp_path):
    seen = model[:-1].transform(clips[:-1])
    kernel = KernelFeatures(4, random_state=0).fit(seen)
    export_onnx(kernel, tmp_path / "kernel.onnx")
    session = open_session(tmp_path / "kernel.onnx")
    assert session.get_outputs()[0].name == "features"
    assert difference(run(session, seen), kernel.transform(seen)) < TOLERANCE


@pytest.mark.slow
def test_landmarks_are_those_of_the_aligner(tmp_path):
    embedder = FaceEmbedder("faceapi_expression", mirror=False)
    faces = np.zeros((2, 150, 150, 3), np.uint8)
    aligner = FaceAligner(template="resnet29", margin=0.3)
    model = make_pipeline(aligner, embedder.fit(faces))
    export_onnx(model, tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx")
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["landmarks"])["left_eye"] == [53.91, 53.4535]
    assert (about["template"], about["margin"]) == ("resnet29", "0.3")
    assert json.loads(about["backbone_licences"]) == {"faceapi_expression": "MIT"}
    assert difference(run(session, faces), embedder.transform(faces)) < TOLERANCE


class Turned(Small):
    """A network with an operation that ONNX does not have."""

    def forward(self, frames):
        """Embed (n, 16, 16, 3) frames as (n, 6)."""
        values = super().forward(frames)
        return torch.linalg.lstsq(torch.eye(6), values.T).solution.T


@pytest.mark.slow
def test_what_cannot_be_exported(clips, model, tmp_path, monkeypatch):
    embedder = FaceEmbedder(Turned, weights=None).fit(clips[:-1])
    with pytest.raises(EngineError, match="FaceEmbedder cannot be written to ONNX"):
        export_onnx(embedder, tmp_path / "model.onnx")
    with pytest.warns(EngineWarning, match="onnxruntime cannot run FaceEmbedder, torch runs it"):
        compile(embedder, "onnxruntime", "float32")
    forest = make_pipeline(FaceEmbedder(first, weights=None), RandomForestRegressor(2))
    forest.fit(clips[:-1], np.arange(len(clips) - 1))
    with pytest.raises(EngineError, match="RandomForestRegressor has no torch module"):
        export_onnx(forest, tmp_path / "model.onnx")
    with pytest.raises(OutputPathError):
        export_onnx(model, tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingDependencyError, match=r"persona-affect\[onnx\]"):
        export_onnx(model, tmp_path / "model.onnx")


def make_pretrained(name):
    try:
        return make_backbone(name, "pretrained" if BACKBONES[name].load_installed else None).eval()
    except ImportError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gets_our_numbers(name, tmp_path):
    torch.manual_seed(0)
    network = make_pretrained(name)
    export_onnx(network, tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx")

    @settings(deadline=None, max_examples=6, suppress_health_check=list(HealthCheck))
    @given(n=st.integers(1, 3), seed=st.integers(0, 2**32 - 1), cells=st.sampled_from([1, 4, 50]))
    def check(n, seed, cells):
        small = torch.rand((n, 3, cells, cells), generator=torch.Generator().manual_seed(seed))
        faces = F.interpolate(small, network.input_size, mode="bilinear") * 255
        faces = faces.permute(0, 2, 3, 1).to(torch.uint8)
        with torch.inference_mode():
            wanted = nn.Module.__call__(network, faces).numpy()
        assert difference(run(session, faces.numpy()), wanted) < TOLERANCE

    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", [None, "fast"])
def test_the_bundled_models_get_our_numbers_elsewhere(name, tmp_path):
    model = load_model(name)
    export_onnx(name, tmp_path / "model.onnx")
    rng = np.random.default_rng(0)
    cells = torch.from_numpy(rng.uniform(0, 255, (3, 3, 9, 9)))
    faces = F.interpolate(cells, (150, 150), mode="bilinear").permute(0, 2, 3, 1)
    faces = faces.to(torch.uint8).numpy()
    found, names = run_elsewhere(tmp_path / "model.onnx", faces, tmp_path)
    assert names == model[-1].target_names_
    # In points of ratings from 0 to 100.
    np.testing.assert_allclose(found, model[1:].predict(faces), atol=2e-3)
