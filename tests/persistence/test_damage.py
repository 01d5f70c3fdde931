"""Files that are no model, any more or on purpose, are refused by name, and run nothing."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from sklearn.pipeline import make_pipeline

from persona_affect import (
    KernelFeatures,
    PersonDynamicsEncoder,
    RAMRegressor,
    load_model,
    save_model,
)
from persona_affect.datasets import make_dynamic_clips
from persona_affect.exceptions import ModelFormatError

from .conftest import EMBEDDINGS, LABELS, ON_MATRICES, a_union, forge, nest


@pytest.mark.parametrize(
    "edit",
    [
        lambda node: node.update(weights={"else": 1.0}),
        lambda node: node.update(weights=[1.0]),
        lambda node: node.update(weights={"again": "two"}),
        lambda node: node["steps"][0].__setitem__(0, "again"),
        lambda node: node["steps"].append(["drop", "drop"]),
    ],
)
def test_a_union_that_does_not_hold_together_is_refused(edit, tmp_path):
    path = tmp_path / "model"
    save_model(a_union().fit(EMBEDDINGS), path)
    forge(path)
    load_model(path)
    forge(path, lambda description: edit(description["model"]))
    with pytest.raises(ModelFormatError, match="model"):
        load_model(path)


def test_a_step_that_is_not_a_transformer_is_refused(tmp_path):
    path = tmp_path / "model"
    save_model(
        make_pipeline(KernelFeatures(4), RAMRegressor(max_epochs=1)).fit(EMBEDDINGS, LABELS), path
    )

    def turn(description):
        steps = description["model"]["steps"]
        steps[0][1], steps[1][1] = steps[1][1], steps[0][1]

    def swap(tensors):
        names = {name: {"0": "1", "1": "0"}[name[0]] + name[1:] for name in tensors}
        moved = {new: tensors.pop(old) for old, new in names.items()}
        tensors.update(moved)

    forge(path, turn, swap)
    with pytest.raises(ModelFormatError, match="'kernelfeatures' is no transformer"):
        load_model(path)


@pytest.mark.slow
def test_attacks_by_model_files():
    # In a process of its own, because audit hooks stay. Anyone can run it with more files.
    script = Path(__file__).parents[2] / "benchmarks/attacks/model_files.py"
    command = [sys.executable, script, "--files", "40"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "code run, pickles opened, files written: 0" in result.stdout


def test_kernel_features_that_do_not_fit_each_other_are_refused(tmp_path):
    path = tmp_path / "model"
    save_model(ON_MATRICES["kernel features"], path)
    forge(path, tensors=lambda t: t.update(centres_=torch.zeros(4, 2, dtype=torch.float64)))
    with pytest.raises(ModelFormatError, match=r"centres_ is float64 \(4, 2\)"):
        load_model(path)
    save_model(ON_MATRICES["kernel features"], path)
    forge(path, lambda d: d["model"]["facts"].update(gamma=-1.0))
    with pytest.raises(ModelFormatError, match=r"gamma is -1\.0"):
        load_model(path)


def test_the_whitening_of_other_filters_is_refused(tmp_path):
    clips = make_dynamic_clips(2, n_frames=8, random_state=0).data
    encoder = PersonDynamicsEncoder(scales=(1,), max_epochs=1, random_state=0).fit(clips)
    encoder.filter_levels = ["encoder1"]
    save_model(encoder, tmp_path / "model")
    with pytest.raises(ModelFormatError, match="whitening"):
        load_model(tmp_path / "model")


FORGERIES = {
    "an unknown class": lambda d: d["model"].update({"class": "os.system"}),
    "a class of another library": lambda d: d["model"].update({"class": "Ridge"}),
    "an unknown parameter": lambda d: d["model"]["parameters"].update(evil=1),
    "a parameter out of range": lambda d: d["model"]["parameters"].update(max_epochs=-1),
    "a backbone by path": lambda d: d["model"]["parameters"].update(backbone="os:system"),
    "a network that would fill the memory": lambda d: d["model"]["facts"].update(
        n_features=10**12, n_features_in=10**12
    ),
    "a number beyond all": lambda d: d["model"]["facts"].update(n_features=10**40),
    "targets of other names": lambda d: d["model"]["facts"].update(personality=["a"]),
    "names that are no names": lambda d: d["model"]["facts"].update(target_names=7),
    "losses that are no table": lambda d: d["model"]["facts"].update(lambdas=[1, 2]),
    "unknown losses": lambda d: d["model"]["facts"]["lambdas"].update(lambda_evil=1),
    "no facts": lambda d: d["model"].pop("facts"),
    "a list for a model": lambda d: d.update(model=["class"]),
    "a pipeline of nothing": lambda d: d.update(model={"class": "Pipeline", "steps": [3]}),
    "an unknown container": lambda d: d["model"].update(output="__import__('os')"),
    "no model": lambda d: d.pop("model"),
    "libraries that are a list": lambda d: d.update(libraries=["torch"]),
    "notes that are a text": lambda d: d.update(notes="\x1b]0;owned\x07"),
    "notes of numbers": lambda d: d.update(notes={"meaning": 3}),
    "a note that a terminal obeys": lambda d: d.update(notes={"meaning": "\x1b]0;owned\x07"}),
    "a key that a terminal obeys": lambda d: d.update(notes={"\x1b[2J": ""}),
    "a note of half a character": lambda d: d.update(notes={"meaning": "\ud800"}),
    "a note in reverse": lambda d: d.update(notes={"meaning": "\u202egpj.exe"}),
    "targets that are no names": lambda d: d.update(target_names=[1]),
    "parameters that are a list": lambda d: d["model"].update(parameters=["backbone"]),
    "facts that are a text": lambda d: d["model"].update(facts="n_features"),
    "a step without a model": lambda d: d.update(
        model={"class": "Pipeline", "steps": [["joint", None]]}
    ),
    "16 pipelines in each other": lambda d: d.update(model=nest(d["model"], 16)),
    "200 pipelines in each other": lambda d: d.update(model=nest(d["model"], 200)),
    "a pipeline without steps": lambda d: d.update(model={"class": "Pipeline", "steps": []}),
    "a union without steps": lambda d: d.update(
        model={"class": "FeatureUnion", "weights": {}, "steps": []}
    ),
    "a thousand steps": lambda d: d.update(
        model={"class": "FeatureUnion", "weights": {}, "steps": [["a", d["model"]]] * 1000}
    ),
    "segments without end": lambda d: d["model"]["parameters"].update(n_segments=10**8),
    "a batch without end": lambda d: d["model"]["parameters"].update(batch_size=10**12),
    "names without end": lambda d: d["model"]["parameters"].update(personality=["a"] * 10**5),
    "a width that is no number": lambda d: d["model"]["parameters"].update(dropout=float("nan")),
    "a rate without end": lambda d: d["model"]["parameters"].update(learning_rate=1e300),
    "a loss weight that is no number": lambda d: d["model"]["facts"]["lambdas"].update(
        lambda_per=float("nan")
    ),
    "a loss weight without end": lambda d: d["model"]["facts"]["lambdas"].update(lambda_per=1e999),
    "callbacks": lambda d: d["model"]["parameters"].update(callbacks=["os.system"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


class TestDamage:
    """What is no model, any more or on purpose, is refused by name; and runs nothing."""

    @given(data=st.data())
    @settings(max_examples=60, deadline=None)
    def test_truncated(self, content, folder, data):
        path = folder / "model"
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        with pytest.raises(ModelFormatError, match="model"):
            load_model(path)

    @given(data=st.data())
    @settings(max_examples=100, deadline=None)
    def test_one_byte_altered(self, content, folder, data):
        path, damaged = folder / "model", bytearray(content)
        at = data.draw(st.integers(0, len(content) - 1))
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(ModelFormatError, match="model"):
            load_model(path)

    @given(content=st.binary(max_size=200))
    @settings(max_examples=50, deadline=None)
    def test_any_bytes(self, folder, content):
        (folder / "model").write_bytes(content)
        with pytest.raises(ModelFormatError):
            load_model(folder / "model")

    @pytest.mark.parametrize("kind", FORGERIES)
    def test_forged(self, content, tmp_path, kind):
        path = tmp_path / "model"
        path.write_bytes(content)
        forge(path)
        load_model(path)
        forge(path, FORGERIES[kind])
        with pytest.raises(ModelFormatError, match="model"):
            load_model(path)

    @pytest.mark.parametrize(
        "edit",
        [
            lambda t: t.pop("network.pam.0.weight"),
            lambda t: t.update({"network.evil": torch.zeros(1)}),
            lambda t: t.update({"evil": torch.zeros(1)}),
            lambda t: t.update({"network.pam.0.weight": torch.zeros(5, 7)}),
            lambda t: t.update({"network.pam.0.bias": torch.zeros(5, dtype=torch.float64)}),
            lambda t: t.update({"targets.mean": torch.zeros(3, dtype=torch.float64)}),
            lambda t: t["network.pam.0.weight"].fill_(torch.nan),
            lambda t: t["targets.scale"].fill_(torch.inf),
        ],
        ids=["missing", "extra", "stray", "shape", "type", "scaler", "NaN", "infinity"],
    )
    def test_forged_tensors(self, content, tmp_path, edit):
        path = tmp_path / "model"
        path.write_bytes(content)
        forge(path, tensors=edit)
        with pytest.raises(ModelFormatError, match="model"):
            load_model(path)

    @pytest.mark.parametrize(
        "text", ["", "[]", "null", "{", "[" * 100_000], ids=lambda text: text[:4]
    )
    def test_forged_description(self, content, tmp_path, text):
        path = tmp_path / "model"
        path.write_bytes(content)
        forge(path, text=text)
        with pytest.raises(ModelFormatError, match=r"model|description"):
            load_model(path)

    def test_other_safetensors(self, tmp_path):
        save_file({"weight": torch.zeros(2)}, tmp_path / "model")
        with pytest.raises(ModelFormatError, match="not of a model that save_model wrote"):
            load_model(tmp_path / "model")

    @pytest.mark.parametrize("dump", [pickle.dump, joblib.dump, torch.save])
    def test_a_pickle_is_not_opened(self, tmp_path, dump):
        class Payload:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "executed"),)

        with (tmp_path / "model").open("wb") as file:
            dump(Payload(), file)
        with pytest.raises(ModelFormatError):
            load_model(tmp_path / "model")
        assert not (tmp_path / "executed").exists()

    def test_loading_never_unpickles(self, content, tmp_path, monkeypatch):
        def refuse(*args, **kwargs):
            raise AssertionError("something was unpickled")

        for name in ("load", "loads", "Unpickler"):
            monkeypatch.setattr(pickle, name, refuse)
        monkeypatch.setattr(torch, "load", refuse)
        (tmp_path / "model").write_bytes(content)
        loaded = load_model(tmp_path / "model")
        assert np.isfinite(loaded.predict(EMBEDDINGS)).all()

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="model"):
            load_model(tmp_path / "model")
