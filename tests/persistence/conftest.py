"""Models of every kind, and what the tests of their files share."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.pipeline import FeatureUnion, make_pipeline

from persona_affect import (
    JointAffectEstimator,
    KernelFeatures,
    RAMRegressor,
    save_model,
)
from persona_affect.datasets import make_affect_faces
from persona_affect.networks import make_backbone
from persona_affect.persistence import _files

RNG = np.random.default_rng(0)


EMBEDDINGS = RNG.normal(size=(12, 6)).astype(np.float32)


NAMED = pd.DataFrame(EMBEDDINGS, columns=[f"feature {i}" for i in range(6)])


LABELS = np.column_stack([RNG.uniform(size=(12, 5)), RNG.uniform(-1, 1, (12, 2))])


LABELS[:6, 5:], LABELS[6:, :5] = np.nan, np.nan


def joint(**settings):
    return JointAffectEstimator(max_epochs=2, random_state=0, device="cpu", **settings)


@pytest.fixture(scope="module")
def faces():
    return make_affect_faces(3, aligned=True, random_state=0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A SphereFace-4 that never learnt, as a file."""
    path = tmp_path_factory.mktemp("weights") / "sphereface4.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(make_backbone("sphereface4").state_dict(), path)
    return path


ON_MATRICES = {
    "adapter": joint(adapter_rank=3).fit(EMBEDDINGS, LABELS),
    "no adapter": joint().fit(EMBEDDINGS, LABELS),
    "feature names": joint().fit(NAMED, LABELS),
    "published heads": joint(heads="authors").fit(EMBEDDINGS, LABELS),
    "some losses": joint(lambda_ram=0, lambda_emo=0).fit(EMBEDDINGS, LABELS),
    "a target never rated": joint().fit(EMBEDDINGS, LABELS * [1, 1, np.nan, 1, 1, 1, 1]),
    "one target": joint().fit(EMBEDDINGS, RNG.uniform(size=12)),
    "own names": joint(personality=("trust",), emotion=np.array(["joy"])).fit(
        EMBEDDINGS, pd.DataFrame(LABELS[:, [5, 0]], columns=["joy", "trust"])
    ),
    "early stopping": joint(early_stopping=True, validation_fraction=0.4).fit(EMBEDDINGS, LABELS),
    "kernel features": KernelFeatures(4, rank=3, random_state=0).fit(NAMED),
    "RAM": RAMRegressor(max_epochs=3, random_state=0).fit(EMBEDDINGS, LABELS),
    "RAM, one target": RAMRegressor(max_epochs=3, random_state=0).fit(NAMED, EMBEDDINGS[:, 0]),
}


def results(model, X):
    methods = [name for name in ("predict", "transform") if hasattr(model, name)]
    return [np.asarray(getattr(model, name)(X)) for name in methods]


def assert_equal(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


def a_union(**settings):
    first, second, third = (KernelFeatures(n, rank=2, random_state=0) for n in (2, 3, 4))
    return FeatureUnion([("once", first), ("again", make_pipeline(second, third))], **settings)


FRESH_PROCESS = """
import sys, joblib
from persona_affect import load_model
results = []
for path, X in joblib.load(sys.argv[1]):
    model = load_model(path)
    methods = [getattr(model, m) for m in ("predict", "transform") if hasattr(model, m)]
    results.append([method(X) for method in methods])
joblib.dump(results, sys.argv[2])
"""


def forge(path, edit=lambda description: None, tensors=lambda tensors: None, text=None):
    """Rewrite a model's file with a checksum that fits."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        arrays = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    description = json.loads(header["persona_affect"])
    edit(description)
    tensors(arrays)
    text = json.dumps(description) if text is None else text
    save_file(
        arrays, path, metadata={"persona_affect": text, "sha256": _files._digest(text, arrays)}
    )


def nest(node, depth):
    """Put a model into `depth` pipelines."""
    for _ in range(depth):
        node = {"class": "Pipeline", "steps": [["step", node]]}
    return node


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The bytes of a saved model."""
    path = tmp_path_factory.mktemp("model") / "model"
    save_model(ON_MATRICES["adapter"], path)
    return path.read_bytes()
