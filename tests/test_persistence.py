"""Models as files: equal to the bit when they come back, and harmless when they do not."""

import importlib
import json
import os
import pickle
import pkgutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import FeatureUnion, make_pipeline
from skorch.callbacks import EpochTimer

import persona_affect
from persona_affect import (
    FaceAligner,
    FaceEmbedder,
    JointAffectEstimator,
    KernelFeatures,
    PersonDynamicsEncoder,
    RAMRegressor,
    TaskFusion,
    load_model,
    save_model,
)
from persona_affect.datasets import make_affect_faces, make_dynamic_clips
from persona_affect.exceptions import (
    ModelFormatError,
    ModelReadError,
    OutputPathError,
    WeightsError,
)
from persona_affect.networks import make_backbone
from persona_affect.persistence import _files, _models, _upgrades, read_model_info

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


def a_union(**settings):
    first, second, third = (KernelFeatures(n, rank=2, random_state=0) for n in (2, 3, 4))
    return FeatureUnion([("once", first), ("again", make_pipeline(second, third))], **settings)


@pytest.mark.parametrize("weights", [None, {"again": 0.5}])
def test_unions_come_back_to_the_bit(weights, tmp_path):
    model = make_pipeline(a_union(transformer_weights=weights), joint()).fit(EMBEDDINGS, LABELS)
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert_equal(results(loaded, EMBEDDINGS), results(model, EMBEDDINGS))
    assert loaded[0].transformer_weights == weights
    assert_equal(results(loaded[:-1], EMBEDDINGS), results(model[:-1], EMBEDDINGS))


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
    script = Path(__file__).parents[1] / "benchmarks/attacks/model_files.py"
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


def test_the_whitening_of_other_filters_is_refused(tmp_path):
    clips = make_dynamic_clips(2, n_frames=8, random_state=0).data
    encoder = PersonDynamicsEncoder(scales=(1,), max_epochs=1, random_state=0).fit(clips)
    encoder.filter_levels = ["encoder1"]
    save_model(encoder, tmp_path / "model")
    with pytest.raises(ModelFormatError, match="whitening"):
        load_model(tmp_path / "model")


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


def test_every_public_estimator_can_be_saved_or_says_why():
    modules = [
        importlib.import_module(f"persona_affect.{module.name}")
        for module in pkgutil.iter_modules(persona_affect.__path__)
        if module.ispkg or not module.name.startswith("_")
    ]
    public = {
        value
        for module in [persona_affect, *modules]
        for value in (getattr(module, name) for name in getattr(module, "__all__", ()))
        if isinstance(value, type) and issubclass(value, BaseEstimator)
    }
    assert {FaceAligner, JointAffectEstimator, TaskFusion} <= public
    for estimator in public:
        saved = _models.CLASSES.get(estimator.__name__) is estimator
        assert saved != hasattr(estimator, "_why_not_saved"), estimator


def test_an_estimator_that_cannot_be_saved_says_why(tmp_path):
    with pytest.raises(ValueError, match=r"TaskFusion cannot be saved: its encoder.*joblib"):
        save_model(TaskFusion(None, Ridge()), tmp_path / "model")


def test_a_note_that_a_terminal_obeys_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="control characters"):
        save_model(ON_MATRICES["RAM"], tmp_path / "model", notes={"meaning": "\x1b[2J"})
    assert not any(tmp_path.iterdir())


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
        ("a\0b", "cannot be used: embedded null"),
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


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    model = joint(n_segments=20_000).fit(EMBEDDINGS, LABELS)
    with pytest.raises(ValueError, match=r"n_segments holds 2e.04"):
        save_model(model, tmp_path / "model")
    with pytest.raises(ValueError, match="cannot be saved without code"):
        save_model("a text", tmp_path / "model")
    for name in ("a" * 300, "with\0zero"):
        with pytest.raises(OutputPathError, match="cannot be a file"):
            save_model(ON_MATRICES["RAM"], tmp_path / name)
    assert not any(tmp_path.iterdir())


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


