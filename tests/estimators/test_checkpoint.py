"""A training that is killed and resumed ends in the model of one that never stopped."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from skorch.callbacks import Callback

from persona_affect import JointAffectEstimator, PersonDynamicsEncoder
from persona_affect.estimators import _dynamics_training
from persona_affect.exceptions import ModelFormatError, OutputError, OutputPathError
from persona_affect.networks import Backbone

RNG = np.random.default_rng(0)
FACES = RNG.integers(0, 256, (24, 8, 6, 3), dtype=np.uint8)
EMBEDDINGS = RNG.normal(size=(24, 6))
LABELS = RNG.uniform(size=(24, 7))
LABELS[:12, 5:], LABELS[12:, :5] = np.nan, np.nan


class TinyBackbone(Backbone):
    input_size, n_features = (8, 6), 5

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 5, 3)

    def forward(self, frames):
        x = (frames.permute(0, 3, 1, 2).float() - 127.5) / 64
        return torch.relu(self.conv(x)).mean((2, 3))


def model(**settings):
    settings = {"max_epochs": 6, "batch_size": 6, "random_state": 0, **settings}
    return JointAffectEstimator(TinyBackbone, device="cpu", **settings)


SETTINGS = {
    "augmentation": {},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 3},
    "blocks": {"shuffle": "blocks", "batch_size": 4},
    "sgd, by steps": {"optimizer": "sgd", "schedule": "step", "precision": "bfloat16"},
}


class StopAt(Callback):
    """Fail in the middle of an epoch, or count epochs."""

    def __init__(self, epoch=None):
        self.epoch = epoch

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        if len(net.history) == self.epoch and len(net.history[-1]["batches"]) == 2:
            raise InterruptedError


def assert_same_model(first, second):
    for name, tensor in first.net_.module_.state_dict().items():
        assert torch.equal(tensor, second.net_.module_.state_dict()[name]), name
    pd.testing.assert_frame_equal(
        first.history_.drop(columns="seconds"),
        second.history_.drop(columns="seconds"),
        check_exact=True,
    )


def interrupted(path, epoch, X, y, **settings):
    with pytest.raises(InterruptedError):
        model(checkpoint=path, callbacks=[StopAt(epoch)], **settings).fit(X, y)


@pytest.mark.parametrize("name", SETTINGS)
def test_resumed_twice_equals_uninterrupted(name, tmp_path):
    settings = SETTINGS[name]
    for epoch in (3, 5):
        interrupted(tmp_path / "state", epoch, FACES, LABELS, **settings)
    resumed = model(checkpoint=tmp_path / "state", **settings).fit(FACES, LABELS)
    assert_same_model(resumed, model(**settings).fit(FACES, LABELS))


def test_resumed_on_embeddings(tmp_path):
    settings = {"adapter_rank": 2}
    interrupted(tmp_path / "state", 3, EMBEDDINGS, LABELS, **settings)
    resumed = model(checkpoint=tmp_path / "state", **settings).fit(EMBEDDINGS, LABELS)
    assert_same_model(resumed, model(**settings).fit(EMBEDDINGS, LABELS))


def test_a_finished_training_is_not_repeated(tmp_path):
    path = tmp_path / "state"
    finished = model(checkpoint=path).fit(FACES, LABELS)
    for epoch in range(1, 7):  # whichever epoch began would fail
        again = model(checkpoint=path, callbacks=[StopAt(epoch)]).fit(FACES, LABELS)
        assert_same_model(again, finished)


class Kill(Callback):
    """End the process without a chance to tidy up: while it learns, or writes an epoch's end."""

    def __init__(self, moment, epoch):
        self.moment = moment
        self.epoch = epoch

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        if len(net.history) == self.epoch and len(net.history[-1]["batches"]) == 2:
            if self.moment == "learning":
                self.die()
            Path.write_bytes = lambda draft, content: self.write_half(draft)

    def write_half(self, draft):
        with open(draft, "wb") as file:
            file.write(b"PK" * 100)
            file.flush()
            self.die()

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_killed_while_learning_and_while_writing(tmp_path):
    path = tmp_path / "state"
    for moment, epoch in (("learning", 2), ("writing", 4)):
        child = subprocess.run([sys.executable, __file__, path, moment, str(epoch)])
        assert child.returncode == -signal.SIGKILL
        assert path.exists()
    state = torch.load(path, weights_only=True)
    assert sum("train_loss" in epoch for epoch in state["history"]) >= 3
    resumed = model(checkpoint=path).fit(FACES, LABELS)
    assert_same_model(resumed, model().fit(FACES, LABELS))


