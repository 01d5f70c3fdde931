"""What labels, weights and missing faces mean to a fit."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from persona_affect.estimators._batches import LabelledClips, MixedBatches
from persona_affect.exceptions import NoFaceWarning
from persona_affect.objectives import masked_half_squared_error

#: float32 sums in another order.
ROUNDING = {"rtol": 1e-4, "atol": 1e-5}
JOINT = pytest.mark.cases("joint", "joint-embeddings")


def masked(y, mask):
    return np.where(mask, y, np.nan)


@st.composite
def label_masks(draw, n_samples=10, n_targets=7):
    """Which labels are observed: any, but some of either kind."""
    mask = draw(arrays(bool, (n_samples, n_targets)))
    mask[0, 0] = mask[1, -1] = True
    return mask


@pytest.mark.filterwarnings("ignore::persona_affect.exceptions.FewLabelsWarning")
@JOINT
@given(mask=label_masks())
@settings(max_examples=6, deadline=None)
def test_any_pattern_of_missing_labels_trains(case, tiny, mask):
    y = masked(np.nan_to_num(case.y, nan=0.1), mask)
    model = case.fit(case.X, y)
    observed = mask.any(axis=0)
    predictions = model.predict(case.X)
    assert np.isfinite(predictions[:, observed]).all()
    assert np.isnan(predictions[:, ~observed]).all()
    np.testing.assert_allclose(model.target_means_[observed], np.nanmean(y[:, observed], axis=0))


@pytest.mark.filterwarnings("ignore::persona_affect.exceptions.FewLabelsWarning")
@JOINT
@given(mask=label_masks(), left_out=arrays(bool, 10))
@settings(max_examples=6, deadline=None)
def test_rows_without_labels_or_weight_are_rows_left_out(case, mask, left_out):
    left_out[:2] = False
    y = masked(np.nan_to_num(case.y, nan=0.1), mask)
    fresh = case.fit(case.X[~left_out], y[~left_out])
    weighted = case.fit().fit(case.X, y, sample_weight=(~left_out).astype(float))
    unlabelled = case.fit(case.X, masked(y, ~left_out[:, None]))
    np.testing.assert_array_equal(weighted.predict(case.X), fresh.predict(case.X))
    np.testing.assert_array_equal(unlabelled.predict(case.X), fresh.predict(case.X))


@pytest.mark.parametrize("on", ["faces", "embeddings"])
@given(weight=arrays(np.int64, 10, elements=st.integers(1, 3)), seed=st.integers(0, 9))
@settings(max_examples=6, deadline=None)
def test_a_weight_of_two_is_the_row_twice(tiny, on, weight, seed):
    """To rounding, where one batch holds all: then nothing but the weights differs."""
    case = tiny.cases["joint" if on == "faces" else "joint-embeddings"]()
    # One kind of label, one frame a sample, nothing random; and no ridge to start at, the strength
    # of which is chosen by leaving one sample out.
    model = tiny.joint(augmentation=None, heads="authors", n_segments=1, adapter_rank=2)
    model.set_params(batch_size=64, random_state=seed)
    y = np.nan_to_num(case.y[:, :5], nan=0.1)
    X = tiny.clips(np.random.default_rng(seed), [1] * 10) if on == "faces" else case.X
    weighted = model.fit(X, y, sample_weight=weight).predict(X)
    repeated = model.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight, axis=0)).predict(X)
    np.testing.assert_allclose(weighted, repeated, **ROUNDING)


def mean_loss(labels, n_batches=200):
    """The regression losses of PersEmoN, averaged over batches that mix both kinds of label."""
    data = LabelledClips([np.zeros((1, 1), np.float32)] * len(labels["error"]), labels, 1)
    batches = MixedBatches(data, 32, 0.5, np.random.RandomState(0))
    losses = []
    while len(losses) < 2 * n_batches:
        for plan in batches:
            _, batch = data[plan]
            for domain in (0, 1):
                observed = (batch["domain"] == domain)[:, None]
                y = torch.where(observed, batch["error"][:, None], torch.nan)
                losses.append(masked_half_squared_error(torch.zeros_like(y), y, batch["weight"]))
    return float(torch.stack(losses).mean())


def test_in_expectation_a_weight_of_two_is_the_row_twice(tiny):
    """In small batches of both kinds, to what normalising by a batch's weight leaves."""
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 4, 24).astype(np.float32)
    labels = {
        "domain": np.repeat([0, 1], 12),
        "error": rng.normal(size=24).astype(np.float32) * weight,
        "weight": weight,
    }
    repeated = {name: np.repeat(v, weight.astype(int)) for name, v in labels.items()}
    expected = mean_loss({**repeated, "weight": np.ones_like(repeated["error"])})
    unweighted = mean_loss({**labels, "weight": np.ones_like(weight)})
    assert abs(mean_loss(labels) - expected) < 0.2 * abs(unweighted - expected)


def without_a_face(case, at):
    X = case.X.copy()
    for i in at:
        if X.dtype == object:
            X[i] = X[i][:0]
        else:
            X[i] = np.nan
    return X


@pytest.mark.cases("joint", "joint-embeddings", "embedder", "pipeline")
@given(at=st.sets(st.integers(0, 9), min_size=1))
@settings(max_examples=10, deadline=None)
def test_a_sample_without_a_face_is_a_nan_row_and_one_warning(case, at):
    fitted = case.fit()
    expected = np.array(case.run(fitted))
    with pytest.warns(NoFaceWarning) as caught:
        found = np.array(case.run(fitted, without_a_face(case, at)))
    messages = [str(w.message) for w in caught]
    assert len([m for m in messages if "predicted as missing" in m]) == 1
    assert all(str(i) in messages[0] for i in at)
    assert np.isnan(found).all(axis=1).nonzero()[0].tolist() == sorted(at)
    kept = sorted(set(range(10)) - at)
    np.testing.assert_allclose(found[kept], expected[kept], **ROUNDING)


@JOINT
@given(at=st.sets(st.sampled_from([1, 2, 3, 6, 8]), min_size=1))
@settings(max_examples=10, deadline=None)
def test_training_leaves_out_samples_without_a_face(case, at):
    kept = np.array(sorted(set(range(10)) - at))
    with pytest.warns(NoFaceWarning, match="left out of the training"):
        model = case.fit(without_a_face(case, at), case.y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = case.fit(case.X[kept], case.y[kept])
    np.testing.assert_array_equal(model.predict(case.X[kept]), expected.predict(case.X[kept]))
