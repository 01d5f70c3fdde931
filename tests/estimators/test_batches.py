import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback

from persona_affect import JointAffectEstimator
from persona_affect._mapping import map_bytes
from persona_affect.estimators._batches import LabelledClips, MixedBatches, Plan, start_workers
from persona_affect.estimators._clips import centre_frames, random_frames
from persona_affect.exceptions import FaceStoreError
from persona_affect.networks import Backbone


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


@pytest.mark.parametrize("shuffle", ["samples", "blocks"])
@pytest.mark.parametrize("n_workers", [0, 1, 3])
def test_workers_change_nothing(stored_data, n_workers, shuffle):
    stored, in_memory = stored_data
    assert stored.reader.any_mapped
    rngs = [np.random.RandomState(0) for _ in range(2)]
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    with start_workers([stored], n_workers, 8) as ahead:
        assert (ahead is None) == (n_workers == 0)
        for _ in range(2):
            batches = [
                list(data.load(MixedBatches(data, 8, 0.5, rng, shuffle), generator, workers))
                for data, rng, generator, workers in zip(
                    (stored, in_memory), rngs, generators, (ahead, None), strict=True
                )
            ]
            for (frames, labels), (expected, expected_labels) in zip(*batches, strict=True):
                assert torch.equal(frames.frames, expected.frames)
                assert all(torch.equal(labels[name], expected_labels[name]) for name in labels)
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def test_batches_that_are_kept_are_not_overwritten(stored_data):
    stored, in_memory = stored_data
    plans = list(MixedBatches(in_memory, 4, 0.5, np.random.RandomState(0)))
    with start_workers([stored], 1, 4) as ahead:
        kept = [frames.frames for frames, _ in stored.load(plans, ahead=ahead)]
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
    with start_workers([stored], 2, 1) as ahead:
        loaded = iter(stored.load([first] * 4 + [last] + [first] * 20, ahead=ahead))
        for _ in range(4):
            next(loaded)
        with pytest.raises(FaceStoreError, match="shorter"):
            next(loaded)
        # The same workers serve the next epochs, finished or not.
        for _ in range(5):
            unfinished = iter(stored.load([first] * 100, ahead=ahead))
            next(unfinished)
        workers = children()
        assert len(workers) == 2
        # The system kills one, as when memory is full: its batches are read here.
        workers[0].kill()
        for _ in range(10):
            assert next(unfinished)[0].frames.shape == (1, 2)
    assert not children()
    # What is asked for later is read here.
    assert len(list(unfinished)) == 89
    assert len(list(stored.load([first] * 20, ahead=ahead))) == 20


@pytest.mark.parametrize("n_personality", [0, 40])
def test_blocks_come_within_some_batches_and_are_mixed_with_others(n_personality):
    data = make_data([0] * n_personality + [1] * 288)
    batches, again = (
        MixedBatches(data, 16, 0.25, np.random.RandomState(0), "blocks") for _ in range(2)
    )
    epochs = [[plan.samples for plan in batches] for _ in range(2)]
    assert [[plan.samples.tolist() for plan in again] for _ in range(2)] == [
        [samples.tolist() for samples in epoch] for epoch in epochs
    ]
    assert not np.array_equal(np.concatenate(epochs[0]), np.concatenate(epochs[1]))
    anywhere = list(MixedBatches(data, 16, 0.25, np.random.RandomState(0)))
    for epoch in epochs:
        assert [len(samples) for samples in epoch] == [len(plan) for plan in anywhere]
        drawn = np.concatenate(epoch)
        assert sorted(drawn[drawn >= n_personality] - n_personality) == list(range(288))
        assert set(drawn) == set(range(n_personality + 288))
        number = np.zeros(n_personality + 288, int)
        for i, samples in enumerate(epoch):
            number[samples] = i
        number = number[n_personality:]
        # Of most samples, the next one comes within the same eight batches, seldom in the same.
        assert (number[1:] // 8 == number[:-1] // 8).mean() > 0.75
        assert (number[1:] == number[:-1]).mean() < 0.25


class Tiny(Backbone):
    input_size, n_features = (4, 3), 2

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(2))

    def forward(self, frames):
        return frames.float().mean((1, 2))[:, :2] * self.scale / 255


class Watch(Callback):
    """Note the processes of each epoch, and stop the last by an error."""

    def __init__(self, seen, error=None):
        self.seen, self.error = seen, error

    def __deepcopy__(self, memo):
        return self

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        self.seen.append({child.pid for child in multiprocessing.active_children()})
        if self.error is not None and len(net.history) == 2:
            raise self.error


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_workers_stay_for_a_fit_and_end_with_it(tmp_path, error):
    path = tmp_path / "frames"
    rng = np.random.default_rng(0)
    path.write_bytes(rng.integers(0, 256, 40 * 36, np.uint8).tobytes())
    faces = list(map_bytes(path).reshape(40, 1, 4, 3, 3))
    y = rng.uniform(size=(40, 7))
    y[:20, 5:], y[20:, :5] = np.nan, np.nan
    before = {child.pid for child in multiprocessing.active_children()}
    seen = []
    model = JointAffectEstimator(
        Tiny,
        max_epochs=3,
        batch_size=8,
        early_stopping=True,
        validation_fraction=0.3,
        shuffle="blocks",
        n_workers=2,
        device="cpu",
        random_state=0,
    )
    watched = clone(model).set_params(callbacks=[Watch(seen, error)])
    with nullcontext() if error is None else pytest.raises(error):
        watched.fit(faces, y)
    workers = seen[0] - before
    assert len(workers) == 2
    assert all(found - before == workers for found in seen)
    assert not {child.pid for child in multiprocessing.active_children()} & workers
    if error is None:
        expected = model.set_params(n_workers=0).fit([np.array(face) for face in faces], y)
        np.testing.assert_array_equal(watched.predict(faces), expected.predict(faces))
        assert pickle.loads(pickle.dumps(watched)).net_.ahead is None


READING = """
import multiprocessing, sys
import numpy as np
from persona_affect._mapping import FrameReader, map_bytes
from persona_affect._read_ahead import ReadAhead

reader = FrameReader([map_bytes(sys.argv[1]).reshape(-1, 4)])
rows = np.zeros(4, int), np.arange(4)
with ReadAhead([reader], 2, 4) as ahead:
    for i, _ in enumerate(ahead.read(reader, ((None, rows) for _ in range(10**9)))):
        if i == 20:
            print(*(child.pid for child in multiprocessing.active_children()), flush=True)
"""


@pytest.mark.parametrize("by", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_workers_end_with_their_process_however_it_ends(tmp_path, by):
    path = tmp_path / "frames"
    path.write_bytes(bytes(100))
    command = [sys.executable, "-c", READING, str(path)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts background jobs, and so perhaps these tests, with interrupts ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            workers = process.stdout.readline().split()
            assert len(workers) == 2
            # A terminal interrupts the workers too.
            stop = os.killpg if by == "SIGINT" else os.kill
            stop(process.pid, getattr(signal, by))
            # The pipe is also open in the workers: this waits until they have ended.
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == -getattr(signal, by)
    assert errors.count("Traceback") == (by == "SIGINT")