class FillDisk(Callback):
    """Let no file grow beyond a few bytes, from an epoch on."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))


def test_a_full_disk_is_named_and_the_next_fit_continues(tmp_path):
    path = tmp_path / "state"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OutputError, match=f"{path} cannot be written"):
            model(checkpoint=path, callbacks=[FillDisk(3)]).fit(FACES, LABELS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == ["state"]
    assert len(torch.load(path, weights_only=True)["history"]) == 2
    resumed = model(checkpoint=path).fit(FACES, LABELS)
    assert_same_model(resumed, model().fit(FACES, LABELS))


def test_a_checkpoint_that_cannot_be_written_is_refused_before_training(tmp_path):
    for path in (tmp_path, tmp_path / "absent" / "state"):
        with pytest.raises(OutputPathError, match=f"{path}"):
            model(checkpoint=path, callbacks=[StopAt(1)]).fit(FACES, LABELS)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """The bytes of a checkpoint after one epoch."""
    path = tmp_path_factory.mktemp("checkpoint") / "state"
    model(checkpoint=path, max_epochs=1).fit(FACES, LABELS)
    return path.read_bytes()


class TestRefusals:
    @pytest.mark.parametrize(
        ("settings", "X", "y"),
        [
            ({"learning_rate": 0.01}, FACES, LABELS),
            ({"random_state": 1}, FACES, LABELS),
            ({}, FACES[::-1], LABELS),
            ({}, FACES, LABELS[::-1]),
            ({}, FACES[1:], LABELS[1:]),
        ],
        ids=["parameters", "seed", "faces", "labels", "samples"],
    )
    def test_another_training(self, state, tmp_path, settings, X, y):
        path = tmp_path / "state"
        path.write_bytes(state)
        with pytest.raises(ValueError, match="of another training"):
            model(**{"checkpoint": path, "max_epochs": 1, **settings}).fit(X, y)
        assert path.read_bytes() == state

    @pytest.mark.parametrize("keep", [0, 10, 1000, -1])
    def test_damaged(self, state, tmp_path, keep):
        path = tmp_path / "state"
        path.write_bytes(state[:keep])
        with pytest.raises(ModelFormatError, match="Remove it to train from the start"):
            model(checkpoint=path, max_epochs=1).fit(FACES, LABELS)

    def test_malicious(self, tmp_path):
        class Payload:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "executed"),)

        torch.save({"fingerprint": Payload()}, tmp_path / "state")
        with pytest.raises(ModelFormatError, match="damaged, or not a checkpoint"):
            model(checkpoint=tmp_path / "state", max_epochs=1).fit(FACES, LABELS)
        assert not (tmp_path / "executed").exists()

    def test_other_files(self, tmp_path):
        torch.save({"weight": torch.zeros(2)}, tmp_path / "state")
        with pytest.raises(ModelFormatError, match="is not a checkpoint"):
            model(checkpoint=tmp_path / "state", max_epochs=1).fit(FACES, LABELS)

    @pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
    def test_no_seed(self, tmp_path, random_state):
        with pytest.raises(ValueError, match="integer random_state"):
            model(checkpoint=tmp_path / "state", random_state=random_state).fit(FACES, LABELS)


if __name__ == "__main__":
    where, when, at_epoch = sys.argv[1:]
    model(checkpoint=where, callbacks=[Kill(when, int(at_epoch))]).fit(FACES, LABELS)


CLIPS = [RNG.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8) for n in (7, 12, 6, 9, 8, 11)]


def dynamics(**settings):
    settings = {"early_stopping": False, "max_epochs": 4, "random_state": 0, **settings}
    return PersonDynamicsEncoder(
        scales=(1, 2), image_size=(16, 16), widths=(8, 8, 8), batch_size=3, device="cpu", **settings
    )


def interrupt_dynamics(monkeypatch, path, epoch, **settings):
    """Start a training of dynamics that is interrupted in its epoch `epoch`, counted from 1."""
    loss, calls = _dynamics_training._batch_loss, []

    def stop(*args):
        calls.append(args)
        if len(calls) == 2 * epoch:
            raise InterruptedError
        return loss(*args)

    with monkeypatch.context() as patch:
        patch.setattr(_dynamics_training, "_batch_loss", stop)
        with pytest.raises(InterruptedError):
            dynamics(checkpoint=path, **settings).fit(CLIPS)


def assert_same_dynamics(first, second):
    assert first.transform(CLIPS).tobytes() == second.transform(CLIPS).tobytes()
    for name, tensor in first.net_.state_dict().items():
        assert torch.equal(tensor, second.net_.state_dict()[name]), name
    for name in {*first.history_.columns} - {"seconds"}:
        assert first.history_[name].tolist() == second.history_[name].tolist()


# With this seed the early stopping ends the training after its third epoch.
@pytest.mark.parametrize(
    "settings",
    [{}, {"early_stopping": True, "validation_fraction": 0.4, "n_iter_no_change": 1}],
    ids=["all epochs", "early stopping"],
)
def test_dynamics_resumed_equal_those_that_were_not_interrupted(tmp_path, monkeypatch, settings):
    path = tmp_path / "state"
    whole = dynamics(**settings).fit(CLIPS)
    interrupt_dynamics(monkeypatch, path, 2, **settings)
    assert_same_dynamics(dynamics(checkpoint=path, **settings).fit(CLIPS), whole)
    # Also when all that was missing is what follows the training.
    monkeypatch.setattr(_dynamics_training, "_batch_loss", None)
    assert_same_dynamics(dynamics(checkpoint=path, **settings).fit(CLIPS), whole)


def test_dynamics_do_not_go_on_from_another_training(tmp_path):
    path = tmp_path / "state"
    dynamics(checkpoint=path, max_epochs=1).fit(CLIPS)
    for clips, settings in (
        (CLIPS[1:], {}),
        (CLIPS, {"margin": 2.0}),
        (CLIPS, {"random_state": 1}),
    ):
        with pytest.raises(ValueError, match="is of another training"):
            dynamics(checkpoint=path, **{"max_epochs": 1, **settings}).fit(clips)
    with pytest.raises(ValueError, match="needs an integer random_state, not None"):
        dynamics(checkpoint=path, random_state=None).fit(CLIPS)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFormatError, match="damaged, or not a checkpoint"):
        dynamics(checkpoint=path, max_epochs=1).fit(CLIPS)
