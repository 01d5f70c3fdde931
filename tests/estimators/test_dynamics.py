import pickle
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from persona_affect import PersonDynamicsEncoder
from persona_affect.datasets import make_dynamic_clips
from persona_affect.estimators._dynamics_adaptation import Whitening, _inverse_root
from persona_affect.estimators._dynamics_samples import prepare_clip
from persona_affect.estimators._dynamics_windows import (
    choose_centres,
    compute_maps,
    measure_ranking,
    score_windows,
)
from persona_affect.exceptions import InvalidImageError, NoFaceWarning, TrainingDivergedError
from persona_affect.networks import UNET_LEVELS, DynamicsUNet
from persona_affect.objectives import rank_loss, window_scores

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def clips():
    return make_dynamic_clips(6, 2, n_frames=26, image_size=64, random_state=0)


def _small(**changes):
    settings = {"scales": (1, 3), "max_epochs": 2, "device": "cpu", "random_state": 0}
    return PersonDynamicsEncoder(**{**settings, **changes})


@pytest.fixture(scope="module")
def encoder(clips):
    return _small(max_epochs=15, early_stopping=False).fit(clips.data)


def test_learns_the_order_of_frames(encoder, clips):
    assert encoder.history_["train_loss"].iloc[-1] < 0.7 < encoder.history_["train_loss"].iloc[0]
    strangers = make_dynamic_clips(3, 1, n_frames=26, image_size=64, random_state=1)
    accuracy = encoder.ranking_accuracy(strangers.data)
    assert accuracy.shape == (3, 2)
    # All frames of the windows of scale 1 are in the network's input.
    assert np.isnan(accuracy[:, 0]).all()
    assert accuracy[:, 1].mean() > 0.65
    assert encoder.ranking_accuracy(strangers.data, exclude=())[:, 0].mean() > 0.8


@pytest.mark.parametrize("spacing", ["scale", 2])
def test_a_map_depends_on_the_frames_that_its_scale_sees_and_on_no_others(spacing):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = DynamicsUNet(scales=(1, 3), spacing=spacing)
        frames, other = torch.randn(2, 9, 3, 28, 24)
    centre = [torch.tensor([4])]
    maps = compute_maps(net, [frames], centre)[0]
    for k, scale in enumerate(net.scales):
        seen = [4 + offset * (scale if spacing == "scale" else 2) for offset in (-1, 0, 1)]
        for t in range(9):
            changed = frames.clone()
            changed[t] = other[t]
            same = torch.equal(compute_maps(net, [changed], centre)[0, k], maps[k])
            assert same == (t not in seen)


def test_pairs_that_count_leave_out_the_frames_seen():
    """Against a plain loop over the pairs of each window."""
    clip = torch.randn(12, 3, 28, 24, generator=torch.Generator().manual_seed(0))
    net = DynamicsUNet(scales=(1, 3), spacing="scale")
    accuracy = measure_ranking(net, [clip])[0]
    at = torch.arange(3, 9)
    scores = score_windows(net, compute_maps(net, [clip], [at]).detach(), clip, at)[1]
    unseen = [1, 2, 4, 5]
    right = [float(row[j] > row[i]) for row in scores for i in unseen for j in unseen if i < j]
    assert accuracy[1] == pytest.approx(np.mean(right))
    # Windows of scale 1 have one frame on either side, and both are seen.
    assert np.isnan(accuracy[0])


