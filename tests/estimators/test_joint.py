from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from skorch.callbacks import Callback, LRScheduler
from torch import nn

from persona_affect import JointAffectEstimator, load_model, persemon_params, save_model
from persona_affect.datasets import make_affect_clips
from persona_affect.estimators._head_start import _STRENGTHS
from persona_affect.exceptions import (
    FewLabelsWarning,
    InvalidImageError,
    NoFaceWarning,
    TrainingDivergedError,
    WeightsError,
)
from persona_affect.metrics import ccc_score
from persona_affect.networks import Backbone


class TinyFEM(Backbone):
    input_size = (8, 6)
    n_features = 6

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 48, 6)

    def forward(self, frames):
        return self.linear((frames.float() / 128 - 1).flatten(1))


@pytest.fixture
def halves():
    """Ten clips rated on personality, ten photos rated on emotion."""
    rng = np.random.RandomState(0)
    X = np.empty(20, dtype=object)
    for i in range(20):
        X[i] = rng.randint(0, 256, (5 if i < 10 else 1, 8, 6, 3)).astype(np.uint8)
    y = np.column_stack([rng.uniform(0, 1, (20, 5)), rng.uniform(-1, 1, (20, 2))])
    y[:10, 5:] = np.nan
    y[10:, :5] = np.nan
    return X, y


def tiny(**kwargs):
    return JointAffectEstimator(TinyFEM, **{"max_epochs": 2, "random_state": 0, **kwargs})


@pytest.fixture(scope="module")
def faces():
    return make_affect_clips(8, n_frames=4, aligned=True, random_state=0)


@pytest.mark.slow
def test_learns_faces_with_the_default_network(faces):
    """On its own few training persons: the optimiser, the losses and the units fit together."""
    model = JointAffectEstimator(max_epochs=25, augmentation=None, random_state=0)
    model.fit(faces.data, faces.target)
    predicted = model.predict(faces.data)
    assert ccc_score(faces.target, predicted) > 0.8
    assert model.score(faces.data, faces.target) > 0.6
    assert model.history_["train_loss"].iloc[-1] < model.history_["train_loss"].iloc[0] / 4


def test_predict_averages_the_centre_frames(halves):
    X, y = halves
    model = tiny(n_segments=2).fit(X, y)
    frames = model.predict_frames(X)
    assert [f.shape for f in frames] == [(5, 7)] * 10 + [(1, 7)] * 10
    np.testing.assert_allclose(model.predict(X)[0], frames[0][[1, 3]].mean(0), rtol=1e-5)


def test_predictions_follow_the_order_of_the_columns(halves):
    X, y = halves
    names = ["e", "a", "c", "n", "o", "arousal", "valence"]
    frame = pd.DataFrame(y, columns=names)
    kwargs = {"personality": names[:5], "emotion": names[5:]}
    expected = tiny(**kwargs).fit(X, frame).predict(X)
    model = tiny(**kwargs).fit(X, frame[names[::-1]])
    assert model.target_names_ == names[::-1]
    np.testing.assert_array_equal(model.predict(X), expected[:, ::-1])
    np.testing.assert_array_equal(model.target_means_, np.nanmean(y, 0)[::-1])


TERMS = ["per", "emo", "coh", "ram"]


@pytest.mark.parametrize("term", TERMS)
def test_a_loss_of_weight_zero_is_left_out(halves, term):
    X, y = halves
    model = tiny(**{f"lambda_{term}": 0.0}).fit(X, y)
    head = {"per": "pam", "emo": "eam", "coh": "domain", "ram": "ram"}[term]
    # The RAM reads the EAM, so that one stays, taught by the RAM's loss alone.
    assert (getattr(model.net_.module_, head) is None) == (term != "emo")
    assert f"train_{term}" not in model.history_
    predicted = model.predict(X)
    assert np.isfinite(predicted).all()
    if term == "per":
        np.testing.assert_allclose(predicted[:, :5], np.nanmean(y, 0)[None, :5].repeat(20, 0))
    if term == "emo":
        np.testing.assert_allclose(predicted[:, 5:], np.nanmean(y, 0)[None, 5:].repeat(20, 0))


def test_faces_that_serve_no_loss_are_not_read(halves):
    X, y = halves
    model = tiny(lambda_per=0.0, lambda_coh=0.0, lambda_ram=0.0).fit(X, y)
    alone = tiny().fit(X[10:], y[10:])
    np.testing.assert_array_equal(model.predict(X)[:, 5:], alone.predict(X)[:, 5:])


