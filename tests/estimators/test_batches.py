import multiprocessing
import os

import numpy as np
import pytest
import torch

from persona_affect._mapping import map_bytes
from persona_affect.estimators._batches import LabelledClips, MixedBatches, Plan
from persona_affect.estimators._clips import centre_frames, random_frames
from persona_affect.exceptions import FaceStoreError


def make_data(domain, n_frames=9, n_segments=3):
    domain = np.asarray(domain)
    clips = [np.full((n_frames, 2), i, dtype=np.float32) for i in range(len(domain))]
    labels = {
        "personality": np.zeros((len(domain), 1), np.float32),
        "domain": domain.astype(np.int64),
    }
    return LabelledClips(clips, labels, n_segments)


@pytest.mark.parametrize(("n_personality", "n_emotion"), [(10, 100), (100, 10), (40, 40), (3, 50)])
@pytest.mark.parametrize("fraction", [0.5, 0.25])
def test_batches_mix_domains_by_the_ratio_whatever_their_sizes(n_personality, n_emotion, fraction):
    data = make_data([0] * n_personality + [1] * n_emotion)
    batches = MixedBatches(data, 16, fraction, np.random.RandomState(0))
    plans = list(batches)
    assert len(plans) == len(batches)
    seen = []
    for plan in plans:
        samples = plan.samples
        assert (samples < n_personality).sum() == 16 * fraction
        assert len(samples) == 16
        seen += list(samples)
    assert set(seen) == set(range(n_personality + n_emotion))


def test_samples_of_both_kinds_are_dealt_with_the_personality_set():
    data = make_data([-1] * 8 + [1] * 8)
    plan = next(iter(MixedBatches(data, 8, 0.5, np.random.RandomState(0))))
    assert sum(i < 8 for i in plan.samples) == 4


@pytest.mark.parametrize("domain", [0, 1, -1])
def test_one_domain_is_dealt_once_an_epoch_in_even_batches(domain):
    data = make_data([domain] * 33)
    plans = list(MixedBatches(data, 16, 0.5, np.random.RandomState(0)))
    assert sorted(i for plan in plans for i in plan.samples) == list(range(33))
    assert {len(plan) for plan in plans} == {11}


def test_epochs_differ_and_seeds_repeat():
    data = make_data([0] * 20 + [1] * 20)
    first, again = (MixedBatches(data, 8, 0.5, np.random.RandomState(3)) for _ in range(2))
    epochs = [[i for plan in first for i in plan.samples] for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert [[i for plan in again for i in plan.samples] for _ in range(2)] == epochs


def test_a_batch_holds_the_frames_and_labels_that_were_planned():
    data = make_data([0, 1, 0])
    frames, labels = data[Plan.of([(2, np.array([0, 4])), (1, np.array([8]))])]
    assert frames.frames[:, 0].tolist() == [2, 2, 1]
    assert len(frames) == 3
    assert labels["clip"].tolist() == [0, 0, 1]
    assert labels["domain"].tolist() == [0, 1]


def test_prediction_loads_each_sample_once_in_order():
    data = make_data([0, 1, 0, 1, 0])
    loaded = [batch.frames[:, 0].tolist() for batch, _ in data.centres(2)]
    assert loaded == [[0, 0, 0, 1, 1, 1], [2, 2, 2, 3, 3, 3], [4, 4, 4]]


def test_random_frames_draw_one_from_each_segment():
    rng = np.random.RandomState(0)
    counts, frames = random_frames(np.full(500, 10), 3, rng)
    assert (counts == 3).all()
    draws = frames.reshape(500, 3)
    edges = np.arange(4) * 10 / 3
    for segment in range(3):
        drawn = draws[:, segment]
        assert (drawn >= np.floor(edges[segment])).all()
        assert (drawn < edges[segment + 1]).all()
        assert len(np.unique(drawn)) >= 3


@pytest.mark.parametrize(
    ("n_frames", "n_segments", "expected"),
    [(9, 3, [1, 4, 7]), (1, 3, [0]), (2, 3, [0, 1]), (0, 3, []), (75, 1, [37])],
)
def test_centre_frames(n_frames, n_segments, expected):
    assert centre_frames(n_frames, n_segments).tolist() == expected


@pytest.fixture
def stored_data(tmp_path):
    data = make_data([0, 1] * 20)
    path = tmp_path / "frames"
    path.write_bytes(np.stack(data.clips).tobytes())
    mapped = map_bytes(path).view(np.float32).reshape(-1, 9, 2)
    return LabelledClips(list(mapped), data.labels, data.n_segments), data


@pytest.mark.parametrize("n_workers", [0, 1, 3])
def test_workers_change_nothing(stored_data, n_workers):
    stored, in_memory = stored_data
    assert stored.reader.any_mapped
    rngs = [np.random.RandomState(0) for _ in range(2)]
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    for _ in range(2):
        batches = [
            list(data.load(MixedBatches(data, 8, 0.5, rng), generator, n_workers))
            for data, rng, generator in zip((stored, in_memory), rngs, generators, strict=True)
        ]
        for (frames, labels), (expected, expected_labels) in zip(*batches, strict=True):
            assert torch.equal(frames.frames, expected.frames)
            assert all(torch.equal(labels[name], expected_labels[name]) for name in labels)
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def test_batches_that_are_kept_are_not_overwritten(stored_data):
    stored, in_memory = stored_data
    plans = list(MixedBatches(in_memory, 4, 0.5, np.random.RandomState(0)))
    kept = [frames.frames for frames, _ in stored.load(plans, n_workers=1)]
    for frames, plan in zip(kept, plans, strict=True):
        assert torch.equal(frames, in_memory[plan][0].frames)


def test_an_error_of_a_worker_is_raised_here_and_no_worker_stays(stored_data, tmp_path):
    def children():
        # Other tests may have left joblib's processes, which end by themselves later.
        return [child for child in multiprocessing.active_children() if child not in before]

    before = multiprocessing.active_children()
    stored, _ = stored_data
    first, last = Plan.of([(0, np.array([0]))]), Plan.of([(39, np.array([8]))])
    os.truncate(tmp_path / "frames", 1000)
    loaded = iter(stored.load([first] * 4 + [last] + [first] * 20, n_workers=2))
    for _ in range(4):
        next(loaded)
    with pytest.raises(FaceStoreError, match="shorter"):
        next(loaded)
    # An epoch that is not finished ends its workers too.
    unfinished = iter(stored.load([first] * 20, n_workers=2))
    next(unfinished)
    workers = children()
    assert len(workers) == 2
    # The system kills one, as when memory is full: its batches are read here.
    workers[0].kill()
    for _ in range(10):
        assert next(unfinished)[0].frames.shape == (1, 2)
    del unfinished
    assert not children()