@pytest.mark.parametrize(("spacing", "apart"), [(1, 1), ("scale", 3)])
def test_descriptor_is_the_gradient_of_the_rank_loss(clips, spacing, apart):
    """Against a plain loop: one person, one window and one scale at a time, filters as matrices."""
    plain = _small(spacing=spacing, whiten=False, early_stopping=False).fit(clips.data)
    descriptor = plain.transform(clips.data[:1])[0]
    names = plain.get_feature_names_out()
    net, level, scale = plain.net_, "encoder3", 1
    frames = prepare_clip(clips.data[0], (28, 24))
    filters = torch.zeros(32, 32, requires_grad=True)
    seen = []
    centres = choose_centres(len(frames), 3, 32)

    def stack(t):
        return torch.cat([frames[t - apart], frames[t], frames[t + apart]])[None]

    for t in centres:
        net(stack(t), lambda at, x: seen.append((at, x)) or x)
    mean = torch.cat([x for at, x in seen if at == level]).mean(0)

    def insert(at, x):
        return x + torch.einsum("oc,nchw->nohw", filters, x - mean) if at == level else x

    for t in centres:
        maps = net(stack(t), insert)
        rms = frames.square().mean().sqrt()
        scores = window_scores(maps[None, :, scale], frames[None], t[None, None], 3, rms)
        (rank_loss(scores, 10.0).sum() / len(centres)).backward()
    at = [i for i, name in enumerate(names) if name.startswith(f"scale3_{level}_")]
    expected = -filters.grad.flatten().numpy()
    np.testing.assert_allclose(descriptor[at], expected, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module")
def dilated(clips):
    return _small(spacing="scale", early_stopping=False).fit(clips.data)


@pytest.fixture(scope="module")
def neighbours(clips):
    return _small(spacing=1, max_epochs=15, early_stopping=False).fit(clips.data)


@pytest.mark.parametrize("spacing", [1, "scale"])
@pytest.mark.parametrize("n_steps", [1, 3])
def test_many_persons_at_once_are_as_one_at_a_time(neighbours, dilated, clips, spacing, n_steps):
    model = pickle.loads(pickle.dumps(neighbours if spacing == 1 else dilated))
    model.set_params(n_steps=n_steps, step_size=1e-4)
    together = model.set_params(batch_persons=3).transform(clips.data[:5])
    alone = model.set_params(batch_persons=1).transform(clips.data[:5])
    scale = np.abs(alone).max()
    np.testing.assert_allclose(together, alone, atol=1e-4 * scale)
    assert np.abs(alone[0] - alone[2]).max() > 0.01 * scale


def test_more_steps_lower_the_loss_of_the_person(encoder, clips):
    one, two = (
        pickle.loads(pickle.dumps(encoder)).set_params(n_steps=n, step_size=1e-3) for n in (1, 2)
    )
    first, second = one.transform(clips.data[:2]), two.transform(clips.data[:2])
    # The second step goes on from the first, by about as much.
    ratio = np.linalg.norm(second, axis=1) / np.linalg.norm(first, axis=1)
    assert ((ratio > 1.2) & (ratio < 2.2)).all()


def test_whitening_undoes_the_spread_over_persons():
    rng = torch.Generator().manual_seed(0)
    mix = torch.randn(6, 6, generator=rng, dtype=torch.float64)
    root = _inverse_root(mix @ mix.T).double()
    values = torch.linalg.eigvalsh(root @ mix @ mix.T @ root)
    # Damping holds back the directions that hardly vary.
    assert values.max() == pytest.approx(1, abs=0.2)
    assert (values > 0).all()
    assert torch.isfinite(_inverse_root(torch.zeros(2, 2))).all()


def test_whitened_descriptor_is_the_plain_one_whitened(dilated, clips):
    names = dilated.get_feature_names_out()
    plain = pickle.loads(pickle.dumps(dilated))
    plain.whitening_ = Whitening.identity(plain.net_, UNET_LEVELS)
    at = [i for i, name in enumerate(names) if name.startswith("scale3_decoder2_")]
    change = plain.transform(clips.data[:1])[0, at].reshape(16, 16)
    moments = dilated.whitening_
    expected = moments.after["decoder2"][1].numpy() @ change @ moments.before["decoder2"][1].numpy()
    whitened = dilated.transform(clips.data[:1])[0, at]
    np.testing.assert_allclose(whitened, expected.ravel(), atol=1e-4 * np.abs(expected).max())


def test_same_seed_same_bits_and_no_global_generator_touched(clips):
    torch.manual_seed(3)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = (_small().fit(clips.data).transform(clips.data[:2]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    other = _small(random_state=1).fit(clips.data).transform(clips.data[:2])
    assert not np.array_equal(first, other)


def test_whitening_of_a_scale_is_that_of_its_own_frames(neighbours, dilated):
    before = neighbours.whitening_.before["encoder1"]
    torch.testing.assert_close(before[0], before[1])
    before = dilated.whitening_.before["encoder1"]
    assert not torch.allclose(before[0], before[1], rtol=0.1)


def test_early_stopping_keeps_the_best(clips):
    model = _small(max_epochs=12, n_iter_no_change=2, validation_fraction=0.3).fit(clips.data)
    accuracy = model.history_["valid_accuracy"]
    assert model.n_iter_ == len(accuracy)
    assert model.n_iter_ == 12 or accuracy[-2:].max() <= accuracy.max()
    assert model.n_iter_ - 1 - accuracy.idxmax() <= 2


def test_names_and_pickle(encoder, clips):
    descriptors = encoder.transform(clips.data[:2])
    names = encoder.get_feature_names_out()
    assert descriptors.dtype == np.float32
    assert descriptors.shape == (2, len(names))
    assert len(set(names)) == len(names) == 2 * (8**2 * 2 + 16**2 * 2 + 32**2 * 3)
    assert names[0] == "scale1_encoder1_out0_in0"
    restored = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(restored.transform(clips.data[:2]), descriptors)
    assert all(not parameter.is_cuda for parameter in restored.net_.parameters())
    frame = pickle.loads(pickle.dumps(encoder)).set_output(transform="pandas")
    assert frame.transform(clips.data[:2]).columns.tolist() == names.tolist()


def test_each_scale_sees_as_far_as_it_reaches_by_default(encoder, dilated):
    assert encoder.net_.spacings == dilated.net_.spacings == (1, 3)


def test_where_filters_sit(clips):
    model = _small(filter_levels=("bottleneck",), max_epochs=1).fit(clips.data)
    assert model.transform(clips.data[:1]).shape == (1, 2 * 32**2)


def test_shapes_of_x(encoder, clips):
    expected = encoder.transform(clips.data[:2])
    np.testing.assert_array_equal(encoder.transform(np.stack(list(clips.data[:2]))), expected)
    np.testing.assert_array_equal(encoder.transform(list(clips.data[:2])), expected)
    np.testing.assert_array_equal(encoder.transform([[clips.data[0]], (clips.data[1],)]), expected)
    assert encoder.transform([]).shape == (0, expected.shape[1])


def test_columns_of_a_table_keep_their_index(clips):
    model = _small(max_epochs=1, early_stopping=False)
    expected = model.fit_transform(clips.data[:2])
    column = pd.Series(list(clips.data[:2]), index=["b", "a"], name="clip")
    columns = ColumnTransformer([("dynamics", model, ["clip"])])
    np.testing.assert_array_equal(columns.fit_transform(column.to_frame()), expected)
    frames = model.set_output(transform="pandas")
    for X in (column, column.to_frame()):
        described = frames.transform(X)
        np.testing.assert_array_equal(described, expected)
        assert described.index.tolist() == ["b", "a"]


def test_a_sample_of_several_clips_is_one_person(encoder, clips):
    first, second = clips.data[0], clips.data[1][:20]
    both = encoder.transform([[first, second]])
    assert both.shape == (1, len(encoder.get_feature_names_out()))
    np.testing.assert_allclose(
        encoder.transform([[second, first]]), both, atol=1e-4 * np.abs(both).max()
    )
    assert not np.allclose(both, encoder.transform([first]))


def test_any_device_that_is_here(encoder, clips):
    auto = pickle.loads(pickle.dumps(encoder)).set_params(device="auto")
    np.testing.assert_allclose(
        auto.transform(clips.data[:1]), encoder.transform(clips.data[:1]), rtol=1e-3, atol=1e-4
    )
    with pytest.raises(ValueError, match="cuda:99"):
        auto.set_params(device="cuda:99").transform(clips.data[:1])


def test_eight_threads_describe_as_one_does(encoder, clips):
    def describe(i):
        return encoder.transform(clips.data[i : i + 1])

    serial = [describe(i) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(describe, range(8)))
    np.testing.assert_array_equal(threaded, serial)
    assert all(parameter.grad is None for parameter in encoder.net_.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_fits_beside_others_are_those_made_alone(backend, clips):
    def fit(seed):
        model = _small(random_state=seed, early_stopping=seed > 0).fit(clips.data[:6])
        return model.transform(clips.data[:1])

    alone = [fit(seed) for seed in range(3)]
    state = torch.get_rng_state()
    threads = {"inner_max_num_threads": 1} if backend == "loky" else {}
    with joblib.parallel_config(backend=backend, n_jobs=3, **threads):
        together = joblib.Parallel()(joblib.delayed(fit)(seed) for seed in range(3))
    np.testing.assert_array_equal(together, alone)
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_without_a_face(encoder, clips):
    nobody = np.empty((0, 112, 96, 3), np.uint8)
    with pytest.warns(NoFaceWarning, match=r"Samples 0, 2 \(2 in all\)"):
        rows = encoder.transform([nobody, clips.data[0], [nobody]])
    assert np.isnan(rows[[0, 2]]).all()
    np.testing.assert_array_equal(rows[1:2], encoder.transform(clips.data[:1]))
    # One clip of two without a face costs nothing else.
    np.testing.assert_array_equal(encoder.transform([[clips.data[0], nobody]]), rows[1:2])
    with pytest.warns(NoFaceWarning, match="Sample 1 has no face; left out"):
        _small(max_epochs=1).fit([clips.data[0], nobody, clips.data[2]])
    with (
        pytest.warns(NoFaceWarning, match="Sample 0"),
        pytest.raises(ValueError, match="Nothing to train on"),
    ):
        _small().fit([nobody])


def test_wrong_samples_are_named(encoder, clips):
    good = clips.data[0]
    with pytest.raises(InvalidImageError, match=r"Sample 1 .*6 frames.*need 7"):
        encoder.transform([good, good[:6]])
    with pytest.raises(InvalidImageError, match="Sample 1 holds float32"):
        encoder.transform([good, good.astype(np.float32)])
    with pytest.raises(InvalidImageError, match=r"Sample 0 holds str.*FaceAligner"):
        encoder.transform(["clip.mp4"])
    with pytest.raises(InvalidImageError, match=r"Sample 0 .*\(26, 112, 96\)"):
        encoder.transform([good[..., 0]])
    with pytest.raises(InvalidImageError, match="smaller"):
        encoder.transform([good[:, :20, :20]])
    with pytest.raises(InvalidImageError, match="5-D array"):
        encoder.transform(good)
    for wrong, message in (
        (None, "not NoneType"),
        ("clip.mp4", r"put it into a list, \[X\]"),
        ({"clip": good}, "dict"),
        (pd.DataFrame({"a": [good], "b": [good]}), "2 columns"),
    ):
        with pytest.raises(InvalidImageError, match=message):
            encoder.transform(wrong)
    with pytest.raises(InvalidImageError, match="scales"):
        PersonDynamicsEncoder(max_epochs=1).fit([good[:10], good])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scales": ()}, "scales"),
        ({"scales": (2, 2)}, "scales"),
        ({"scales": (1.5,)}, "scales"),
        ({"context": 2}, "context"),
        ({"spacing": 0}, "spacing"),
        ({"spacing": "far"}, "spacing"),
        ({"image_size": (28,)}, "image_size"),
        ({"widths": (8, 16, 30)}, "widths"),
        ({"filter_levels": ("head",)}, "head"),
        ({"max_epochs": 0}, "max_epochs"),
    ],
)
def test_wrong_parameters_are_named(clips, wrong, message):
    with pytest.raises(ValueError, match=message):
        _small(**wrong).fit(clips.data)


def test_one_person_cannot_be_held_out(clips):
    with pytest.raises(ValueError, match="early_stopping=False"):
        _small().fit(clips.data[:1])


def test_a_diverging_loss_is_an_error(clips):
    with pytest.raises(TrainingDivergedError, match="learning_rate"):
        _small(learning_rate=1e30, max_epochs=3).fit(clips.data)


def test_progress_is_shown_on_request(clips, capsys):
    _small(verbose=1, max_epochs=1).fit(clips.data)
    assert "valid_accuracy" in capsys.readouterr().err
    _small(max_epochs=1).fit(clips.data)
    assert capsys.readouterr().err == ""


def test_maps_to_look_at(encoder, clips):
    maps, centres = encoder.dynamic_maps(clips.data[0])
    assert maps.shape == (20, 2, 28, 24, 3)
    assert centres.tolist() == list(range(3, 23))


def test_composes_with_scikit_learn(encoder, clips):
    pipeline = make_pipeline(clone(_small(max_epochs=1)), PCA(3), Ridge())
    predicted = cross_val_predict(
        pipeline, clips.data, clips.target, groups=clips.groups, cv=GroupKFold(2)
    )
    assert predicted.shape == (12, 5)
    assert np.isfinite(predicted).all()
