import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import UndefinedMetricWarning, UnsetMetadataPassedError
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error
from sklearn.metrics import r2_score as sklearn_r2
from sklearn.metrics import root_mean_squared_error as sklearn_rmse
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from persona_affect.exceptions import NoFaceWarning
from persona_affect.metrics import (
    EMOTION_NAMES,
    PERSONALITY_NAMES,
    SCORERS,
    accuracy_score_mae,
    affect_report,
    ccc_score,
    make_affect_scorer,
    pearson_score,
    r2_score,
    root_mean_squared_error,
)

NAMES = [*PERSONALITY_NAMES, *EMOTION_NAMES]
METRICS = [ccc_score, pearson_score, r2_score, accuracy_score_mae, root_mean_squared_error]
CORRELATIONS = [ccc_score, pearson_score]

finite = st.floats(-1e3, 1e3).map(lambda value: round(value, 3))
pairs = st.integers(2, 30).flatmap(
    lambda n: st.tuples(arrays(float, n, elements=finite), arrays(float, n, elements=finite))
)


# --- one target -------------------------------------------------------------------------------


def test_ccc_by_hand():
    # y: mean 2, variance 2/3; p: mean 4, variance 8/3; covariance 4/3.
    assert ccc_score([1, 2, 3], [2, 4, 6]) == pytest.approx(2 * 4 / 3 / (2 / 3 + 8 / 3 + 4))


def test_ccc_takes_population_variances():
    # With sample variances (divided by n - 1) this would be 2/3.
    assert ccc_score([0, 1], [1, 2]) == pytest.approx(2 * 0.25 / (0.25 + 0.25 + 1))


def test_accuracy_and_rmse_by_hand():
    assert accuracy_score_mae([0.2, 0.8], [0.3, 0.5]) == pytest.approx(0.8)
    assert root_mean_squared_error([0, 0], [3, 4]) == pytest.approx(np.sqrt(12.5))


def test_agrees_with_scipy_and_sklearn(rng):
    y, p = rng.normal(size=(2, 40))
    w = rng.uniform(size=40)
    assert pearson_score(y, p) == pytest.approx(pearsonr(y, p).statistic)
    assert pearson_score(y, p, sample_weight=w) == pytest.approx(
        np.cov(y, p, aweights=w)[0, 1] / np.sqrt(np.cov(y, aweights=w) * np.cov(p, aweights=w))
    )
    assert accuracy_score_mae(y, p, sample_weight=w) == pytest.approx(
        1 - mean_absolute_error(y, p, sample_weight=w)
    )
    assert r2_score(y, p, sample_weight=w) == pytest.approx(sklearn_r2(y, p, sample_weight=w))
    assert root_mean_squared_error(y, p, sample_weight=w) == pytest.approx(
        sklearn_rmse(y, p, sample_weight=w)
    )


# Ten times 0.7: the mean, and so each deviation from it, is not exact in floating point.
VARIED, CONSTANT = np.linspace(0.1, 0.9, 10) ** 2, np.full(10, 0.7)


@pytest.mark.parametrize("metric", CORRELATIONS)
@pytest.mark.parametrize(("y", "p"), [(VARIED, CONSTANT), (CONSTANT, VARIED), (CONSTANT, CONSTANT)])
def test_constants_score_exactly_zero(metric, y, p):
    assert metric(y, p) == 0


@pytest.mark.parametrize("p", [CONSTANT, VARIED])
def test_r2_of_constant_labels_is_that_of_sklearn(p):
    assert r2_score(CONSTANT, p) == sklearn_r2(CONSTANT, p)


@given(pairs)
def test_bounds(pair):
    y, p = pair
    r, ccc = pearson_score(y, p), ccc_score(y, p)
    assert -1 <= r <= 1
    # CCC is r lowered towards zero; the slack is for rounding.
    assert abs(ccc) <= abs(r) + 1e-9
    assert accuracy_score_mae(y, p) >= 1 - root_mean_squared_error(y, p) - 1e-9


@given(pairs, st.floats(0.1, 10), finite)
def test_invariances(pair, scale, shift):
    y, p = pair
    assert pearson_score(y, scale * p + shift) == pytest.approx(pearson_score(y, p), abs=1e-6)
    assert ccc_score(p, y) == pytest.approx(ccc_score(y, p), abs=1e-12)
    assert ccc_score(scale * y, scale * p) == pytest.approx(ccc_score(y, p), abs=1e-9)
    assert ccc_score(-y, p) == pytest.approx(ccc_score(y, -p), abs=1e-12)


