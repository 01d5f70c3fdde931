"""What a file says about paths and devices, and paths that are no model."""

import os
import subprocess
import sys
from contextlib import suppress

import joblib
import numpy as np
import pytest
import torch

from persona_affect import FaceAligner, FaceEmbedder, PersonDynamicsEncoder, load_model, save_model
from persona_affect.exceptions import ModelFormatError, ModelReadError, WeightsError
from persona_affect.persistence import _bundled, _files, _models, read_model_info

from .conftest import (
    EMBEDDINGS,
    FRESH_PROCESS,
    LABELS,
    ON_MATRICES,
    assert_equal,
    forge,
    joint,
    results,
)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_fitted_on_a_gpu_loads_without_one(faces, tmp_path):
    model = joint().set_params(device="cuda").fit(faces.data, faces.target)
    save_model(model, tmp_path / "model")
    joblib.dump([(tmp_path / "model", faces.data)], tmp_path / "jobs")
    subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, tmp_path / "jobs", tmp_path / "results"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )
    ((found, _),) = joblib.load(tmp_path / "results")
    np.testing.assert_allclose(found, model.predict(faces.data), rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:99", "hpu", "meta", "nonsense"])
@pytest.mark.parametrize("name", ["RAM", "adapter"])
def test_a_device_that_is_not_here_is_named(name, device, tmp_path):
    save_model(ON_MATRICES[name], tmp_path / "model")
    forge(tmp_path / "model", lambda d: d["model"]["parameters"].update(device=device))
    with pytest.warns(UserWarning, match="predicts on the CPU"):
        loaded = load_model(tmp_path / "model")
    assert_equal(results(loaded, EMBEDDINGS), results(ON_MATRICES[name], EMBEDDINGS))


@pytest.mark.parametrize("model", [FaceAligner(), FaceEmbedder(), PersonDynamicsEncoder()])
def test_a_device_that_is_not_here_is_replaced_in_every_class(model):
    node = {"class": type(model).__name__, "parameters": {"device": "hpu"}, "facts": {}}
    with pytest.warns(UserWarning, match="predicts on the CPU"), suppress(*_models.NOT_A_MODEL):
        _models.rebuild({**node, "output": None}, {})


def test_paths_of_the_training_stay_behind(tmp_path, faces, weights):
    model = joint(weights=weights, checkpoint=tmp_path / "checkpoint")
    save_model(model.fit(faces.data, faces.target), tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert (loaded.weights, loaded.checkpoint) == (None, None)
    assert str(tmp_path).encode() not in (tmp_path / "model").read_bytes()
    np.testing.assert_array_equal(loaded.predict(faces.data), model.predict(faces.data))


def test_a_folder_is_not_a_model(tmp_path):
    with pytest.raises(ModelReadError, match=f"{tmp_path} is a folder: give the file"):
        load_model(tmp_path)


def test_devices_and_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # to open it would block
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ModelReadError, match=f"{path} is no ordinary file"):
            load_model(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("x" * 5000, "the path 'x+' cannot be used: File name too long"),
        ("a\0b", "cannot be used: .*embedded null"),
        (3, "not from int"),
        (b"model", "not from bytes"),
    ],
)
def test_what_is_no_path_is_named(path, message):
    for read in (load_model, read_model_info):
        with pytest.raises(ModelReadError, match=message) as caught:
            read(path)
        assert len(str(caught.value)) < 400


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path, framework):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "model").touch()
    monkeypatch.setattr(_files, "safe_open", refuse)
    with pytest.raises(ModelReadError, match=f"{tmp_path / 'model'} cannot be read: .*Permission"):
        load_model(tmp_path / "model")


def test_files_far_above_real_sizes_are_not_read(tmp_path, content):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelReadError, match="more than 16 GiB"):
        load_model(tmp_path / "sparse")
    (tmp_path / "model").write_bytes(content)
    forge(tmp_path / "model", text="[" + "[]," * 2**21 + "[]]")
    with pytest.raises(ModelFormatError, match="description has 6,291,460 characters"):
        load_model(tmp_path / "model")


def test_a_file_neither_keeps_nor_brings_a_folder_to_write_to(tmp_path):
    path = tmp_path / "model"
    save_model(FaceAligner(cache=tmp_path / "faces", margin=0.5).fit(), path)
    loaded = load_model(path)
    assert loaded.cache is None
    assert loaded.margin == 0.5
    elsewhere = str(tmp_path / "elsewhere")
    forge(path, lambda d: d["model"]["parameters"].update(cache=elsewhere, n_jobs=1000))
    loaded = load_model(path)
    assert (loaded.cache, loaded.n_jobs) == (None, None)
    save_model(ON_MATRICES["adapter"], path)
    forge(path, lambda d: d["model"]["parameters"].update(checkpoint=elsewhere, weights=elsewhere))
    loaded = load_model(path).fit(EMBEDDINGS, LABELS)
    assert (loaded.checkpoint, loaded.weights) == (None, None)
    assert not os.path.exists(elsewhere)


def test_a_bundled_model_that_is_missing_is_said_to_be(monkeypatch, tmp_path):
    monkeypatch.setattr(_bundled, "BUNDLED", tmp_path / "impressions.safetensors")
    with pytest.raises(WeightsError, match="path"):
        load_model()
