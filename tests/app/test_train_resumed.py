"""`train` after an interruption: the same command goes on, and ends in the same model."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from persona_affect import load_model
from persona_affect._files import open_locked
from persona_affect.app.cli import app
from persona_affect.datasets import write_miniature
from persona_affect.estimators import JointAffectEstimator
from persona_affect.estimators._checkpoint import Checkpoint
from persona_affect.estimators._training import AffectNet

QUICK = ["--backbone", "sphereface4", "--batch-size", "8", "--segments", "1", "--device", "cpu"]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def omi(tmp_path_factory):
    root = tmp_path_factory.mktemp("omi")
    write_miniature("omi", root / "set", n_clips=8)
    return root / "set"


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return tmp_path_factory.mktemp("faces")


@pytest.fixture(scope="module")
def command(omi, faces):
    return ["train", omi, "--cache", faces, "--epochs", "3", *QUICK]


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """The file of an uninterrupted training."""
    output = tmp_path_factory.mktemp("whole") / "model.safetensors"
    result = run(*command, "--output", output)
    assert result.exit_code == 0, result.output
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    return learnt(output)


def learnt(output):
    """All that a training learns: every tensor, and the losses of every epoch."""
    with safe_open(output, "np") as file:
        names = {*file.keys()} - {"1.history.seconds"}
        tensors = {name: file.get_tensor(name).tobytes() for name in names}
    return tensors, load_model(output)[-1].history_["train_loss"].tolist()


@pytest.fixture
def interrupted(command, tmp_path, monkeypatch):
    """A folder with a training that was interrupted after its second epoch."""
    get_loss = AffectNet.get_loss

    def stop(net, *args, **kwargs):
        if len(net.history) == 3:
            raise KeyboardInterrupt
        return get_loss(net, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(AffectNet, "get_loss", stop)
        result = run(*command, "--output", tmp_path / "model.safetensors")
    assert result.exit_code == 130
    return tmp_path


def test_the_same_command_goes_on_to_the_same_model(command, interrupted, whole, monkeypatch):
    output = interrupted / "model.safetensors"
    epochs = []
    write = Checkpoint.on_epoch_end
    monkeypatch.setattr(
        Checkpoint,
        "on_epoch_end",
        lambda self, net, **kw: (epochs.append(len(net.history)), write(self, net, **kw)),
    )
    result = run(*command, "--output", output)
    assert result.exit_code == 0, result.output
    assert epochs == [3]
    assert learnt(output) == whole
    assert [path.name for path in interrupted.iterdir()] == [output.name]
    again = run(*command, "--output", output)
    assert again.exit_code == 0
    assert "is finished" in again.output
    assert epochs == [3]


def test_fresh_starts_again(command, interrupted, whole):
    output = interrupted / "model.safetensors"
    other = [*command[:-1], "cpu", "--seed", "1", "--output", output]
    refused = run(*other)
    assert refused.exit_code == 2
    assert "unfinished training with other data or options" in refused.output
    assert (interrupted / "model.safetensors.checkpoint").exists()
    result = run(*other, "--fresh")
    assert result.exit_code == 0, result.output
    assert learnt(output) != whole
    result = run(*command, "--output", output, "--fresh")
    assert result.exit_code == 0, result.output
    assert learnt(output) == whole


def test_two_runs_cannot_have_one_output(command, tmp_path):
    output = tmp_path / "model.safetensors"
    with open_locked(Path(f"{output}.run")):
        result = run(*command, "--output", output)
    assert result.exit_code == 1
    assert "in use by another run" in result.output


def test_a_full_disk_keeps_the_epochs_before(command, interrupted, whole, monkeypatch):
    output = interrupted / "model.safetensors"
    write = Path.write_bytes

    def fail(path, content):
        if "checkpoint" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        result = run(*command, "--output", output)
    assert result.exit_code == 1
    assert "No space left" in result.output
    result = run(*command, "--output", output)
    assert result.exit_code == 0, result.output
    assert learnt(output) == whole


@pytest.mark.slow
def test_a_killed_training_goes_on(command, tmp_path, whole):
    output = tmp_path / "model.safetensors"
    shell = [sys.executable, "-m", "persona_affect"]
    arguments = [str(argument) for argument in [*command, "--output", output]]
    process = subprocess.Popen([*shell, *arguments], stderr=subprocess.DEVNULL)
    while not Path(f"{output}.checkpoint").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run([*shell, *arguments], check=True, stderr=subprocess.DEVNULL)
    assert learnt(output) == whole


@pytest.mark.slow
def test_two_processes_train_one_model(command, tmp_path, whole):
    output = tmp_path / "model.safetensors"
    arguments = [a for a in map(str, command) if a not in ("--cache", str(command[3]))]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    result = subprocess.run(
        [*torchrun, "-m", "persona_affect", *arguments, "--output", str(output)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("samples are for training") == 1
    # The rates of the last steps are tiny, so that rounding does not grow.
    np.testing.assert_allclose(learnt(output)[1], whole[1], rtol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


@pytest.mark.slow
def test_the_protocol_skips_what_is_done(tmp_path, monkeypatch):
    write_miniature("first-impressions", tmp_path / "personality", n_clips=15, n_frames=3)
    write_miniature("afew-va", tmp_path / "emotion", n_clips=12, n_frames=3)
    command = ["train", "--protocol", "persemon", "--personality", tmp_path / "personality"]
    command += ["--emotion", tmp_path / "emotion", "--output", tmp_path / "out", "--epochs", "1"]
    command += [*QUICK, "--resamples", "100", "--cache", tmp_path / "faces"]
    command += ["--ablation", "single-task"]
    fits = []
    fit = JointAffectEstimator.fit

    def count(self, *args, **kwargs):
        if len(fits) == 1 and not getattr(count, "stopped", False):
            count.stopped = True
            raise KeyboardInterrupt
        fits.append(self.personality)
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(JointAffectEstimator, "fit", count)
    assert run(*command).exit_code == 130
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert len(fits) == 2
    assert run(*command).exit_code == 0
    assert len(fits) == 2
