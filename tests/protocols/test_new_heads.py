import csv
import io

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from persona_affect import (
    FaceAligner,
    FaceEmbedder,
    JointAffectEstimator,
    load_model,
    save_model,
)
from persona_affect.app.cli import app
from persona_affect.datasets import write_miniature
from persona_affect.protocols import train_heads

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 8)).astype(np.float32)
#: Ratings from 1 to 7 that follow the embeddings; a fifth is missing.
Y = pd.DataFrame(4 + X[:, :2] + 0.3 * RNG.normal(size=(60, 2)), columns=["warmth", "joy"])
Y = Y.mask(RNG.uniform(size=Y.shape) < 0.2)
OWN = {"personality": ["warmth"], "emotion": ["joy"]}


def heads():
    return JointAffectEstimator(max_epochs=2, random_state=0)


@pytest.fixture(name="start", scope="module")
def make_start():
    return make_pipeline(StandardScaler(), heads()).fit(X, RNG.uniform(size=(60, 7)))


def test_new_ratings_are_learnt_and_what_comes_before_stays(start):
    before = start.predict(X)
    result = train_heads(start, X, Y, **OWN, n_resamples=50)
    np.testing.assert_array_equal(start.predict(X), before)
    assert result.model[0] is start[0]
    assert result.model.predict(X).shape == (60, 2)
    r = result.scores.loc[["warmth", "joy"]]
    assert (r["pearson"] > 0.85).all()
    assert (r["pearson_low"] < r["pearson"]).all()
    assert (r["pearson"] < r["pearson_high"]).all()
    assert r["n_labels"].tolist() == Y.notna().sum().tolist()
    # In the units of the ratings.
    assert np.abs(result.predictions - Y).mean().max() < 0.6


def test_a_person_is_predicted_by_heads_that_did_not_see_them(start):
    persons = np.repeat(np.arange(12), 5)
    seen = np.eye(12, 8)[persons].astype(np.float32) + 0.01 * X
    rated = pd.DataFrame(RNG.normal(size=(12, 2))[persons], columns=Y.columns)
    together = train_heads(start, seen, rated, **OWN, groups=persons, n_resamples=5).scores
    leaking = train_heads(start, seen, rated, **OWN, n_resamples=5).scores
    assert leaking.loc["joy", "pearson"] > together.loc["joy", "pearson"] + 0.3


def test_samples_without_a_face_are_left_out(start):
    holes = X.copy()
    holes[[2, 7]] = np.nan
    result = train_heads(start, holes, Y, **OWN, n_resamples=5)
    assert result.predictions.isna().any(axis=1).to_numpy().nonzero()[0].tolist() == [2, 7]
    kept = np.delete(np.arange(60), [2, 7])
    again = train_heads(start, X[kept], Y.iloc[kept], **OWN, n_resamples=5)
    np.testing.assert_allclose(result.model.predict(X), again.model.predict(X), rtol=1e-5)


def test_intervals_have_the_errors_of_the_cross_validation(start):
    persons = np.repeat(np.arange(20), 3)
    holes = X.copy()
    holes[4] = np.nan
    result = train_heads(start, holes, Y, **OWN, groups=persons, n_resamples=5)
    scores = result.intervals.scores_
    assert scores.shape == (20, 2)
    # One sample of each person, by heads that did not see the person.
    errors = np.abs(result.predictions - Y).to_numpy().reshape(20, 3, 2)
    for person, own in enumerate(scores):
        for j, score in enumerate(own):
            assert score in errors[person, :, j] or np.isnan(errors[person, :, j]).all()
    low, high = np.moveaxis(result.intervals.predict_interval(X, alpha=0.2), -1, 0)
    values = result.model.predict(X)
    np.testing.assert_allclose((low + high) / 2, values, rtol=1e-5)
    np.testing.assert_array_equal(result.intervals.predict(X), values)
    assert (low < high).all()
    inside = ((low <= Y) & (high >= Y)).to_numpy()[Y.notna()]
    assert inside.mean() > 0.7


def test_it_says_what_is_missing(start):
    with pytest.raises(ValueError, match="last step is a JointAffectEstimator"):
        train_heads(start[:1], X, Y, **OWN)
    with pytest.raises(ValueError, match=r"1 person\(s\) with a face"):
        train_heads(start, X, Y, **OWN, groups=np.zeros(60))


def test_the_command_prints_intervals_and_saves_a_model(tmp_path):
    write_miniature("omi", tmp_path / "set", n_clips=8)
    images = sorted((tmp_path / "set" / "images").iterdir())
    table = pd.DataFrame({"path": [f"images/{image.name}" for image in images]})
    table["warmth"] = [1, 2, 3, None, 4, 5, 6, 7]
    table["valence"] = [0.1, 0.2, 0.3, -0.4, 0.6, 0.1, 0.2, -0.1]
    table["split"] = ["train"] * 7 + ["test"]
    ratings = tmp_path / "set" / "own.csv"
    table.to_csv(ratings, index=False)
    aligner, embedder = FaceAligner(template="resnet29"), FaceEmbedder("faceapi_expression")
    old = make_pipeline(aligner, embedder, heads()).fit(images, RNG.uniform(size=(8, 7)))
    save_model(old, tmp_path / "old.safetensors")
    model = tmp_path / "new.safetensors"
    arguments = ("train", ratings, "--start", tmp_path / "old.safetensors", "--output", model)
    result = CliRunner().invoke(app, [str(a) for a in (*arguments, "--cache", tmp_path / "faces")])
    assert result.exit_code == 0, result.output
    assert "7 of 8 samples are for training" in result.output
    assert "95 % intervals" in result.output.replace("\n", " ")
    (row,) = [line for line in result.output.splitlines() if line.startswith("warmth")]
    assert row.split()[1] == "6"
    assert "to" in row
    loaded = load_model(model)
    assert loaded[0].get_params() == load_model(tmp_path / "old.safetensors")[0].get_params()
    assert loaded[-1].target_names_ == ["warmth", "valence"]
    assert np.isfinite(loaded.predict(images[:2])).all()
    arguments = ("predict", "--model", model, "--interval", "0.5", images[0])
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert float(row["warmth_low"]) < float(row["warmth"]) < float(row["warmth_high"])
