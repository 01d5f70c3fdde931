"""What cannot be saved without code."""

import importlib
import pkgutil

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from skorch.callbacks import EpochTimer

import persona_affect
from persona_affect import FaceAligner, JointAffectEstimator, TaskFusion, save_model
from persona_affect.exceptions import OutputPathError
from persona_affect.networks import make_backbone
from persona_affect.persistence import _files, _models

from .conftest import EMBEDDINGS, LABELS, ON_MATRICES, joint


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
        class RAMRegressor(persona_affect.RAMRegressor):
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