@given(arrays(float, st.integers(2, 30), elements=finite))
def test_perfect_and_reversed(y):
    expected = 0 if np.ptp(y) == 0 else 1
    assert ccc_score(y, y) == pytest.approx(expected)
    assert pearson_score(y, -y) == pytest.approx(-expected)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_pearson_of_extreme_magnitudes(scale):
    assert pearson_score(np.array([1, 2, 4]) * scale, [1, 2, 4]) == pytest.approx(1)


# --- weights and missing labels ---------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_integer_weights_repeat_and_zero_weights_remove(metric, rng):
    y, p = rng.normal(size=(2, 12, 2))
    weights = rng.integers(0, 4, size=12)
    assert metric(y, p, sample_weight=weights) == pytest.approx(
        metric(np.repeat(y, weights, axis=0), np.repeat(p, weights, axis=0))
    )


@pytest.mark.parametrize("metric", METRICS)
def test_missing_labels_are_left_out_target_by_target(metric, rng):
    y, p = rng.normal(size=(2, 20, 3))
    missing = rng.uniform(size=y.shape) < 0.4
    scores = metric(np.where(missing, np.nan, y), p, multioutput="raw_values")
    for target, score in enumerate(scores):
        seen = ~missing[:, target]
        assert score == pytest.approx(metric(y[seen, target], p[seen, target]))
    average = metric(np.where(missing, np.nan, y), p)
    assert average == pytest.approx(scores.mean())
    assert isinstance(average, float)


@pytest.mark.parametrize("metric", METRICS)
def test_a_prediction_without_a_label_may_be_missing(metric):
    y = [[1, np.nan], [2, 5.0], [3, 7.0]]
    p = [[1, np.nan], [2, 5.0], [3, 7.0]]
    assert metric(y, p) == metric([1, 2, 3], [1, 2, 3])


@pytest.mark.parametrize(("metric", "n_needed"), list(zip(METRICS, [2, 2, 2, 1, 1], strict=True)))
def test_undefined_targets(metric, n_needed):
    y = np.full((3, 2), np.nan)
    y[:, 0] = [1, 2, 3]
    y[: n_needed - 1, 1] = 1
    p = np.ones((3, 2)) * [[1], [2], [3]]
    first, second = metric(y, p, multioutput="raw_values")
    assert np.isnan(second)
    with pytest.warns(UndefinedMetricWarning, match=r"targets at \[1\]"):
        assert metric(y, p) == first
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(metric(y[:, 1:], p[:, 1:]))
    y[n_needed - 1, 1] = 5
    assert not np.isnan(metric(y, p))


def test_zero_weight_counts_as_no_label():
    scores = ccc_score([1, 2, 3], [1, 2, 3], sample_weight=[1, 0, 0], multioutput="raw_values")
    assert np.isnan(scores).all()


# --- missing predictions ----------------------------------------------------------------------

Y = np.array([[0.0, 1.0], [1.0, np.nan], [2.0, 3.0], [5.0, 2.0]])
P = np.array([[0.5, 1.0], [np.nan, np.nan], [2.0, np.nan], [4.0, 2.5]])


def test_missing_predictions_raise():
    with pytest.raises(ValueError, match=r"2 of 4 samples .*sample 1.*nan_predictions"):
        ccc_score(Y, P)


def test_missing_predictions_omitted():
    with pytest.warns(NoFaceWarning, match="2 of 4 .*left out"):
        scores = accuracy_score_mae(Y, P, nan_predictions="omit", multioutput="raw_values")
    assert scores == pytest.approx([1 - (0.5 + 0 + 1) / 3, 1 - 0.5 / 2])


def test_missing_predictions_become_the_mean_label():
    with pytest.warns(NoFaceWarning, match="2 of 4 .*mean label"):
        scores = accuracy_score_mae(Y, P, nan_predictions="mean", multioutput="raw_values")
    # Mean labels: 2 and 2, so sample 1 misses by 1 on target 0, and sample 2 by 1 on target 1.
    assert scores == pytest.approx([1 - (0.5 + 1 + 0 + 1) / 4, 1 - (0 + 1 + 0.5) / 3])


