"""Intervals that hold for new persons, against MAPIE and by counting."""

import numpy as np
import pandas as pd
import pytest
from mapie.conformity_scores import AbsoluteConformityScore
from mapie.regression import CrossConformalRegressor, SplitConformalRegressor
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from persona_affect import ConformalAffect, FaceAligner, FaceEmbedder
from persona_affect.datasets import make_affect_faces
from persona_affect.estimators._conformal_scores import count_needed
from persona_affect.estimators._conformal_steps import count_shared
from persona_affect.exceptions import FewLabelsWarning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 4))
Y = X[:, :2] + RNG.normal(size=(150, 2))


class NaNRidge(Ridge):
    """A ridge for each target, on the samples that were rated."""

    def fit(self, X, y):
        y = np.asarray(y)
        self.parts_ = [
            Ridge(self.alpha).fit(np.asarray(X)[~np.isnan(own)], own[~np.isnan(own)]) for own in y.T
        ]
        return self

    def predict(self, X):
        return np.stack([part.predict(X) for part in self.parts_], axis=1)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "parts_")


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.21])
def test_split_intervals_are_those_of_mapie(alpha):
    ridge = Ridge().fit(X[:60], Y[:60, 0])
    ours = ConformalAffect(ridge).conformalize(X[60:120], Y[60:120, 0])
    theirs = SplitConformalRegressor(ridge, 1 - alpha).conformalize(X[60:120], Y[60:120, 0])
    _, expected = theirs.predict_interval(X[120:])
    found = ours.predict_interval(X[120:], alpha)
    np.testing.assert_allclose(found[:, 0], expected[..., 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.21])
