import matplotlib
import pytest
from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner, JointAffectEstimator
from persona_affect.datasets import make_affect_faces


@pytest.fixture(autouse=True)
def no_windows():
    """Draw off screen, and leave no figure open."""
    import matplotlib.pyplot as plt

    with matplotlib.rc_context():
        plt.switch_backend("Agg")
        yield
        plt.close("all")


@pytest.fixture(scope="session")
def faces():
    return make_affect_faces(4, random_state=0)


@pytest.fixture(scope="session")
def model(faces):
    estimator = JointAffectEstimator(max_epochs=1, random_state=0)
    return make_pipeline(FaceAligner(), estimator).fit(faces.data, faces.target)
