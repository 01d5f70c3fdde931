"""Training in several processes against one, started as users start them."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

FIT = """
import sys, json
import numpy as np
from persona_affect import JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.distributed import join_processes

rank = join_processes()
faces = make_affect_faces(18, aligned=True, random_state=0)
y = faces.target.to_numpy().copy()
y[:9, 5:] = np.nan
y[9:, :5] = np.nan
options = json.loads(sys.argv[2])
if options.pop("differ", False):
    y[0, 0] += rank
if options.pop("die", False):
    from skorch.callbacks import Callback

    class Die(Callback):
        def on_epoch_end(self, net, **kwargs):
            if rank == 1 and len(net.history) == 2:
                raise RuntimeError("the disk of rank 1 is gone")

    options["callbacks"] = [Die]
model = JointAffectEstimator(
    small_backbone, max_epochs=3, batch_size=8, lambda_coh=0.5, n_segments=1, mirror=False,
    device="cpu", **{"random_state": 0, **options},
)
model.fit(faces.data, y)
values = {"prediction": model.predict(faces.data).tolist()}
values["loss"] = model.history_.train_loss.tolist()
open(f"{sys.argv[1]}.{rank}", "w").write(json.dumps(values))
"""
DYNAMICS = """
import sys, json
import numpy as np
from persona_affect import PersonDynamicsEncoder
from persona_affect.distributed import join_processes

rank = join_processes()
rng = np.random.RandomState(0)
# Clips of several lengths, so that some have fewer windows.
clips = [rng.randint(0, 256, (n, 16, 16, 3)).astype(np.uint8) for n in (7, 12, 6, 14, 9, 8, 11)]
options = json.loads(sys.argv[2])
if options.pop("differ", False):
    clips[0] = clips[0] // (1 + rank)
if options.pop("die", False):
    from persona_affect.estimators import _dynamics_training as training

    average, calls = training.average_gradients, []

    def die(parameters):
        calls.append(parameters)
        if rank == 1 and len(calls) == 5:
            raise RuntimeError("the disk of rank 1 is gone")
        average(parameters)

    training.average_gradients = die
model = PersonDynamicsEncoder(
    scales=(1, 2), image_size=(16, 16), widths=(8, 8, 8), max_epochs=3, batch_size=3,
    windows_per_clip=6, device="cpu", **{"random_state": 0, "early_stopping": False, **options},
)
samples = np.empty(len(clips), dtype=object)
samples[:] = clips
values = {"prediction": model.fit(samples).transform(samples).tolist()}
values["loss"] = model.history_.train_loss.tolist()
open(f"{sys.argv[1]}.{rank}", "w").write(json.dumps(values))
"""
BACKBONE = """
import torch
from torch import nn
from persona_affect.networks import Backbone

class Small(Backbone):
    n_features = 6
    input_size = (112, 96)

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 7, 8), nn.PReLU(), nn.Flatten(), nn.Linear(4 * 14 * 12, 6)
        )

    def forward(self, frames):
        return self.layers(frames.permute(0, 3, 1, 2).float() / 128 - 1)

def small_backbone():
    return Small()
"""


def run(tmp_path, n, timeout=120, code=None, **options):
    """Fit under `n` processes, and return the exit status, what was printed, and the results."""
    script = tmp_path / "fit.py"
    script.write_text(code or BACKBONE + FIT)
    out = tmp_path / f"result_{n}"
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
    done = subprocess.run(
        [sys.executable, *(torchrun if n > 1 else []), str(script), str(out), json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    results = [json.loads(path.read_text()) for path in sorted(tmp_path.glob(f"result_{n}.*"))]
    assert n > 1 or done.returncode == 0, done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr, results


@pytest.mark.slow
@pytest.mark.parametrize("n_ranks", [2, 3])
def test_the_model_is_that_of_one_process(tmp_path, n_ranks):
    status, printed, (alone,) = run(tmp_path, 1)
    assert status == 0, printed
    status, printed, together = run(tmp_path, n_ranks)
    assert status == 0, printed
    assert len(together) == n_ranks
    for found in together:
        np.testing.assert_allclose(found["prediction"], alone["prediction"], atol=1e-5)
        np.testing.assert_allclose(found["loss"], alone["loss"], rtol=1e-5)
        assert found == together[0]
    spread = np.std(alone["prediction"], axis=0)
    assert (spread > 1e-3).all()


@pytest.mark.slow
def test_early_stopping_and_no_seed_are_the_same_on_every_rank(tmp_path):
    options = {"early_stopping": True, "validation_fraction": 0.3, "random_state": None}
    status, printed, together = run(tmp_path, 2, **options)
    assert status == 0, printed
    assert together[0] == together[1]


@pytest.mark.slow
def test_other_labels_on_one_rank_are_an_error(tmp_path):
    status, printed, together = run(tmp_path, 2, differ=True)
    assert status != 0
    assert not together
    assert "ValueError: Samples and labels differ between the processes" in printed


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_others_and_the_next_start_resumes(tmp_path):
    _, _, (alone,) = run(tmp_path, 1)
    checkpoint = str(tmp_path / "state")
    status, printed, together = run(tmp_path, 2, die=True, checkpoint=checkpoint)
    assert status != 0
    assert not together
    assert "the disk of rank 1 is gone" in printed
    status, printed, together = run(tmp_path, 2, checkpoint=checkpoint)
    assert status == 0, printed
    np.testing.assert_allclose(together[0]["prediction"], alone["prediction"], atol=1e-5)


@pytest.mark.slow
def test_the_generic_network_of_dynamics_is_that_of_one_process(tmp_path):
    # The last batch has one clip: one of the ranks has none.
    _, _, (alone,) = run(tmp_path, 1, code=DYNAMICS)
    status, printed, together = run(tmp_path, 2, code=DYNAMICS)
    assert status == 0, printed
    assert together[0] == together[1]
    np.testing.assert_allclose(together[0]["loss"], alone["loss"], rtol=1e-5)
    # Not the weights: biases before a normalisation of single channels have no effect and no
    # gradient but rounding, which AdamW makes as large as any.
    # Descriptors are whitened, which makes small differences of the weights larger.
    largest = np.abs(alone["prediction"]).max()
    np.testing.assert_allclose(together[0]["prediction"], alone["prediction"], atol=1e-4 * largest)
    assert alone["loss"][0] != alone["loss"][-1]


@pytest.mark.slow
def test_dynamics_resume_after_a_rank_died(tmp_path):
    _, _, whole = run(tmp_path, 2, code=DYNAMICS)
    (tmp_path / "result_2.0").unlink()
    (tmp_path / "result_2.1").unlink()
    checkpoint = str(tmp_path / "state")
    status, printed, together = run(tmp_path, 2, code=DYNAMICS, die=True, checkpoint=checkpoint)
    assert status != 0
    assert not together
    assert "the disk of rank 1 is gone" in printed
    assert (tmp_path / "state").exists()
    status, printed, together = run(tmp_path, 2, code=DYNAMICS, checkpoint=checkpoint)
    assert status == 0, printed
    assert together == whole


@pytest.mark.slow
def test_dynamics_stop_early_together_and_refuse_other_clips(tmp_path):
    options = {"early_stopping": True, "validation_fraction": 0.3, "random_state": None}
    status, printed, together = run(tmp_path, 2, code=DYNAMICS, **options)
    assert status == 0, printed
    assert together[0] == together[1]
    status, printed, _ = run(tmp_path, 2, code=DYNAMICS, differ=True)
    assert status != 0
    assert "ValueError: Clips differ between the processes" in printed
