import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from persona_affect import JointAffectEstimator
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


def test_it_says_what_is_missing(start):
    with pytest.raises(ValueError, match="last step is a JointAffectEstimator"):
        train_heads(start[:1], X, Y, **OWN)
    with pytest.raises(ValueError, match=r"1 person\(s\) with a face"):
        train_heads(start, X, Y, **OWN, groups=np.zeros(60))
