"""The model that comes with the package: from photo to numbers, with nothing else installed."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from persona_affect import load_model
from persona_affect.datasets import make_affect_faces
from persona_affect.exceptions import MissingDependencyError, NoFaceWarning
from persona_affect.networks import _resnet29
from persona_affect.persistence import read_model_info
from persona_affect.persistence._bundled import BUNDLED

TARGETS = ["trustworthy", "outgoing", "dominant", "smart", "attractive", "alert", "happy"]


@pytest.fixture
def model(monkeypatch):
    """The model, where the extra with the pretrained weights is not installed."""

    def missing():
        raise MissingDependencyError("not installed")

    monkeypatch.setattr(_resnet29, "_released_file", missing)
    return load_model()


def test_a_photo_without_a_face_warns_once(model):
    blank = np.full((80, 80, 3), 128, np.uint8)
    with pytest.warns(NoFaceWarning, match="Sample 0 has no face") as caught:
        assert np.isnan(model.predict([blank])).all()
    assert len(caught) == 1
    # A step on its own warns too, since no other step does.
    _, embedder = model[1].transformer_list[0]
    with pytest.warns(NoFaceWarning, match="Sample 0 has no face"):
        embedder.transform(model[0].transform([blank]))


def test_from_photos_to_ratings(model):
    assert isinstance(model, Pipeline)
    photos = list(make_affect_faces(3, random_state=0).data)
    predicted = model.predict(photos)
    assert predicted.shape == (len(photos), len(TARGETS))
    assert np.isfinite(predicted).all()
    assert model[-1].target_names_ == TARGETS


def test_it_says_what_it_is():
    info = read_model_info()
    assert info["target_names"] == TARGETS
    assert {"data", "licence", "meaning"} <= info["notes"].keys()
    assert "CC BY-NC-SA 4.0" in BUNDLED.with_name("LICENSE").read_text()


def test_it_carries_the_calibration_of_its_intervals(model):
    calibrated = load_model(intervals=True)
    photos = list(make_affect_faces(1, random_state=0).data[:1])
    table = calibrated.predict_table(photos, 0.1)
    np.testing.assert_array_equal(table[TARGETS].to_numpy(), model.predict(photos))
    assert calibrated.n_persons_.tolist() == [804] * 7
    width = [table[f"{name}_high"][0] - table[f"{name}_low"][0] for name in TARGETS]
    # Errors are out of fold; those on the faces that the model learnt from are far smaller.
    assert min(width) > 10
    assert max(width) < 60


def test_it_is_small():
    assert BUNDLED.stat().st_size < 12e6


def test_it_knows_the_portraits_that_it_learnt_from(model):
    folder = os.environ.get("PERSONA_AFFECT_DATA")
    if folder is None:
        pytest.skip("needs PERSONA_AFFECT_DATA, the folder with omi/")
    ratings = pd.read_csv(Path(folder, "omi", "ratings.csv"), index_col="stimulus")[TARGETS][::40]
    predicted = model.predict([Path(folder, "omi", "images", f"{i}.jpg") for i in ratings.index])
    for j, name in enumerate(TARGETS):
        assert np.corrcoef(ratings[name], predicted[:, j])[0, 1] > 0.8, name
