import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

from persona_affect import FaceAligner, JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.inspection import (
    SaliencyDisplay,
    check_saliency_labels,
    check_saliency_weights,
    explain_faces,
    score_saliency,
)
from persona_affect.networks import Backbone

SIDE = 20


class Cells(Backbone):
    """Brightness of 5 x 5 cells, through a layer that learns."""

    input_size = (SIDE, SIDE)
    template = "sphereface"
    n_features = 16

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(25, 16)

    def forward(self, frames):
        grey = (frames.float().mean(dim=3) - 128) / 64
        cells = nn.functional.avg_pool2d(grey[:, None], 4).flatten(1)
        return torch.tanh(self.layer(cells))


@pytest.fixture(scope="module")
def world():
    """Faces of random cells. `mouth` is the brightness of a cell below, `brow` of one above."""
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(160, 5, 5))
    pixels = np.clip(128 + 40 * cells.repeat(4, 1).repeat(4, 2), 0, 255)
    X = pixels.astype(np.uint8)[..., None].repeat(3, axis=3)
    y = pd.DataFrame({"mouth": 50 + 10 * cells[:, 4, 2], "brow": 50 - 10 * cells[:, 0, 2]})
    return X, y


@pytest.fixture(scope="module")
def unfitted():
    return JointAffectEstimator(
        Cells,
        personality=["mouth"],
        emotion=["brow"],
        augmentation=None,
        mirror=False,
        lambda_coh=0,
        max_epochs=30,
        learning_rate=1e-2,
        random_state=0,
        device="cpu",
    )


@pytest.fixture(scope="module")
def model(world, unfitted):
    return unfitted.fit(*world)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
@pytest.mark.parametrize("baseline", ["grey", "blur"])
def test_the_map_is_where_the_label_comes_from(world, model, method, baseline):
    X, _ = world
    for target, rows, sign in (("mouth", slice(16, 20), 1), ("brow", slice(0, 4), -1)):
        maps = explain_faces(model, X[:8], target, method=method, baseline=baseline, patch=0.2)
        assert maps.shape == (8, SIDE, SIDE)
        inside = maps[:, rows, 8:12]
        assert abs(inside).sum() > 0.5 * abs(maps).sum()
        if baseline == "grey":
            brightness = X[:8, rows, 8:12].mean(axis=(1, 2, 3)) - 128
            assert np.corrcoef(inside.sum((1, 2)), sign * brightness)[0, 1] > 0.9


def test_integrated_gradients_add_up_to_the_change_of_the_prediction(world, model):
    X = world[0][:4]
    maps = explain_faces(model, X, "mouth")
    column = model.target_names_.index("mouth")
    change = model.predict(X) - model.predict(np.full_like(X, 128))
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), change[:, column], rtol=0.01)


def test_occlusion_gives_each_patch_its_change(world, model):
    X = world[0][:1]
    # 7 pixels do not divide 20: the patches at the far edges are smaller.
    maps = explain_faces(model, X, "mouth", method="occlusion", patch=0.35)
    hidden = X.copy()
    hidden[:, 14:, 7:14] = 128
    column = model.target_names_.index("mouth")
    change = (model.predict(X) - model.predict(hidden))[0, column]
    assert maps[0, 14:, 7:14].sum() == pytest.approx(change, rel=1e-3)


def test_occlusion_takes_any_model(world):
    X, y = world
    flat = FunctionTransformer(lambda X: np.asarray(X)[:, ::4, ::4, 0].reshape(len(X), -1))
    forest = make_pipeline(flat, RandomForestRegressor(20, random_state=0)).fit(X, y["mouth"])
    maps = abs(explain_faces(forest, X[:3], 0, method="occlusion", patch=0.2))
    assert (maps[:, 16:, 8:12].sum((1, 2)) > 0.5 * maps.sum((1, 2))).all()
    with pytest.raises(ValueError, match="FunctionTransformer has no torch module"):
        explain_faces(forest, X[:3], 0)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_maps_change_with_the_weights(world, model, method):
    table = check_saliency_weights(
        model, world[0][:6], "mouth", method=method, patch=0.2, random_state=0
    )
    assert table["layers"].tolist() == list(range(1, len(table) + 1))
    # All layers are random at the end, the backbone's included.
    assert "layer" in table["layer"].iloc[-1]
    assert abs(table["rank_correlation"].iloc[-1]) < 0.3
    # The model itself is unchanged.
    again = explain_faces(model, world[0][:6], "mouth", method=method, patch=0.2)
    np.testing.assert_array_equal(
        again, explain_faces(model, world[0][:6], "mouth", method=method, patch=0.2)
    )
    fewer = check_saliency_weights(
        model, world[0][:6], "mouth", method=method, patch=0.2, n_stages=2, random_state=0
    )
    pd.testing.assert_frame_equal(fewer, table.iloc[[0, -1]].reset_index(drop=True))