def test_loading_leaves_the_global_generators_alone(tmp_path):
    save_model(ON_MATRICES["adapter"], tmp_path / "model")
    before = torch.get_rng_state()
    load_model(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), before)


class TestRefusals:
    """What cannot be saved without code."""

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"backbone": lambda: make_backbone("sphereface4")}, "backbone.*BACKBONES"),
            ({"callbacks": [EpochTimer()]}, "callbacks.*set_params"),
            ({"random_state": np.random.RandomState(0)}, "random_state.*integer"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_parameters(self, parameters, message, tmp_path):
        model = joint().set_params(**parameters).fit(EMBEDDINGS, LABELS)
        with pytest.raises(ValueError, match=message):
            save_model(model, tmp_path / "model")
        assert not any(tmp_path.iterdir())

    def test_other_classes(self, tmp_path):
        pipeline = make_pipeline(joint(), Ridge()).fit(EMBEDDINGS, EMBEDDINGS[:, 0])
        with pytest.raises(ValueError, match="Ridge cannot be saved without code"):
            save_model(pipeline, tmp_path / "model")

    def test_subclasses(self, tmp_path):
        class RAMRegressor(globals()["RAMRegressor"]):
            pass

        with pytest.raises(ValueError, match="cannot be saved"):
            save_model(RAMRegressor(max_epochs=1).fit(EMBEDDINGS, LABELS), tmp_path / "model")

    def test_unfitted(self, tmp_path):
        with pytest.raises(NotFittedError):
            save_model(make_pipeline(FaceAligner(), joint()), tmp_path / "model")

    def test_a_failed_save_leaves_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "model"
        save_model(ON_MATRICES["RAM"], path)
        before = path.read_bytes()

        def disk_full(tensors, draft, metadata):
            draft.write_bytes(before[:100])
            raise OSError("No space left on device")

        monkeypatch.setattr(_files, "save_file", disk_full)
        with pytest.raises(OSError, match="No space"):
            save_model(ON_MATRICES["adapter"], path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


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


class TestVersions:
    @pytest.fixture
    def path(self, tmp_path):
        save_model(ON_MATRICES["RAM"], tmp_path / "model")
        return tmp_path / "model"

    def test_newer(self, path):
        forge(path, lambda d: d.update(format_version=99))
        with pytest.raises(ModelFormatError, match=r"format 99.*Upgrade persona-affect"):
            load_model(path)

    @pytest.mark.parametrize("version", [None, "1", 1.5, [1]])
    def test_nonsense(self, path, version):
        forge(path, lambda d: d.update(format_version=version))
        with pytest.raises(ModelFormatError, match="format"):
            load_model(path)

    def test_older_without_a_way(self, path):
        forge(path, lambda d: d.update(format_version=0))
        with pytest.raises(ModelFormatError, match="Load it with the version that wrote it"):
            load_model(path)

    def test_older_with_a_way(self, path, monkeypatch):
        def rename(description):
            description["model"]["parameters"]["hidden"] = description["model"]["parameters"].pop(
                "n_hidden"
            )
            return description

        def as_if_older(description):
            description["format_version"] = 0
            description["model"]["parameters"]["n_hidden"] = description["model"]["parameters"].pop(
                "hidden"
            )

        forge(path, as_if_older)
        monkeypatch.setitem(_upgrades.UPGRADES, 0, rename)
        loaded = load_model(path)
        assert_equal(results(loaded, EMBEDDINGS), results(ON_MATRICES["RAM"], EMBEDDINGS))

    def test_parameters_of_later_versions_take_their_defaults(self, path):
        forge(path, lambda d: d["model"]["parameters"].pop("verbose"))
        assert load_model(path).verbose == 0


def test_a_bundled_model_that_is_missing_is_said_to_be(monkeypatch, tmp_path):
    monkeypatch.setattr(_files, "BUNDLED", tmp_path / "impressions.safetensors")
    with pytest.raises(WeightsError, match="path"):
        load_model()