def test_the_mean_label_is_weighted():
    with pytest.warns(NoFaceWarning):
        score = accuracy_score_mae(
            [0, 1, 4], [0, 1, np.nan], sample_weight=[0, 3, 1], nan_predictions="mean"
        )
    # The weighted mean is 7/4, so the last sample, a quarter of the weight, misses by 9/4.
    assert score == pytest.approx(1 - 9 / 16)


def test_declining_the_hard_samples_pays_only_when_omitted(rng):
    y = rng.normal(size=200)
    p = y + rng.normal(size=200) * np.linspace(0, 5, 200)
    declined = np.where(np.arange(200) < 20, p, np.nan)
    with pytest.warns(NoFaceWarning):
        omitted = ccc_score(y, declined, nan_predictions="omit")
    with pytest.warns(NoFaceWarning):
        imputed = ccc_score(y, declined, nan_predictions="mean")
    assert imputed < ccc_score(y, p) < omitted


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1, 2, 3]), "shape"),
        (([1, np.inf], [1, 2]), "y_true contains infinite"),
        (([1, 2], [1, -np.inf]), "y_pred contains infinite"),
        ((np.zeros((2, 2, 2)), np.zeros((2, 2, 2))), "dimensions"),
        ((pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"b": [1, 2]})), "columns"),
    ],
)
def test_bad_arrays(arguments, message):
    with pytest.raises(ValueError, match=message):
        ccc_score(*arguments)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sample_weight": [1, -1]}, "non-negative"),
        ({"sample_weight": [1, 1, 1]}, "2 finite"),
        ({"multioutput": "mean"}, "multioutput"),
        ({"nan_predictions": "ignore"}, "nan_predictions"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        ccc_score([1, 2], [1, 2], **parameters)


# --- report -----------------------------------------------------------------------------------


def test_report_agrees_with_the_metrics(rng):
    y, p = rng.uniform(size=(2, 30, 7))
    y[:10, :5] = np.nan
    y[20:, 5:] = np.nan
    table = affect_report(y, p, baseline=np.nanmean(y, axis=0))
    assert list(table.index) == [*NAMES, "personality mean", "emotion mean", "mean"]
    assert table.loc["openness", "n_labels"] == 20
    assert table.loc["emotion mean", "n_labels"] == 40
    for column, metric in zip(
        ["ccc", "pearson", "r2", "accuracy_mae", "rmse"], METRICS, strict=True
    ):
        assert table.loc[NAMES, column].to_numpy() == pytest.approx(
            metric(y, p, multioutput="raw_values")
        )
        assert table.loc["personality mean", column] == pytest.approx(metric(y[:, :5], p[:, :5]))
        assert table.loc["mean", column] == pytest.approx(metric(y, p))
    assert table.loc["valence", "baseline_rmse"] == pytest.approx(np.nanstd(y[:, 6]))


def test_report_of_own_names_and_groups():
    y = pd.DataFrame({"happy": [1.0, 2.0, 3.0], "smart": [np.nan, 1.0, np.nan]})
    baseline = pd.Series({"smart": 2.0, "other": 9.0, "happy": 0.0})
    table = affect_report(y, y + 1, groups={"mood": ["happy"]}, baseline=baseline)
    assert list(table.index) == ["happy", "smart", "mood mean", "mean"]
    assert np.isnan(table.loc["smart", "ccc"])
    # An undefined target is in no mean.
    assert table.loc["mean", "ccc"] == table.loc["happy", "ccc"]
    assert table.loc["happy", "baseline_accuracy_mae"] == pytest.approx(-1)
    assert table.loc["smart", "baseline_accuracy_mae"] == pytest.approx(0)


def test_report_needs_names():
    with pytest.raises(ValueError, match="pass target_names"):
        affect_report([[1, 2, 3]] * 2, [[1, 2, 3]] * 2)
    with pytest.raises(ValueError, match="1 target names for 2"):
        affect_report([[1, 2]] * 2, [[1, 2]] * 2, target_names=["a"])


# --- scorers ----------------------------------------------------------------------------------


class Named(RegressorMixin, BaseEstimator):
    """Ridge on NaN-free rows, with the names that our estimators expose."""

    def __init__(self, alpha=1.0, declines=False):
        self.alpha = alpha
        self.declines = declines

    def fit(self, X, y):
        self.n_predicted_ = 0
        self.target_names_ = ["happy", "smart", "alert"]
        self.personality_names_, self.emotion_names_ = ["smart"], ["happy", "alert"]
        self.ridge_ = Ridge(self.alpha).fit(X, np.nan_to_num(np.asarray(y)))
        return self

    def predict(self, X):
        self.n_predicted_ += 1
        y = self.ridge_.predict(X)
        if self.declines:
            y[0] = np.nan
        return y


@pytest.fixture
def data(rng):
    X = rng.normal(size=(40, 4))
    y = X[:, :3] + rng.normal(size=(40, 3)) * [0.5, 1, 2]
    y[::4, 1] = np.nan
    return X, y


@pytest.mark.parametrize("wrap", [lambda e: e, lambda e: make_pipeline(StandardScaler(), e)])
@pytest.mark.parametrize(
    ("targets", "columns"),
    [(None, [0, 1, 2]), ("personality", [1]), ("emotion", [0, 2]), (["alert", "happy"], [2, 0])],
)
def test_scorer_scores_the_targets_it_is_about(data, wrap, targets, columns):
    X, y = data
    model = wrap(Named()).fit(X, y)
    expected = ccc_score(y[:, columns], model.predict(X)[:, columns])
    scorer = make_affect_scorer("ccc", targets)
    assert scorer(model, X, y) == expected
    # A DataFrame is matched by name, not by position.
    table = pd.DataFrame(y, columns=["happy", "smart", "alert"])[["alert", "happy", "smart"]]
    assert scorer(model, X, table) == pytest.approx(expected)


def test_scorer_passes_weights_on(data, rng):
    X, y = data
    model = Named().fit(X, y)
    w = rng.uniform(size=len(X))
    score = SCORERS["pearson"](model, X, y, sample_weight=w)
    assert score == pearson_score(y, model.predict(X), sample_weight=w)


def test_scorer_requests_weights(data, rng):
    X, y = data
    w = rng.uniform(size=len(X))
    settings = {"cv": [(np.arange(20), np.arange(20, 40))], "params": {"sample_weight": w}}
    predicted = Named().fit(X[:20], y[:20]).predict(X[20:])
    with sklearn.config_context(enable_metadata_routing=True):
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            cross_validate(Named(), X, y, scoring=SCORERS["ccc"], **settings)
        scorer = SCORERS["ccc"].set_score_request(sample_weight=True)
        (score,) = cross_validate(Named(), X, y, scoring=scorer, **settings)["test_score"]
        assert score == ccc_score(y[20:], predicted, sample_weight=w[20:])
        assert score != ccc_score(y[20:], predicted)
        # What one caller requests is not requested for another.
        assert SCORERS["ccc"].get_metadata_routing().score.requests == {"sample_weight": None}
    with pytest.raises(RuntimeError, match="enable_metadata_routing"):
        SCORERS["ccc"].set_score_request(sample_weight=True)


def test_scorer_of_labels_for_some_targets(data):
    X, y = data
    model = Named().fit(X, y)
    score = SCORERS["neg_rmse_emotion"](model, X, pd.DataFrame({"alert": y[:, 2]}))
    assert score == -root_mean_squared_error(y[:, 2], model.predict(X)[:, 2])


def test_scorer_finds_the_names_inside_searches_and_target_transformers(data):
    X, y = data
    search = GridSearchCV(Named(), {"alpha": [1.0]}, scoring=SCORERS["ccc"]).fit(X, y)
    transformed = TransformedTargetRegressor(Named(), check_inverse=False).fit(X, np.nan_to_num(y))
    for model in (search, transformed):
        expected = ccc_score(y[:, [0, 2]], model.predict(X)[:, [0, 2]])
        assert SCORERS["ccc_emotion"](model, X, y) == expected


def test_scorer_of_any_regressor_with_a_table_of_default_names(rng):
    X = rng.normal(size=(20, 7))
    y = pd.DataFrame(X + rng.normal(size=X.shape), columns=NAMES)
    model = Ridge().fit(X, y)
    expected = ccc_score(y[["arousal", "valence"]], model.predict(X)[:, 5:])
    assert SCORERS["ccc_emotion"](model, X, y) == expected


def test_scorer_of_a_single_unnamed_target():
    X = np.arange(6.0)[:, None]
    assert SCORERS["ccc"](Ridge(1e-9).fit(X, X.ravel()), X, X.ravel()) == pytest.approx(1)


def test_scorer_counts_missing_predictions_as_knowing_nothing(data):
    X, y = data
    model = Named(declines=True).fit(X, y)
    predicted = model.predict(X)
    predicted[0] = np.nanmean(y, axis=0)
    with pytest.warns(NoFaceWarning, match="1 of 40"):
        assert SCORERS["ccc"](model, X, y) == pytest.approx(ccc_score(y, predicted))
    with pytest.raises(ValueError, match="1 of 40"):
        make_affect_scorer("ccc", nan_predictions="raise")(model, X, y)


def test_scorers_in_searches(data):
    X, y = data
    search = GridSearchCV(Named(), {"alpha": [1e-3, 1e6]}, scoring=SCORERS["ccc"], cv=3).fit(X, y)
    assert search.best_params_ == {"alpha": 1e-3}
    search = GridSearchCV(
        Named(), {"alpha": [1e-3, 1e6]}, scoring=SCORERS_OF_NAMED, refit="ccc", cv=3
    ).fit(X, y)
    assert search.best_params_ == {"alpha": 1e-3}
    assert np.isfinite(search.cv_results_["mean_test_neg_rmse_emotion"]).all()


SCORERS_OF_NAMED = {name: SCORERS[name] for name in ("ccc", "pearson", "neg_rmse_emotion")}


def test_several_metrics_predict_once(data):
    X, y = data
    scorer = make_affect_scorer(["ccc", "rmse"])
    model = Named().fit(X, y)
    scores = scorer(model, X, y)
    assert model.n_predicted_ == 1
    assert scores == {
        "ccc": ccc_score(y, model.predict(X)),
        "neg_rmse": -root_mean_squared_error(y, model.predict(X)),
    }
    results = cross_validate(Named(), X, y, scoring=scorer, cv=3)
    assert np.isfinite(results["test_ccc"]).all()
    assert (results["test_neg_rmse"] < 0).all()


def test_ready_scorers():
    metrics = ("ccc", "pearson", "r2", "accuracy_mae", "neg_rmse")
    groups = ("", "_personality", "_emotion")
    assert set(SCORERS) == {metric + group for group in groups for metric in metrics}
    for scorer in SCORERS.values():
        assert repr(pickle.loads(pickle.dumps(scorer))) == repr(scorer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cc",), "metric must be"),
        ((["ccc", "r3"],), "metric must be"),
        (("ccc", "emotions"), "targets must be"),
    ],
)
def test_bad_scorers(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_affect_scorer(*arguments)


def test_scorer_names_what_it_misses(data):
    X, y = data
    model = Named().fit(X, y)
    with pytest.raises(ValueError, match=r"needs the target 'openness'.*predicts \['happy'"):
        make_affect_scorer("ccc", ["openness"])(model, X, y)
    with pytest.raises(ValueError, match="y has no names"):
        SCORERS["ccc_emotion"](Ridge().fit(X, np.nan_to_num(y)), X, y)
    with pytest.raises(ValueError, match="y has 2 columns for 3"):
        SCORERS["ccc_emotion"](model, X, y[:, :2])
    with pytest.raises(ValueError, match="shape"):
        SCORERS["ccc"](model, X, y[:, :2])


def test_nothing_warns_without_a_reason(data):
    X, y = data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        affect_report(y, Named().fit(X, y).predict(X), target_names=["a", "b", "c"])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_missing_labels_of_every_container_are_left_out():
    truth, predicted = np.array([1.0, np.nan, 3.0, 5.0]), [1.0, 2.0, 4.0, 5.0]
    expected = r2_score(truth, predicted)
    masked = np.ma.array([1.0, 99.0, 3.0, 5.0], mask=[False, True, False, False])
    for labels in (masked, pd.array([1, None, 3, 5], dtype="Int64"), [1, pd.NA, 3, 5]):
        assert r2_score(labels, predicted) == expected
        assert r2_score(pd.DataFrame({"arousal": labels}), predicted) == expected
    with pytest.raises(ValueError, match="y_true holds a label that is not a number, 'calm'"):
        r2_score(["calm", 1, 2, 3], predicted)
