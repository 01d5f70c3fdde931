"""Intervals of estimators of faces: halves, missing faces, other containers."""

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from persona_affect import ConformalAffect


def joint(tiny, **settings):
    return make_pipeline(tiny.embedder(), tiny.joint(**settings))


def test_faces_without_a_face_and_halves(tiny):
    rng = np.random.default_rng(0)
    clips, y = tiny.clips(rng, [1] * 24), tiny.labels(rng, 24)
    clips[3] = clips[3][:0]
    model = ConformalAffect(joint(tiny), alpha=0.2, cv=2)
    with pytest.warns(UserWarning, match="no face"):
        model.fit(clips, y)
    # One sample is rated on both; sample 3 has no face.
    assert model.n_persons_.tolist() == [12] * 7
    with pytest.warns(UserWarning, match="no face"):
        found = model.predict_interval(clips)
    assert np.isnan(found[3]).all()
    assert np.isfinite(np.delete(found, 3, axis=0)).all()
    values, ratios = model.describe_faces(clips[4:8])
    np.testing.assert_array_equal(values, model.predict(clips[4:8]))
    assert (ratios > 0).all()


def test_lists_series_and_arrays_are_the_same(tiny):
    rng = np.random.default_rng(0)
    clips, y = tiny.clips(rng, [1] * 20), tiny.labels(rng, 20)
    expected = ConformalAffect(joint(tiny), cv=2, alpha=0.2).fit(clips, y).predict_interval(clips)
    for X in (pd.Series(clips), np.concatenate(list(clips))):
        model = ConformalAffect(joint(tiny), cv=2, alpha=0.2).fit(X, y)
        np.testing.assert_array_equal(model.predict_interval(X), expected)


def test_intervals_of_clips_are_of_their_means(tiny):
    """Calibrated on clips, an interval lies around the prediction of the clip, not of a frame."""
    rng = np.random.default_rng(0)
    clips, y = tiny.clips(rng, [4] * 20), tiny.labels(rng, 20)
    model = ConformalAffect(joint(tiny), cv=2, alpha=0.2, method="base").fit(clips, y)
    middle = model.predict_interval(clips).mean(axis=-1)
    np.testing.assert_allclose(middle, model.predict(clips), rtol=1e-12)
