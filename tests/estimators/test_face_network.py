import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from persona_affect import (
    FaceAligner,
    FaceEmbedder,
    JointAffectEstimator,
    KernelFeatures,
    load_model,
)
from persona_affect.estimators import make_face_network
from persona_affect.networks import Backbone


class Tiny(Backbone):
    input_size = (8, 6)
    n_features = 5

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)

    def forward(self, frames):
        return torch.relu(self.conv((frames.permute(0, 3, 1, 2).float() - 127.5) / 64)).mean((2, 3))


RNG = np.random.default_rng(0)
FACES = RNG.integers(0, 256, (12, 8, 6, 3), dtype=np.uint8)
# Units of each target, and an order of columns that is not that of the network.
Y = np.column_stack([RNG.uniform(0, 100, (12, 2)), RNG.uniform(-1, 1, 12), RNG.uniform(5, 6, 12)])


def joint(**settings):
    return JointAffectEstimator(
        Tiny, max_epochs=2, batch_size=4, random_state=0, device="cpu", **settings
    )


def embedder(**settings):
    return FaceEmbedder(Tiny, weights=None, device="cpu", **settings)


def frame(y):
    import pandas as pd

    table = pd.DataFrame(y, columns=["warm", "happy", "stern", "calm"])
    return table[["happy", "warm", "calm", "stern"]]


NAMES = {"personality": ["warm", "stern"], "emotion": ["calm", "happy"]}


@pytest.mark.parametrize(
    "model",
    [
        joint(**NAMES),
        joint(**NAMES, mirror=False, heads="deeppersonality"),
        joint(**NAMES, lambda_emo=0),
        make_pipeline(
            FeatureUnion(
                [
                    ("one", embedder()),
                    ("two", make_pipeline(embedder(mirror=False), KernelFeatures(4, rank=2))),
                    ("none", "drop"),
                ],
                transformer_weights={"two": 3.0},
            ),
            "passthrough",
            joint(**NAMES),
        ),
        make_pipeline(embedder(), StandardScaler(), PCA(3, whiten=True), Ridge()),
    ],
    ids=["joint", "raw targets", "no emotion loss", "union", "scikit-learn"],
)
@pytest.mark.filterwarnings("ignore::persona_affect.exceptions.FewLabelsWarning")
def test_it_computes_what_predict_computes(model):
    y = frame(np.clip(Y, -1, 1) if "deep" in repr(model) else Y)
    model.fit(FACES, y)
    network = make_face_network(model)
    pixels = torch.from_numpy(FACES).float().requires_grad_()
    found = network(pixels)
    predicted = model.predict(FACES)
    scale = np.abs(predicted).max(0)
    assert np.abs(found.detach().numpy() - predicted).max() <= 1e-4 * scale.max()
    found.sum().backward()
    assert torch.isfinite(pixels.grad).all()
    assert (pixels.grad != 0).any() or "emo=0" in repr(model)
    # uint8 pixels are taken too.
    np.testing.assert_allclose(network(torch.from_numpy(FACES)).detach(), found.detach())


def test_features_are_those_of_transform():
    model = make_pipeline(embedder(), KernelFeatures(4, rank=2, random_state=0)).fit(FACES)
    found = make_face_network(model)(torch.from_numpy(FACES)).detach()
    np.testing.assert_allclose(found, model.transform(FACES), atol=1e-5)


def test_what_has_no_module_is_named():
    forest = make_pipeline(embedder(), RandomForestRegressor(2)).fit(FACES, Y)
    with pytest.raises(ValueError, match="RandomForestRegressor has no torch module"):
        make_face_network(forest)
    with pytest.raises(ValueError, match=r"FaceAligner, leave it out: model\[1:\]"):
        make_face_network(FaceAligner().fit())


def test_the_bundled_model():
    model = load_model()[1:]
    faces = RNG.integers(0, 256, (2, 150, 150, 3), dtype=np.uint8)
    network = make_face_network(model)
    with torch.no_grad():
        found = network(torch.from_numpy(faces)).numpy()
    # 0 to 100 points.
    np.testing.assert_allclose(found, model.predict(faces), atol=1e-3)
