"""Small models on faces of 16 x 16 pixels."""

import numpy as np
import pytest
import torch
from sklearn.pipeline import FeatureUnion, make_pipeline
from torch import nn

from persona_affect import FaceEmbedder, JointAffectEstimator, KernelFeatures
from persona_affect.networks import Backbone


class Small(Backbone):
    """A convolution, and the means of its maps."""

    input_size, n_features = (16, 16), 6

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Conv2d(3, 6, 3, stride=2)

    def forward(self, frames):
        """Embed (n, 16, 16, 3) frames as (n, 6)."""
        pixels = frames.permute(0, 3, 1, 2).float() / 255
        maps = torch.relu(self.layer(pixels))
        # Not the same for a face and its mirror image.
        return (maps * torch.linspace(0, 1, maps.shape[3])).mean((2, 3))


def first():
    return Small(0)


def second():
    return Small(1)


@pytest.fixture(scope="session")
def clips():
    """Clips of 1 to 4 frames; the last has none."""
    rng = np.random.default_rng(0)
    lengths = [1, 4, 2, 1, 3, 1, 1, 1, 0]
    clips = np.empty(len(lengths), dtype=object)
    clips[:] = [rng.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8) for n in lengths]
    return clips


@pytest.fixture(scope="session")
def labels(clips):
    rng = np.random.default_rng(1)
    return rng.uniform(size=(len(clips), 3))


def make_model():
    """A model like the bundled one: embeddings, a kernel beside some of them, linear heads."""
    return make_pipeline(
        FeatureUnion(
            [
                ("one", FaceEmbedder(first, weights=None)),
                (
                    "two",
                    make_pipeline(
                        FaceEmbedder(second, weights=None), KernelFeatures(5, random_state=0)
                    ),
                ),
            ],
            transformer_weights={"two": 3.0},
        ),
        JointAffectEstimator(personality=["a", "b"], emotion=["c"], max_epochs=1, random_state=0),
    )


@pytest.fixture(scope="session")
def model(clips, labels):
    return make_model().fit(clips[:-1], labels[:-1])


@pytest.fixture(scope="session")
def joint(clips, labels):
    """A network that is trained on faces."""
    estimator = JointAffectEstimator(
        first, personality=["a", "b"], emotion=["c"], max_epochs=1, random_state=0
    )
    return estimator.fit(clips[:-1], labels[:-1])
