"""Faces in workers of every kind, in forked children, and under interrupts."""

import subprocess
import sys

import joblib
import numpy as np
import pytest

from persona_affect import FaceAligner


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing", "sequential"])
def test_every_backend_of_joblib(backend, drawn_faces):
    expected = FaceAligner().transform(drawn_faces[:4])
    with joblib.parallel_config(backend):
        aligner = FaceAligner(n_jobs=None if backend == "sequential" else 2, batch_size=2)
        faces = aligner.transform(drawn_faces[:4])
        found = aligner.detect(drawn_faces[:4])
    assert [len(detections) for detections in found] == [1, 1, 1, 1]
    for face, other in zip(faces, expected, strict=True):
        np.testing.assert_allclose(face.astype(int), other.astype(int), atol=1)


FORK = """
import os, sys, time
import numpy as np
from persona_affect import load_model
from persona_affect.datasets import make_affect_faces

photos = make_affect_faces(1, random_state=0).data
model = load_model()

def predict_in_a_child():
    child = os.fork()
    if child == 0:
        os._exit(0 if np.isfinite(model.predict(photos)).all() else 1)
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    os.kill(child, 9)
    sys.exit("the child never answered")

assert predict_in_a_child() == 0
model.predict(photos)
assert predict_in_a_child() == 0
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_children_predict_before_and_after_the_parent_did():
    run = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_children_predict_with_a_compiled_model():
    pytest.importorskip("openvino")
    compiled = "from persona_affect import engines\nmodel = engines.compile(model, 'openvino')"
    code = FORK.replace("model = load_model()", "model = load_model()\n" + compiled)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


INTERRUPTS = """
import faulthandler, signal
import numpy as np, torch
from persona_affect import FaceAligner
from persona_affect.datasets import make_affect_faces

def interrupt(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
torch.set_num_threads(2)
photos = make_affect_faces(1, random_state=0).data
expected = FaceAligner().transform(photos)
delays = np.random.default_rng(0).uniform(1e-4, 0.1, 20)
for delay in delays:
    faulthandler.dump_traceback_later(60, exit=True)
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        while True:
            FaceAligner().transform(photos)
    except KeyboardInterrupt:
        pass
for face, other in zip(FaceAligner().transform(photos), expected, strict=True):
    np.testing.assert_array_equal(face, other)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no interval timers")
def test_interrupts_at_any_moment_neither_hang_nor_damage():
    # benchmarks/attacks/interrupts.py makes as many as asked for.
    run = subprocess.run([sys.executable, "-c", INTERRUPTS], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