def test_the_map_that_is_drawn_passes_both_sanity_checks(world, model, unfitted):
    """Adebayo et al.: single maps and the mean map, with random weights and permuted labels."""
    X, y = world
    drawn = SaliencyDisplay.from_estimator(model, X[:20], "mouth")
    # Red raises the prediction, blue lowers it: both are there, around 0.
    low, high = drawn.image_.get_clim()
    assert low == -high
    single = drawn.plot(sample=3, smoothing=0).image_.get_array()
    np.testing.assert_array_equal(single, drawn.maps[3])
    weights = check_saliency_weights(model, X[:20], "mouth", patch=0.2, random_state=0)
    assert abs(weights["rank_correlation"].iloc[-1]) < 0.2
    settings = {"X_explain": X[:20], "patch": 0.2, "random_state": 1}
    labels = check_saliency_labels(unfitted, X, y, "mouth", **settings)
    assert abs(labels["rank_correlation"]) < 0.2


def test_maps_change_with_the_labels(world, unfitted):
    X, y = world
    settings = {"X_explain": X[:6], "patch": 0.2, "random_state": 1}
    permuted = check_saliency_labels(unfitted, X, y, "mouth", **settings)
    assert abs(permuted["rank_correlation"]) < 0.35


class Corner(RegressorMixin, BaseEstimator):
    """Learns nothing: it predicts the brightness of a corner."""

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return X[:, :4, :4].mean(axis=(1, 2, 3))


def test_maps_that_do_not_depend_on_the_labels_fail_the_check(world):
    X, y = world
    same = check_saliency_labels(Corner(), X, y, 0, X_explain=X[:4], method="occlusion", patch=0.2)
    assert same.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_deletion_and_insertion_are_better_than_random_orders(world, model, method):
    X = world[0][:12]
    maps = explain_faces(model, X, "brow", method=method, patch=0.2)
    scores = score_saliency(model, X, maps, "brow", patch=0.2, random_state=0)
    assert (scores["deletion_gain"] > 0).all()
    assert (scores["insertion_gain"] > 0).all()
    # The opposite order is as much worse.
    reverse = score_saliency(model, X, -maps, "brow", patch=0.2, random_state=0)
    assert (reverse["deletion_gain"] < 0).all()
    np.testing.assert_array_equal(reverse["random_deletion"], scores["random_deletion"])


def test_the_area_is_that_of_the_curve(world, model):
    X = world[0][:1]
    order = np.zeros((1, SIDE, SIDE))
    order[0, :4, :4] = 1
    scores = score_saliency(model, X, order, "brow", patch=0.2, n_steps=25, n_random=1)
    column = model.target_names_.index("brow")
    cells = [(i, j) for i in range(5) for j in range(5)]
    hidden, values = X.copy(), [model.predict(X)[0, column]]
    for i, j in cells:
        hidden[0, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = 128
        values.append(model.predict(hidden)[0, column])
    assert scores["deletion"][0] == pytest.approx(np.trapezoid(values) / 25, rel=1e-4)


def test_a_pipeline_with_an_aligner_and_a_photo_without_a_face():
    drawn = make_affect_faces(3, halves="personality", random_state=0)
    photos = [drawn.data[0], np.full((60, 60, 3), 90, np.uint8), drawn.data[1]]
    aligner = FaceAligner(margin=0.2)
    faces = aligner.fit_transform(drawn.data)
    model = JointAffectEstimator(max_epochs=1, random_state=0, device="cpu").fit(faces, drawn.truth)
    pipeline = make_pipeline(aligner, model)
    display = SaliencyDisplay.from_estimator(pipeline, photos, "openness", n_steps=2)
    assert np.isnan(display.maps[1]).all()
    assert np.isfinite(display.maps[[0, 2]]).all()
    np.testing.assert_allclose(display.landmarks[0], [33.17, 52.34], atol=0.1)
    assert display.ax_.get_title() == "openness: mean of 2 faces"
    np.testing.assert_allclose(display.mean_map(), display.maps[[0, 2]].mean(0))
    with pytest.raises(ValueError, match="no face was found"):
        display.plot(sample=1)
    scores = score_saliency(pipeline, photos, display.maps, "openness", n_steps=2, n_random=1)
    assert scores.isna().all(axis=1).tolist() == [False, True, False]


def test_bad_calls_say_what_is_wrong(world, model):
    X = world[0][:2]
    with pytest.raises(ValueError, match=r"method='lime' must be one of"):
        explain_faces(model, X, "mouth", method="lime")
    with pytest.raises(ValueError, match=r"baseline='black' must be one of"):
        explain_faces(model, X, "mouth", baseline="black")
    with pytest.raises(ValueError, match=r"target='nose' is none of \['mouth', 'brow'\]"):
        explain_faces(model, X, "nose")
    with pytest.raises(ValueError, match="patch=0 must be in"):
        explain_faces(model, X, "mouth", method="occlusion", patch=0)
    clips = np.empty(1, dtype=object)
    clips[0] = np.empty((0, SIDE, SIDE, 3), np.uint8)
    with pytest.raises(ValueError, match="No sample has a face"):
        explain_faces(model, clips, "mouth")
