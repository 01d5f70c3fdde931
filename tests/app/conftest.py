import pytest
from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner, JointAffectEstimator
from persona_affect.datasets import make_affect_clips, make_affect_faces
from persona_affect.media import VideoWriter


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


def _widened(frame):
    import numpy as np

    return np.pad(frame, ((0, 0), (40, 40), (0, 0)), constant_values=120)
