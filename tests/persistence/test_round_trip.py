"""Models as files: equal to the bit when they come back."""

import json
import os
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from persona_affect import (
    FaceAligner,
    FaceEmbedder,
    JointAffectEstimator,
    PersonDynamicsEncoder,
    load_model,
    save_model,
)
from persona_affect.datasets import make_affect_faces, make_dynamic_clips
from persona_affect.persistence import read_model_info

from .conftest import (
    EMBEDDINGS,
    FRESH_PROCESS,
    LABELS,
    NAMED,
    ON_MATRICES,
    a_union,
    assert_equal,
    joint,
    results,
)


@pytest.fixture(scope="module")
def on_faces(faces, weights):
    """Models of faces with the faces."""
    photos = list(make_affect_faces(3, random_state=0).data)
    embedder = FaceEmbedder("sphereface4", weights=weights, device="cpu")
    pipeline = make_pipeline(FaceAligner(min_face_size=30), embedder, joint(adapter_rank=2))
    return [
        (joint(n_segments=2).fit(faces.data, faces.target), faces.data),
        (clone(embedder).fit(faces.data), faces.data),
        (pipeline.fit(photos, faces.target), photos),
    ]


def assert_same_facts(fitted, loaded):
    """Every public attribute, and the parameters as far as they matter."""
    attributes = {a for a in vars(fitted) if a.endswith("_") and not a.startswith("_")}
    assert {a for a in vars(loaded) if a.endswith("_") and not a.startswith("_")} == attributes
    for name in attributes - {"net_", "network_"}:
        a, b = getattr(fitted, name), getattr(loaded, name)
        if isinstance(a, pd.DataFrame):
            pd.testing.assert_frame_equal(a, b, check_exact=True)
        else:
            np.testing.assert_array_equal(a, b)
    for name, value in fitted.get_params(deep=False).items():
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        np.testing.assert_array_equal(loaded.get_params()[name], value)


@pytest.mark.parametrize("name", ON_MATRICES)
def test_models_of_matrices_come_back_to_the_bit(name, tmp_path):
    model = ON_MATRICES[name]
    X = NAMED if hasattr(model, "feature_names_in_") else EMBEDDINGS
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert_equal(results(loaded, X), results(model, X))
    assert_same_facts(model, loaded)


@pytest.mark.parametrize("weights", [None, {"again": 0.5}])
def test_unions_come_back_to_the_bit(weights, tmp_path):
    model = make_pipeline(a_union(transformer_weights=weights), joint()).fit(EMBEDDINGS, LABELS)
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert_equal(results(loaded, EMBEDDINGS), results(model, EMBEDDINGS))
    assert loaded[0].transformer_weights == weights
    assert_equal(results(loaded[:-1], EMBEDDINGS), results(model[:-1], EMBEDDINGS))


def test_refitting_a_loaded_model_equals_fitting(tmp_path):
    model = ON_MATRICES["adapter"]
    save_model(model, tmp_path / "model")
    refitted = load_model(tmp_path / "model").fit(EMBEDDINGS, LABELS)
    assert_equal(results(refitted, EMBEDDINGS), results(model, EMBEDDINGS))


def test_the_relation_comes_back_to_the_bit(tmp_path):
    model = ON_MATRICES["adapter"]
    save_model(model, tmp_path / "model")
    emotion = EMBEDDINGS[:, :2]
    expected = model.predict_from_emotion(emotion)
    assert_equal(load_model(tmp_path / "model").predict_from_emotion(emotion), expected)


@pytest.mark.slow
def test_models_of_faces_come_back_to_the_bit_in_a_fresh_process(on_faces, tmp_path):
    jobs = []
    for i, (model, X) in enumerate(on_faces):
        save_model(model, tmp_path / f"{i}.safetensors")
        jobs.append((tmp_path / f"{i}.safetensors", X))
    joblib.dump(jobs, tmp_path / "jobs")
    arguments = [tmp_path / "jobs", tmp_path / "results"]
    subprocess.run([sys.executable, "-c", FRESH_PROCESS, *arguments], check=True)
    for (model, X), found in zip(on_faces, joblib.load(tmp_path / "results"), strict=True):
        assert_equal(found, results(model, X))


def test_the_file_is_hardly_larger_than_the_weights(on_faces, tmp_path):
    model, _ = on_faces[0]
    save_model(model, tmp_path / "model")
    state = model.net_.module_.state_dict().values()
    weights = sum(tensor.numel() * tensor.element_size() for tensor in state)
    assert weights < (tmp_path / "model").stat().st_size <= 1.01 * weights


