import numpy as np
import pandas as pd
import pytest

from persona_affect import RAMRegressor
from persona_affect.exceptions import FewLabelsWarning


@pytest.fixture
def relation():
    rng = np.random.RandomState(0)
    emotion = rng.uniform(-1, 1, (300, 2))
    traits = 0.5 + 0.2 * np.tanh(emotion @ rng.randn(2, 5)) + 0.1 * emotion[:, :1] ** 2
    return emotion, pd.DataFrame(traits, columns=list("eacno"))


def test_learns_a_nonlinear_relation(relation):
    emotion, traits = relation
    model = RAMRegressor(random_state=0).fit(emotion[:200], traits[:200])
    assert model.target_names_ == list("eacno")
    assert model.score(emotion[200:], traits[200:]) > 0.97


def test_missing_labels_are_left_out_target_by_target(relation):
    emotion, traits = relation
    traits = traits.copy()
    traits.iloc[:150, 0] = np.nan
    traits.iloc[:, 1] = np.nan
    model = RAMRegressor(random_state=0).fit(emotion, traits)
    predicted = model.predict(emotion)
    assert np.isnan(predicted[:, 1]).all()
    assert np.isfinite(np.delete(predicted, 1, 1)).all()
    assert np.corrcoef(predicted[150:, 0], traits.iloc[150:, 0])[0, 1] > 0.97


@pytest.mark.parametrize(("n_in", "n_out"), [(2, 6), (1, 1), (7, 2)])
def test_any_widths(n_in, n_out):
    rng = np.random.RandomState(0)
    model = RAMRegressor(max_epochs=2).fit(rng.randn(10, n_in), rng.randn(10, n_out))
    assert model.predict(rng.randn(4, n_in)).shape == (4, n_out)


def test_nothing_rated_is_said(relation):
    emotion, traits = relation
    with pytest.raises(ValueError, match="Nothing to train on"):
        RAMRegressor().fit(emotion, np.full(traits.shape, np.nan))


def test_traits_with_few_or_equal_labels_are_predicted_by_their_mean():
    rng = np.random.default_rng(0)
    emotion, traits = rng.uniform(-1, 1, (30, 2)), rng.uniform(size=(30, 3))
    traits[2:, 0], traits[:, 1] = np.nan, 0.4
    with pytest.warns(FewLabelsWarning, match=r"y0 \(2\), y1 \(30\)"):
        model = RAMRegressor(max_epochs=20, random_state=0).fit(emotion, traits)
    found = model.predict(emotion)
    np.testing.assert_allclose(found[:, :2], np.tile([traits[:2, 0].mean(), 0.4], (30, 1)))
    assert found[:, 2].std() > 0