@pytest.mark.parametrize("kept", [slice(0, 10), slice(10, 20)], ids=["personality", "emotion"])
def test_one_domain_trains_its_half(halves, kept):
    X, y = halves
    model = tiny().fit(X[kept], y[kept])
    rated = ~np.isnan(y[kept]).all(0)
    predicted = model.predict(X)
    assert np.isfinite(predicted[:, rated]).all()
    assert np.isnan(predicted[:, ~rated]).all()
    assert model.net_.module_.domain is None


def test_samples_rated_on_both_feed_both_losses(halves):
    X, y = halves
    full = np.nan_to_num(y)
    model = tiny().fit(X, full)
    assert {"train_per", "train_emo", "train_ram"} <= set(model.history_)
    assert "train_coh" not in model.history_


def test_ram_predicts_from_emotion_in_the_callers_units(halves):
    X, y = halves
    model = tiny(max_epochs=1).fit(X, y)
    emotion = model.predict(X)[:, 5:]
    traits = model.predict_from_emotion(emotion)
    assert traits.shape == (20, 5)
    scaled = (emotion - np.nanmean(y, 0)[5:]) / np.nanstd(y, 0)[5:]
    with torch.no_grad():
        out = model.net_.module_.ram(torch.from_numpy(scaled).float()).numpy()
    expected = out * np.nanstd(y, 0)[:5] + np.nanmean(y, 0)[:5]
    np.testing.assert_allclose(traits, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="arousal"):
        model.predict_from_emotion(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="lambda_ram"):
        tiny(lambda_ram=0.0).fit(X, y).predict_from_emotion(emotion)


def test_the_rams_gradient_reaches_the_extractor(halves):
    X, y = halves
    model = tiny(lambda_per=0.0, lambda_emo=0.0, lambda_coh=0.0).fit(X, y)
    torch.manual_seed(np.random.RandomState(0).randint(2**31 - 1))
    start = TinyFEM().linear.weight
    assert not torch.allclose(model.net_.module_.fem.linear.weight, start)


def test_same_seed_same_model_and_global_state_untouched(halves):
    X, y = halves
    torch.manual_seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    models = [tiny().fit(X, y) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))
    other = tiny(random_state=1).fit(X, y)
    assert not np.allclose(other.predict(X), models[0].predict(X))


def test_faceless_samples_are_left_out_and_predicted_as_missing(halves):
    X, y = halves
    X[[2, 13]] = [X[2][:0], X[13][:0]]
    with pytest.warns(NoFaceWarning, match=r"Samples 2, 13 \(2 in all\) have no face; left out"):
        model = tiny().fit(X, y)
    with pytest.warns(NoFaceWarning, match="Samples 2, 13"):
        predicted = model.predict(X)
    assert np.isnan(predicted[[2, 13]]).all()
    assert np.isfinite(np.delete(predicted, [2, 13], 0)).all()
    present = np.delete(np.arange(20), [2, 13])
    np.testing.assert_array_equal(
        tiny().fit(X[present], y[present]).predict(X[present]), predicted[present]
    )


def test_early_stopping_keeps_the_best_weights_and_whole_groups(halves):
    X, y = halves
    seen = []

    class Spy(Callback):
        def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
            seen.append((len(dataset_train), len(dataset_valid)))

    groups = np.repeat(np.arange(10), 2)
    spy = Spy()
    model = tiny(
        max_epochs=50,
        learning_rate=0.05,
        early_stopping=True,
        validation_fraction=0.4,
        n_iter_no_change=3,
        callbacks=[spy],
    ).fit(X, y, groups=groups)
    assert seen[0] == (12, 8)
    losses = model.history_["valid_loss"]
    assert model.n_iter_ < 50
    assert losses.idxmin() == len(losses) - 1 - 3
    assert not hasattr(spy, "net_")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda X: [*X[:3], X[3][:, :7], *X[4:]], InvalidImageError, "Sample 3 is 7x6 pixels"),
        (lambda X: [*X[:3], X[3].astype(float), *X[4:]], InvalidImageError, "Sample 3 is float64"),
        (lambda X: [*X[:3], "photo.jpg", *X[4:]], InvalidImageError, "Sample 3 is str"),
        (lambda X: [*X[:3], X[3][0], *X[4:]], InvalidImageError, r"Sample 3 has shape \(8, 6, 3\)"),
        (lambda X: X[:5], ValueError, "inconsistent numbers of samples"),
    ],
)
def test_bad_faces_are_named(halves, change, error, message):
    X, y = halves
    with pytest.raises(error, match=message):
        tiny().fit(change(X), y)


def test_nothing_to_train_on_is_said(halves):
    X, y = halves
    with pytest.raises(ValueError, match="Nothing to train on"):
        tiny().fit(X, np.full_like(y, np.nan))
    with pytest.raises(ValueError, match="Nothing to train on"):
        tiny(lambda_per=0.0, lambda_ram=0.0).fit(X[:10], y[:10])


