"""Filters of a person that reach over time."""

import numpy as np
import pytest
import torch

from persona_affect import PersonDynamicsEncoder, load_model, save_model
from persona_affect.datasets import make_dynamic_clips
from persona_affect.estimators import _dynamics_adaptation, _dynamics_regions
from persona_affect.estimators._dynamics_samples import prepare_clip
from persona_affect.estimators._dynamics_windows import choose_centres, stack_windows
from persona_affect.faces import FaceClip
from persona_affect.objectives import rank_loss, window_scores

pytestmark = pytest.mark.usefixtures("one_thread")
LAGS = (-4, 0, 3)


@pytest.fixture(scope="module")
def clips():
    return make_dynamic_clips(4, 1, n_frames=30, image_size=64, random_state=0).data


@pytest.fixture(scope="module")
def encoder(clips):
    return _encoder().fit(clips)


def _encoder(**changes):
    settings = {"scales": (1, 3), "max_epochs": 1, "early_stopping": False, "filter_lags": LAGS}
    return PersonDynamicsEncoder(**settings | {"device": "cpu", "random_state": 0} | changes)


def assert_close(found, expected):
    """Equal up to rounding, which the whitening enlarges."""
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("spacing", [1, "scale"])
def test_a_filter_of_a_lag_reads_the_features_so_many_frames_later(clips, spacing):
    """Against filters as matrices, inserted into one pass over the windows of a clip."""
    plain = _encoder(spacing=spacing, whiten=False).fit(clips)
    descriptor = dict(
        zip(plain.get_feature_names_out(), plain.transform(clips[:1])[0], strict=True)
    )
    net, level, k = plain.net_, "encoder3", 1
    frames = prepare_clip(clips[0], (28, 24))
    centres = choose_centres(len(frames), net.margin, None)
    filters = {lag: torch.zeros(32, 32, requires_grad=True) for lag in LAGS}

    def insert(at, x):
        if at != level:
            return x
        rest, n = x - x.mean(0), len(x)
        out = x
        for lag, weights in filters.items():
            later = torch.zeros_like(x)
            later[max(-lag, 0) : n - max(lag, 0)] = rest[max(lag, 0) : n - max(-lag, 0)]
            out = out + torch.einsum("oc,nchw->nohw", weights, later)
        return out

    maps = net(stack_windows(net, [frames], [centres], net.spacings[k]), insert)[:, k]
    deviation = frames.square().mean().sqrt()
    scores = window_scores(maps[None], frames[None], centres[None], 3, deviation)[0]
    rank_loss(scores, 10.0).mean().backward()
    for lag, weights in filters.items():
        expected = -weights.grad.numpy()
        ending = f"_lag{lag}" if lag else ""
        found = [
            [descriptor[f"scale3_{level}_out{o}_in{i}{ending}"] for i in range(32)]
            for o in range(32)
        ]
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_the_filters_without_lag_are_those_of_the_default(encoder, clips):
    default = _encoder(filter_lags=(0,)).fit(clips)
    np.testing.assert_array_equal(
        encoder.transform(clips).reshape(4, 3, -1)[:, 1], default.transform(clips)
    )
    names = encoder.get_feature_names_out().reshape(3, -1)
    np.testing.assert_array_equal(names[1], default.get_feature_names_out())
    np.testing.assert_array_equal(names[0], names[1] + "_lag-4")


def test_windows_in_groups_are_paired_as_together(encoder, clips, monkeypatch):
    persons = [[clips[0][:20], clips[1]], clips[2]]
    descriptors = encoder.transform(persons)
    maps = encoder.map_difference(persons[0], clips[2:])
    unit = encoder.transform(clips[2:])
    mean, deviation = unit.mean(0), unit.std(0)
    terms = ((descriptors[0] - mean) / np.maximum(deviation, deviation.mean())) ** 2
    np.testing.assert_allclose(maps.sum(), terms.sum(), rtol=1e-3)
    for module in (_dynamics_adaptation, _dynamics_regions):
        monkeypatch.setattr(module, "WINDOWS_AT_ONCE", 5)
    assert_close(encoder.transform(persons), descriptors)
    again = encoder.map_difference(persons[0], clips[2:])
    np.testing.assert_allclose(again, maps, atol=1e-3 * np.abs(maps).max())


def test_windows_are_not_paired_across_gaps_and_clips(encoder, clips):
    """Pieces as long as one window have no pairs."""
    short = encoder.transform([FaceClip(clips[0][:21], (0, 7, 14))])[0].reshape(3, -1)
    assert not short[[0, 2]].any()
    # The pieces are three windows that follow each other without the gaps.
    whole = encoder.transform([clips[0][:21]])[0].reshape(3, -1)
    assert whole[[0, 2]].all(axis=1).any()


def test_streams_and_merged_sessions_are_as_clips(encoder, clips):
    pieces = [clips[0][:16], clips[0][16:], clips[1]]
    expected = encoder.transform([pieces])[0]
    session = encoder.session(piece=16)
    for frame in clips[0]:
        session.add(frame[None])
    other = encoder.session(piece=30).add(clips[1])
    with pytest.raises(ValueError, match="same fitted encoder"):
        session.merge(other)
    assert_close(session.end_piece().add(clips[1][:16]).describe(), _described(encoder, clips))
    first, second = (encoder.session(piece=30) for _ in range(2))
    first.add(pieces[0]).end_piece().add(pieces[1])
    assert_close(first.merge(second.add(pieces[2])).describe(), expected)
    assert encoder.session().describe().shape == expected.shape


def _described(encoder, clips):
    return encoder.transform([[clips[0][:16], clips[0][16:], clips[1][:16]]])[0]


def test_it_is_saved_and_loaded(encoder, clips, tmp_path):
    save_model(encoder, tmp_path / "a.safetensors")
    loaded = load_model(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(loaded.transform(clips[:1]), encoder.transform(clips[:1]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"filter_lags": ()},
        {"filter_lags": (1, 1)},
        {"filter_lags": (0.5,)},
        {"filter_lags": (0, 4), "n_windows": 6},
        {"filter_lags": (4,), "n_steps": 2},
    ],
)
def test_what_does_not_fit_is_named(encoder, clips, wrong):
    with pytest.raises(ValueError, match="filter_lags"):
        _encoder(**wrong).fit(clips)
    kept = {name: getattr(encoder, name) for name in wrong}
    try:
        with pytest.raises(ValueError, match="filter_lags"):
            encoder.set_params(**wrong).transform(clips[:1])
    finally:
        encoder.set_params(**kept)
