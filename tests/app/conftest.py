import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner, JointAffectEstimator, save_model
from persona_affect.datasets import make_affect_clips, make_affect_faces
from persona_affect.media import VideoWriter

#: Options with which the page's numbers are those of the model's own pipeline.
EXACT = ("--detector", "mtcnn", "--engine", "torch", "--mirror")


@pytest.fixture(scope="session")
def model():
    faces = make_affect_faces(4, random_state=0)
    estimator = JointAffectEstimator(max_epochs=1, random_state=0)
    return make_pipeline(FaceAligner(), estimator).fit(faces.data, faces.target)


@pytest.fixture(scope="session")
def frames():
    """A rendered person who moves: (12, 240, 320, 3)."""
    clip = make_affect_clips(1, n_frames=12, halves="personality", image_size=240, random_state=3)
    return [_widened(frame) for frame in clip.data[0]]


@pytest.fixture(scope="session")
def clip_file(frames, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, rate=25, size=(320, 240)) as video:
        for frame in frames:
            video.write(frame)
    return path


@pytest.fixture(scope="session")
def served(model, tmp_path_factory):
    """The command `serve` as people run it: the page's address, and the folder of its uploads."""
    pytest.importorskip("gradio", reason="needs the extra app")
    home = tmp_path_factory.mktemp("home")
    file = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(model, file)
    command = [sys.executable, "-c", "from persona_affect.app.cli import main; main()", "serve"]
    settings = ["--model", file, "--max-upload", "1", "--max-seconds", "2", *EXACT]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, *map(str, settings)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | {"TMPDIR": str(home)},
        )
    with server:
        words = server.stdout.readline().split()
        assert words[:2] == ["Serving", "on"], (home / "log").read_text()
        yield SimpleNamespace(url=words[2], home=home)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    # With the server goes all that was uploaded.
    assert [path for path in home.rglob("*") if path.is_file()] == [home / "log"]


def _widened(frame):
    return np.pad(frame, ((0, 0), (40, 40), (0, 0)), constant_values=120)