@pytest.mark.parametrize("folds", [5, 120], ids=["CV+", "jackknife+"])
def test_cross_intervals_are_those_of_mapie(alpha, folds):
    cv = KFold(folds)
    ours = ConformalAffect(Ridge(), cv=cv).fit(X[:120], Y[:120, 0])
    score = AbsoluteConformityScore(sym=True)
    theirs = CrossConformalRegressor(Ridge(), 1 - alpha, score, cv=cv)
    _, expected = theirs.fit_conformalize(X[:120], Y[:120, 0]).predict_interval(X[120:])
    found = ours.predict_interval(X[120:], alpha)
    np.testing.assert_allclose(found[:, 0], expected[..., 0], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(ours.predict(X), Ridge().fit(X[:120], Y[:120, 0]).predict(X))


@pytest.mark.parametrize("method", ["plus", "base", "split"])
def test_intervals_cover_new_persons(method):
    """Averaged over draws, for half-labelled data with several samples a person."""
    covered = {alpha: [] for alpha in (0.2, 0.1, 0.05)}
    for seed in range(25):
        rng = np.random.default_rng(seed)
        person = np.repeat(np.arange(120), 3)
        # A person's samples share most of their error.
        own = rng.normal(size=(120, 2))[person]
        X = rng.normal(size=(360, 3))
        y = X[:, :2] + own + 0.3 * rng.normal(size=(360, 2))
        y[person % 2 == 0, 0] = y[person % 2 == 1, 1] = np.nan
        calibration, test = person < 90, person >= 90
        if method == "split":
            model = ConformalAffect(NaNRidge().fit(X[person < 30], y[person < 30]), random_state=0)
            calibration &= person >= 30
            model.conformalize(X[calibration], y[calibration], person[calibration])
        else:
            model = ConformalAffect(NaNRidge(), method=method, random_state=0)
            model.fit(X[calibration], y[calibration], person[calibration])
        assert (model.n_persons_ == (30 if method == "split" else 45)).all()
        for alpha, found in covered.items():
            low, high = np.moveaxis(model.predict_interval(X[test], alpha), -1, 0)
            rated = ~np.isnan(y[test])
            found.append(((low <= y[test]) & (y[test] <= high))[rated].mean())
    for alpha, found in covered.items():
        # 25 draws of 30 persons; the rank is rounded up, at most by one person in 31.
        assert 1 - alpha - 0.02 <= np.mean(found) <= 1 - alpha + 0.05


def test_a_person_counts_once():
    ridge = Ridge().fit(X, Y)
    groups = np.repeat(np.arange(15), 10)
    model = ConformalAffect(ridge, random_state=0).conformalize(X, Y, groups)
    assert model.scores_.shape == (15, 2)
    errors = np.abs(Y - ridge.predict(X))
    for person, own in enumerate(model.scores_):
        assert all(np.isin(own[j], errors[groups == person, j]) for j in range(2))
    again = ConformalAffect(ridge, random_state=0).conformalize(X, Y, groups)
    np.testing.assert_array_equal(again.scores_, model.scores_)
    other = ConformalAffect(ridge, random_state=1).conformalize(X, Y, groups)
    assert not np.array_equal(other.scores_, model.scores_)


def test_no_person_is_in_its_own_training():
    """A model that memorises shows errors only if the copies have not seen the person."""

    class Memory(Ridge):
        def fit(self, X, y):
            self.seen_ = {tuple(row): value for row, value in zip(X, y, strict=True)}
            return self

        def predict(self, X):
            return np.array([self.seen_.get(tuple(row), [1e3, 1e3]) for row in X])

        def __sklearn_is_fitted__(self):
            return True

    X = np.repeat(np.arange(20.0), 2)[:, None]
    y = np.zeros((40, 2))
    model = ConformalAffect(Memory(), method="base").fit(X, y, np.repeat(np.arange(20), 2))
    assert (model.scores_ == 1e3).all()
    assert (model.predict(X) == 0).all()
    splitter = ConformalAffect(Memory(), cv=LeaveOneGroupOut()).fit(X, y, X[:, 0])
    assert len(splitter.members_) == 20


@pytest.mark.parametrize("alpha", [0.3, 0.2, 0.1, 0.05, 0.01, 1 / 3])
def test_too_few_persons_give_nan(alpha):
    n = count_needed(alpha)
    assert np.ceil(round((n + 1) * (1 - alpha), 9)) <= n
    assert n == 1 or np.ceil(round(n * (1 - alpha), 9)) > n - 1
    y = Y[:n].copy()
    if n > 1:
        y[0, 1] = np.nan
    ridge = Ridge().fit(X, Y)
    model = ConformalAffect(ridge, alpha=alpha).conformalize(X[:n], y)
    if n == 1:
        assert np.isfinite(model.predict_interval(X)).all()
        return
    with pytest.warns(FewLabelsWarning, match=rf"needs {n} calibration .*: y1 \({n - 1}\)"):
        found = model.predict_interval(X)
    assert np.isfinite(found[:, 0]).all()
    assert np.isnan(found[:, 1]).all()


def test_distance_and_functions_as_difficulty():
    """Far samples have large errors: intervals that know it are narrower on average."""
    rng = np.random.default_rng(0)
    far_out = rng.permutation(np.repeat([False, True], 500))
    X = rng.normal(size=(1000, 2)) * np.where(far_out, 8, 1)[:, None]
    y = np.where(far_out, 2, 0.1) * rng.normal(size=1000)

    def known(_, X):
        return np.where(np.hypot(*X.T) > 4, 2, 0.1)

    widths = []
    for difficulty in (None, "distance", known):
        model = ConformalAffect(
            make_pipeline(StandardScaler(), LinearRegression()), difficulty=difficulty
        ).fit(X[:600], y[:600])
        low, high = model.predict_interval(X[600:])[:, 0].T
        widths.append(np.mean(high - low))
        assert np.mean((low <= y[600:]) & (y[600:] <= high)) == pytest.approx(0.9, abs=0.04)
    assert widths[1] < 0.95 * widths[0]
    assert widths[2] < 0.9 * widths[0]
    with pytest.raises(ValueError, match="positive numbers"):
        ConformalAffect(Ridge(), difficulty=lambda _, X: np.zeros(len(X))).fit(X, y)


def test_a_table_has_named_columns():
    table = pd.DataFrame(X, columns=list("abcd"), index=np.arange(150) + 7)
    y = pd.DataFrame(Y, columns=["warm", "calm"], index=table.index)
    model = ConformalAffect(Ridge()).fit(table, y)
    found = model.predict_table(table[:3], alpha=0.2)
    names = ["warm", "warm_low", "warm_high", "calm", "calm_low", "calm_high"]
    assert list(found.columns) == names
    assert found.index.tolist() == [7, 8, 9]
    intervals = model.predict_interval(table[:3], alpha=0.2)
    np.testing.assert_array_equal(found[["calm_low", "calm_high"]], intervals[:, 1])
    assert ConformalAffect(Ridge()).fit(X, Y[:, 0]).target_names_ == ["y"]


def test_steps_that_learn_nothing_run_once():
    calls = []

    class Counting(FaceAligner):
        def transform(self, X):
            calls.append(len(X))
            return super().transform(X)

    Counting.__name__ = "FaceAligner"
    faces = make_affect_faces(8, halves="personality", random_state=0)
    flat = FunctionTransformer(
        lambda clips: np.stack([clip[0, ::9, ::9].ravel() for clip in clips])
    )
    pipeline = make_pipeline(Counting(), flat, Ridge(1e6))
    model = ConformalAffect(pipeline, cv=2, alpha=0.3).fit(faces.data, faces.target.iloc[:, :5])
    n = len(faces.data)
    assert calls == [n, n]  # in the fit of the model, and for all copies
    low, high = np.moveaxis(model.predict_interval(faces.data[:2]), -1, 0)
    assert (low < high).all()
    clips = FaceAligner().transform(faces.data[:2])
    ours = model.skip_steps(1).predict_interval(clips)
    np.testing.assert_array_equal(ours, np.stack([low, high], -1))
    with pytest.raises(ValueError, match="no 2 steps"):
        model.skip_steps(2)


def test_predictions_of_a_cross_validation_of_your_own():
    ridge = Ridge().fit(X, Y)
    given = np.zeros_like(Y)
    model = ConformalAffect(ridge).conformalize(X, Y, predicted=given)
    np.testing.assert_array_equal(model.scores_, np.abs(Y))
    with pytest.raises(ValueError, match="shape"):
        ConformalAffect(ridge).conformalize(X, Y, predicted=given[:, :1])


def test_wrong_calls():
    with pytest.raises(NotFittedError):
        ConformalAffect(Ridge()).conformalize(X, Y)
    with pytest.raises(NotFittedError):
        ConformalAffect(Ridge()).predict_interval(X)
    model = ConformalAffect(Ridge()).fit(X, Y)
    for alpha in (0, 1, 90):
        with pytest.raises(ValueError, match="between 0 and 1"):
            model.predict_interval(X, alpha)
    with pytest.raises(ValueError, match="only one, with n_samples=150"):
        ConformalAffect(Ridge()).fit(X, Y, ["ann"] * 150)
    with (
        pytest.warns(UserWarning, match="ignored by KFold"),
        pytest.raises(ValueError, match="one person into two folds"),
    ):
        ConformalAffect(Ridge(), cv=KFold(5)).fit(X, Y, np.arange(150) % 10)
    with pytest.raises(ValueError, match="shape"):
        model.conformalize(X, Y[:, :1])
    assert len(ConformalAffect(Ridge(), cv=GroupKFold(3)).fit(X, Y, np.arange(150)).members_) == 3


def test_distances_keep_few_columns_and_faces():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(1100, 20)) @ rng.normal(size=(20, 1500))
    known = ConformalAffect(make_pipeline(StandardScaler(), Ridge()), method="base", cv=2)
    model = known.fit(wide, wide[:, 0])
    assert model.familiarity_.known.shape == (1000, 500)
    far = model.describe_faces(np.vstack([wide[:5], 5 * wide[:5]]))[1]
    assert (far[5:] > 2 * far[:5]).all()