def test_half_precision_halves_the_convolutions_and_hardly_changes_predictions(on_faces, tmp_path):
    (embedder, faces) = on_faces[1]
    save_model(embedder, tmp_path / "whole")
    save_model(embedder, tmp_path / "half", half=True)
    state = embedder.network_.state_dict().values()
    saved = 2 * sum(tensor.numel() for tensor in state if tensor.ndim == 4)
    sizes = [(tmp_path / name).stat().st_size for name in ("whole", "half")]
    assert sizes[0] - sizes[1] == pytest.approx(saved, rel=0.01)
    loaded, before = load_model(tmp_path / "half"), embedder.transform(faces)
    assert all(tensor.dtype == torch.float32 for tensor in loaded.network_.state_dict().values())
    after = loaded.transform(faces)
    assert not np.array_equal(after, before)
    np.testing.assert_allclose(after, before, atol=0.01 * np.abs(before).max())
    # Once rounded, there is nothing more to lose.
    save_model(loaded, tmp_path / "again", half=True)
    np.testing.assert_array_equal(load_model(tmp_path / "again").transform(faces), after)


def test_output_containers_come_back(tmp_path):
    model = clone(ON_MATRICES["adapter"]).set_output(transform="pandas").fit(EMBEDDINGS, LABELS)
    save_model(model, tmp_path / "model")
    assert isinstance(load_model(tmp_path / "model").transform(EMBEDDINGS), pd.DataFrame)


def test_what_the_resnet29_reads_of_a_face_comes_back(tmp_path):
    faces = np.random.default_rng(0).integers(0, 256, (4, 150, 150, 3), dtype=np.uint8)
    options = {"levels": "stage64", "crops": (1.0, 0.6)}
    model = JointAffectEstimator("resnet29", backbone_params=options, max_epochs=1, random_state=0)
    model.fit(faces, np.linspace(0, 1, 8).reshape(4, 2))
    save_model(model, tmp_path / "model.safetensors")

    loaded = load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(faces), model.predict(faces))


@pytest.mark.parametrize("spacing", [1, "scale"])
def test_dynamics_come_back_to_the_bit_and_fit_in_a_pipeline(tmp_path, spacing):
    clips = make_dynamic_clips(3, n_frames=12, random_state=0).data
    settings = {"scales": (1, 3), "filter_levels": ["encoder3", "bottleneck"]}
    encoder = PersonDynamicsEncoder(**settings, spacing=spacing, max_epochs=2, random_state=0)
    encoder.fit(clips)
    save_model(encoder, tmp_path / "model")
    loaded = load_model(tmp_path / "model")

    np.testing.assert_array_equal(loaded.transform(clips), encoder.transform(clips))
    np.testing.assert_array_equal(loaded.ranking_accuracy(clips), encoder.ranking_accuracy(clips))
    assert loaded.get_feature_names_out().tolist() == encoder.get_feature_names_out().tolist()
    pd.testing.assert_frame_equal(loaded.history_, encoder.history_, check_exact=True)


def test_dynamics_without_whitening_come_back(tmp_path):
    clips = make_dynamic_clips(2, n_frames=8, random_state=0).data
    encoder = PersonDynamicsEncoder(scales=(1,), whiten=False, max_epochs=1, random_state=0)
    save_model(encoder.fit(clips), tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.transform(clips), encoder.transform(clips))


def test_the_description_says_what_the_model_is(tmp_path):
    save_model(ON_MATRICES["no adapter"], tmp_path / "model", notes={"labels": "synthetic"})
    info = read_model_info(tmp_path / "model")
    assert info["class"] == "JointAffectEstimator"
    assert info["target_names"] == ON_MATRICES["no adapter"].target_names_
    assert set(info["polarity"]) == set(info["target_names"])
    assert "stable" in info["polarity"]["neuroticism"]
    assert info["notes"] == {"labels": "synthetic"}
    assert {"persona-affect", "torch", "scikit-learn", "python"} <= set(info["libraries"])
    with safe_open(tmp_path / "model", framework="np") as file:  # any reader of the format reads it
        assert json.loads(file.metadata()["persona_affect"]) == info


def test_loading_leaves_the_global_generators_alone(tmp_path):
    save_model(ON_MATRICES["adapter"], tmp_path / "model")
    before = torch.get_rng_state()
    load_model(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), before)