def test_divergence_is_an_error_not_a_model(halves):
    X, y = halves
    with pytest.raises(TrainingDivergedError, match="learning_rate"):
        tiny(learning_rate=1e30, optimizer="sgd", max_grad_norm=None).fit(X, y)


def test_faces_and_embeddings_are_not_confused(halves):
    X, y = halves
    with pytest.raises(ValueError, match="fitted on faces"):
        tiny().fit(X, y).predict(np.zeros((2, 6)))
    with pytest.raises(ValueError, match="fitted on embeddings"):
        tiny().fit(np.random.RandomState(0).randn(20, 6), y).predict(X)


def test_on_embeddings_it_starts_at_ridge_and_stays_near(halves):
    rng = np.random.RandomState(0)
    X = rng.randn(300, 20)
    y = np.tanh(X @ rng.randn(20, 7) * 0.2) + rng.randn(300, 7) * 0.3
    y[:150, 5:] = np.nan
    y[150:, :5] = np.nan
    from sklearn.linear_model import RidgeCV

    model = JointAffectEstimator(random_state=0).fit(X, y)
    predicted = model.predict(X)
    for j in range(7):
        rated = ~np.isnan(y[:, j])
        ridge = RidgeCV(np.logspace(-2, 6, 17)).fit(X[rated], y[rated, j]).predict(X)
        assert np.corrcoef(ridge, predicted[:, j])[0, 1] > 0.98


def test_on_embeddings_the_ram_is_learnt_however_small_the_rate():
    rng = np.random.default_rng(0)
    emotion = rng.uniform(-1, 1, (300, 2))
    X = (emotion @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(size=(300, 8))).astype(np.float32)
    traits = np.column_stack([emotion.sum(1), emotion[:, 0] ** 2, *rng.normal(size=(3, 300))])
    y = np.column_stack([traits, emotion])
    model = JointAffectEstimator(learning_rate=1e-7, max_epochs=1, random_state=0).fit(X, y)
    predicted = model.predict_from_emotion(emotion)
    r = [np.corrcoef(predicted[:, j], traits[:, j])[0, 1] for j in range(5)]
    # A sum, a square, and three traits that have nothing to do with emotion.
    assert min(r[:2]) > 0.9


@pytest.mark.filterwarnings("ignore::persona_affect.exceptions.FewLabelsWarning")
@pytest.mark.parametrize("scale", ["each", "common"])
def test_embeddings_in_one_unit_keep_it(scale):
    rng = np.random.RandomState(0)
    spreads = np.geomspace(0.01, 1, 30)
    X = rng.randn(80, 30) * spreads
    y = X @ rng.randn(30, 7) + rng.randn(80, 7)
    # Some targets are rated on all samples, some on half of them, one on too few to start anywhere.
    y[:40, 2:4] = np.nan
    y[2:, 6] = np.nan
    from sklearn.linear_model import RidgeCV

    model = JointAffectEstimator(
        embedding_scale=scale, learning_rate=1e-9, max_epochs=1, random_state=0
    ).fit(X, y)
    scaled = (X - X.mean(0)) / (X.std(0) if scale == "each" else np.sqrt(X.var(0).mean()))
    for j in range(6):
        rated = ~np.isnan(y[:, j])
        mean, std = y[rated, j].mean(), y[rated, j].std()
        ridge = RidgeCV(_STRENGTHS).fit(scaled[rated], (y[rated, j] - mean) / std)
        expected = ridge.predict(scaled) * std + mean
        np.testing.assert_allclose(model.predict(X)[:, j], expected, rtol=1e-3, atol=1e-3)


def test_coherence_needs_features_that_learn(halves):
    _, y = halves
    X = np.random.RandomState(0).randn(20, 6)
    assert tiny().fit(X, y).net_.module_.domain is None
    assert tiny(adapter_rank=2).fit(X, y).net_.module_.domain is not None


@pytest.mark.parametrize("preset", ["demo", "authors", "deeppersonality"])
def test_presets_are_parameters_and_train(preset, halves):
    X, y = halves
    params = {**persemon_params(preset), "backbone": TinyFEM, "max_epochs": 2}
    model = JointAffectEstimator(**params, random_state=0).fit(X, y)
    assert np.isfinite(model.predict(X)).all()
    # Raw targets: tanh and sigmoid bound what they close.
    assert (np.abs(model.predict(X)[:, 5:]) <= 1).all()


def test_unknown_preset_is_named():
    with pytest.raises(ValueError, match="persemon"):
        persemon_params("persemon")


def test_bfloat16_predicts_nearly_the_same(halves):
    X, y = halves
    model = tiny().fit(X, y)
    exact = model.predict(X)
    model.net_.precision = "bfloat16"
    assert 0 < np.abs(model.predict(X) - exact).max() < 0.05