def test_embedders_are_known_to_learn_nothing():
    model = make_pipeline(FaceAligner(), FaceEmbedder(), Ridge())
    assert count_shared(model) == 2
    assert count_shared(make_pipeline(PCA(), Ridge())) == 0


def test_unreliable_samples_have_wider_intervals():
    """Half widths are the root of the error that is expected, which is counted here."""
    model = ConformalAffect(Ridge().fit(X[:60], Y[:60])).conformalize(X[60:120], Y[60:120])
    bounds = model.predict_interval(X[120:])
    errors = Y[60:120] - model.predict(X[60:120])
    ratio = Y[60:120].var(axis=0) / (errors**2).mean(axis=0)
    np.testing.assert_allclose(model.advantages_, ratio)
    assert (ratio > 1.2).all()
    share = np.linspace(0, 1, 30)
    found = model.widen(bounds, share)
    np.testing.assert_allclose(found.mean(axis=-1), bounds.mean(axis=-1))
    growth = np.ptp(found, axis=-1) / np.ptp(bounds, axis=-1)
    np.testing.assert_allclose(growth, np.sqrt(share[:, None] + np.outer(1 - share, ratio)))
    np.testing.assert_array_equal(found[-1], bounds[-1])


def test_disturbed_samples_are_covered_when_intervals_are_widened():
    """Features that lose a known share of what they say about the rating."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 1))
    y = 3 * X[:, 0] + rng.normal(size=3000)
    model = ConformalAffect(Ridge().fit(X[:500], y[:500])).conformalize(X[500:1000], y[500:1000])
    # The error's variance is 1 and 9 a feature that is replaced: with a third of those, 4.
    lost = np.sqrt(1 / 6) * 3 * rng.normal(size=2000)
    seen = X[1000:] + lost[:, None] / 3 * np.sqrt(2)
    bounds = model.predict_interval(seen)
    narrow = ((bounds[:, 0, 0] <= y[1000:]) & (y[1000:] <= bounds[:, 0, 1])).mean()
    error = ((model.predict(seen) - y[1000:]) ** 2).mean()
    share = 1 - (error - 1) / (y.var() - 1)
    wide = model.widen(bounds, np.full(2000, share))
    assert narrow < 0.75
    inside = (wide[:, 0, 0] <= y[1000:]) & (y[1000:] <= wide[:, 0, 1])
    assert inside.mean() == pytest.approx(0.9, abs=0.02)


def test_a_model_that_knows_nothing_widens_nothing():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=60)
    model = ConformalAffect(LinearRegression().fit(X[:60], noise))
    bounds = model.conformalize(X[60:120], noise).predict_interval(X[120:])
    assert model.advantages_[0] < 1
    np.testing.assert_array_equal(model.widen(bounds, np.zeros(30)), bounds)
    for wrong in (np.zeros(29), np.full(30, 1.1), np.full(30, np.nan)):
        with pytest.raises(ValueError, match="reliability"):
            model.widen(bounds, wrong)
    with pytest.raises(NotFittedError):
        ConformalAffect(Ridge()).widen(bounds, np.zeros(30))
