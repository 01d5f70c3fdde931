"""The small, fast model of impressions that comes with the package."""

import io
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from typer.testing import CliRunner

from persona_affect import load_model
from persona_affect.app.cli import app
from persona_affect.datasets import make_affect_faces
from persona_affect.engines import compile
from persona_affect.estimators import make_face_network
from persona_affect.media import open_photo
from persona_affect.persistence import _bundled, read_model_info

PATH = _bundled.BUNDLED_BY_NAME["fast"]


@pytest.fixture(scope="module")
def fast():
    return load_model("fast")


@pytest.fixture(scope="module")
def faces(fast):
    """Rendered faces, aligned for both models."""
    photos = make_affect_faces(12, halves="emotion", image_size=192, random_state=5).data
    return fast[0].transform(list(photos))


def test_it_is_small_and_says_what_it_is():
    assert PATH.stat().st_size <= 3e6
    info = read_model_info("fast")
    assert info["target_names"] == read_model_info()["target_names"]
    assert {"data", "licence", "meaning", "teacher"} <= info["notes"].keys()
    assert "fast.safetensors" in PATH.with_name("LICENSE").read_text()


def test_it_has_one_network_that_sees_one_view(fast):
    networks = [step for _, step in fast.steps if hasattr(step, "network_")]
    assert len(networks) == 1
    assert not networks[0].mirror
    assert len(networks[0].network_.crops) == 1


def test_it_sees_in_faces_what_its_teacher_sees(fast, faces):
    told, said = load_model()[1:].predict(faces), fast[1:].predict(faces)
    for own, teacher in zip(said.T, told.T, strict=True):
        assert np.corrcoef(own, teacher)[0, 1] > 0.7


def test_it_works_where_the_large_one_does(fast, faces):
    expected = fast[1:].predict(faces)
    buffer = io.BytesIO()
    joblib.dump(fast, buffer)
    buffer.seek(0)
    np.testing.assert_array_equal(joblib.load(buffer)[1:].predict(faces), expected)
    compiled = compile(fast[1:], "torch", "float32")
    np.testing.assert_allclose(compiled.predict(faces), expected, atol=1e-3)
    frames = np.concatenate(list(faces))
    network = make_face_network(fast[1:])
    with torch.no_grad():
        found = network(torch.from_numpy(frames)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_its_intervals():
    calibrated = load_model("fast", intervals=True)
    photos = list(make_affect_faces(1, random_state=0).data[:1])
    table = calibrated.predict_table(photos, 0.1)
    width = table.filter(like="_high").to_numpy() - table.filter(like="_low").to_numpy()
    assert (width > 10).all()
    assert (width < 60).all()


def test_the_command_line_takes_its_name(fast, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = make_affect_faces(1, random_state=0).data[0]
    PIL.Image.fromarray(photo).save("face.png")
    result = CliRunner().invoke(app, ["predict", "face.png", "-m", "fast", "-o", "out.csv"])
    assert result.exit_code == 0, result.output
    row = pd.read_csv("out.csv").iloc[0]
    expected = fast.predict([open_photo(Path("face.png"))])[0]
    np.testing.assert_allclose(row[fast[-1].target_names_].astype(float), expected, atol=0.01)