def test_missing_weights_are_named(tmp_path, faces):
    model = JointAffectEstimator(weights=str(tmp_path / "none.pt"))
    with pytest.raises(WeightsError, match=r"none\.pt"):
        model.fit(faces.data, faces.target)


def test_verbose_shows_one_bar_with_the_loss(halves, capsys):
    X, y = halves
    tiny(verbose=1).fit(X, y)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "train_loss" in shown


def test_predictions_are_averaged_over_mirror_images(halves):
    X, y = halves
    model = tiny(mirror=False).fit(X, y)
    flipped = np.empty(len(X), dtype=object)
    flipped[:] = [clip[:, :, ::-1] for clip in X]
    expected = (model.predict(X) + model.predict(flipped)) / 2
    embedded = (model.transform(X) + model.transform(flipped)) / 2
    model.set_params(mirror=True)

    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-5)
    np.testing.assert_allclose(model.transform(X), embedded, rtol=1e-4, atol=1e-6)


def test_the_resnet29_reads_several_crops_of_a_face():
    faces = np.random.default_rng(0).integers(0, 256, (6, 150, 150, 3), dtype=np.uint8)
    y = np.linspace(0, 1, 12).reshape(6, 2)
    model = JointAffectEstimator(
        "resnet29",
        backbone_params={"levels": "pooled", "crops": (1.0, 0.7)},
        max_epochs=1,
        random_state=0,
    )
    assert model.fit(faces, y).transform(faces).shape == (6, 512)


@pytest.mark.parametrize(
    "given",
    [
        ["a.jpg", "b.jpg"],
        [Path("a.jpg")],
        np.array(["a.jpg", "b.jpg"]),
        pd.Series(["a.jpg"], index=[7]),
        pd.DataFrame({"path": ["a.jpg"]}),
        "a.jpg",
    ],
    ids=["list", "paths", "array", "series", "table", "one"],
)
def test_files_are_answered_with_the_aligner(given):
    with pytest.raises(InvalidImageError, match=r"a\.jpg.*FaceAligner before"):
        JointAffectEstimator().fit(given, [0.5] * len(given))


def test_callbacks_may_have_names():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 3)), rng.uniform(size=(8, 2))
    rates = []

    class Spy(Callback):
        def on_epoch_end(self, net, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    def model(*callbacks):
        return JointAffectEstimator(
            max_epochs=3, schedule="constant", random_state=0, callbacks=list(callbacks)
        )

    halve = LRScheduler("StepLR", step_size=1, gamma=0.5)
    model(("spy", Spy()), ("lr", halve), Spy).fit(X, y)
    # Before and after the scheduler of each epoch.
    np.testing.assert_allclose(np.array(rates) / rates[0], [1, 0.5, 0.5, 0.25, 0.25, 0.125])
    for wrong, message in (
        (["lr", halve], "neither"),
        ([("schedule", halve)], "taken"),
        ([("lr", halve), ("lr", halve)], "taken"),
        ([("lr", 3)], "neither"),
    ):
        with pytest.raises(ValueError, match=message):
            model(*wrong).fit(X, y)


@pytest.mark.parametrize("n_labels", [1, 2, 9])
@pytest.mark.parametrize("heads", ["linear", "authors"])
def test_targets_with_few_or_equal_labels_are_predicted_by_their_mean(n_labels, heads, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 6)).astype(np.float32)
    y = np.column_stack([rng.uniform(size=(40, 5)), rng.uniform(-1, 1, (40, 2))])
    y[:, 0] = 0.5 + 0.1 * X[:, 0]
    # The last two differ by rounding.
    labels = [0.5] if n_labels == 1 else [0.5, 0.7] if n_labels == 2 else [0.3] * 7 + [0.1 * 3] * 2
    assert n_labels < 9 or 0 < np.ptp(labels) < 1e-13
    for target in (1, 5):
        y[:, target] = np.nan
        y[: len(labels), target] = labels
    model = JointAffectEstimator(heads=heads, max_epochs=20, random_state=0, device="cpu")
    with pytest.warns(FewLabelsWarning, match=rf"agreeableness \({n_labels}\), arousal"):
        model.fit(X, y)
    save_model(model, tmp_path / "model")
    for fitted in (model, load_model(tmp_path / "model")):
        found = fitted.predict(X)
        np.testing.assert_allclose(found[:, [1, 5]], np.mean(labels))
        assert found[:, 0].std() > 0.01
        related = fitted.predict_from_emotion(rng.uniform(-1, 1, (20, 2)))
        np.testing.assert_allclose(related[:, 1], np.mean(labels))
