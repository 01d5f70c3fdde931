"""Searches over the loss weights in a pipeline whose aligner and embedder are cached."""

import numpy as np
import pytest
import torch
from joblib import Memory
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV
from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner, FaceEmbedder, JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.metrics import SCORERS
from persona_affect.model_selection import AffectGroupKFold
from persona_affect.networks import make_backbone

FOLDS = AffectGroupKFold(2)


@pytest.fixture(scope="module")
def faces():
    return make_affect_faces(4, n_faces_per_person=2, random_state=0)


@pytest.fixture
def pipeline(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(make_backbone("sphereface4").state_dict(), tmp_path / "weights.pt")
    return make_pipeline(
        FaceAligner(min_face_size=40),
        FaceEmbedder("sphereface4", weights=tmp_path / "weights.pt", device="cpu"),
        JointAffectEstimator(adapter_rank=2, max_epochs=1, random_state=0, device="cpu"),
        memory=Memory(tmp_path / "cache", verbose=0),
    )


@pytest.mark.slow
def test_grid_search_fits_the_cached_steps_once_a_fold(faces, pipeline, monkeypatch):
    fitted = []
    fit = FaceEmbedder.fit
    monkeypatch.setattr(
        FaceEmbedder, "fit", lambda self, X, y=None: fitted.append(len(X)) or fit(self, X, y)
    )
    names = ["ccc_personality", "ccc_emotion"]
    search = GridSearchCV(
        pipeline,
        {"jointaffectestimator__lambda_ram": [0.1, 1.0, 10.0]},
        scoring={name: SCORERS[name] for name in names},
        refit="ccc_personality",
        cv=FOLDS,
    ).fit(faces.data, faces.target, groups=faces.groups)
    assert sorted(fitted) == [8, 8, 16]  # two folds, and the refit on all
    for name in names:
        assert np.isfinite(search.cv_results_[f"mean_test_{name}"]).all()
    assert search.predict(faces.data[:2]).shape == (2, 7)


@pytest.mark.slow
def test_halving_search(faces, pipeline):
    search = HalvingRandomSearchCV(
        pipeline,
        {"jointaffectestimator__lambda_coh": [0.0, 0.1, 1.0, 10.0]},
        n_candidates=4,
        resource="jointaffectestimator__max_epochs",
        min_resources=1,
        max_resources=2,
        factor=2,
        scoring=SCORERS["ccc"],
        cv=FOLDS,
        random_state=0,
    ).fit(faces.data, faces.target, groups=faces.groups)
    assert search.n_resources_ == [1, 2]
    assert search.best_params_["jointaffectestimator__max_epochs"] == 2
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
