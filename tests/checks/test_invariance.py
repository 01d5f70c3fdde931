"""What must not change a prediction: order, company, containers, memory layout, workers."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import Ridge

from persona_affect import KernelFeatures, PersonDynamicsEncoder, RAMRegressor, TaskFusion
from persona_affect.datasets import make_dynamic_clips

#: float32 sums in another order; the faces' scores are of order 1.
ROUNDING = {"rtol": 1e-5, "atol": 1e-5}
ON_CLIPS = pytest.mark.cases("joint", "embedder", "pipeline")
ON_FLOATS = pytest.mark.cases("joint", "joint-embeddings", "embedder", "pipeline")


def assert_close(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, **ROUNDING)


@pytest.mark.filterwarnings("ignore::persona_affect.exceptions.NoFaceWarning")
def test_order_of_samples_only_permutes_predictions(case):
    fitted = case.fit()
    order = np.random.default_rng(0).permutation(len(case.X))
    shuffled = case.X[order] if isinstance(case.X, np.ndarray) else [case.X[i] for i in order]
    assert_close(case.run(fitted, shuffled), [case.run(fitted)[i] for i in order])


@pytest.mark.filterwarnings("ignore::persona_affect.exceptions.NoFaceWarning")
def test_a_sample_is_predicted_alike_alone_and_in_company(case):
    fitted = case.fit()
    alone = [case.run(fitted, case.X[i : i + 1])[0] for i in range(len(case.X))]
    assert_close(case.run(fitted), alone)


@ON_FLOATS
def test_batch_size_of_prediction_does_not_matter(case, monkeypatch):
    fitted = case.fit()
    expected = case.run(fitted)
    for size in ("_FACES_PER_CPU_PASS", "_FRAMES_PER_PASS"):
        monkeypatch.setattr(f"persona_affect.estimators._inference.{size}", 3)
    assert_close(case.run(fitted), expected)


@pytest.mark.filterwarnings("ignore::persona_affect.exceptions.NoFaceWarning")
def test_eight_threads_share_a_fitted_model(case):
    fitted = case.fit()
    before = pickle.dumps(fitted)
    expected = case.run(fitted)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: case.run(fitted), range(16)))
    for run in found:
        for a, b in zip(run, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert pickle.dumps(fitted) == before


@pytest.mark.cases("aligner")
@pytest.mark.parametrize("parameters", [{"batch_size": 1}, {"batch_size": 2, "n_jobs": 2}], ids=str)
def test_batch_size_and_jobs_do_not_change_faces(case, parameters):
    expected = case.run(case.estimator)
    with joblib.parallel_config("threading"):
        faces = case.run(clone(case.estimator).set_params(**parameters))
    assert [len(clip) for clip in faces] == [len(clip) for clip in expected]
    # Landmarks move by rounding in another batch, and a pixel with them by a level.
    for clip, other in zip(faces, expected, strict=True):
        np.testing.assert_allclose(clip.astype(int), other.astype(int), atol=1)


@st.composite
def containers(draw):
    """A way to hold the same face clips: a container for the samples, a layout for the pixels."""
    layout = draw(st.sampled_from(["C", "F", "strided", "reversed", "read-only"]))
    container = draw(st.sampled_from([list, tuple, "object"]))
    return layout, container


def relaid(clip, layout):
    if layout == "strided":
        return np.repeat(clip, 2, axis=2)[:, :, ::2]
    if layout == "reversed":
        return clip[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1]
    clip = clip.copy(order="F" if layout == "F" else "C")
    clip.setflags(write=layout != "read-only")
    return clip


@ON_CLIPS
@given(how=containers())
@settings(max_examples=12, deadline=None)
def test_containers_and_memory_layout_do_not_matter(case, how):
    layout, container = how
    clips = [relaid(clip, layout) for clip in case.X]
    if container == "object":
        X = np.empty(len(clips), dtype=object)
        X[:] = clips
    else:
        X = container(clips)
    assert_close(case.run(case.fit(X, case.y), X), case.run(case.fit()))


@ON_CLIPS
def test_arrays_of_equal_clips_may_be_stacked(case, tiny):
    clips = tiny.clips(np.random.default_rng(1), [2] * len(case.X))
    stacked = np.stack(list(clips))
    np.testing.assert_array_equal(
        case.run(case.fit(stacked, case.y), stacked), case.run(case.fit(clips, case.y), clips)
    )


@ON_CLIPS
def test_a_photo_is_a_clip_of_one_frame(case, tiny):
    clips = tiny.clips(np.random.default_rng(1), [1] * len(case.X))
    photos = np.concatenate(list(clips))
    np.testing.assert_array_equal(
        case.run(case.fit(photos, case.y), photos), case.run(case.fit(clips, case.y), clips)
    )


@pytest.mark.cases("aligner")
def test_a_photo_is_a_clip_of_one_frame_to_the_aligner(case):
    aligner = clone(case.estimator).set_params(n_frames=1)
    faces = case.run(aligner, [photo[None] for photo in case.X])
    for clip, expected in zip(faces, case.run(aligner), strict=True):
        np.testing.assert_array_equal(clip, expected, strict=True)


@pytest.mark.cases("joint-embeddings")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_type_and_layout_of_embeddings_do_not_matter(case, dtype, order):
    X = case.X.astype(np.float16)  # exact in each type
    fitted = case.fit(X.astype(np.float32), case.y)
    X = X.astype(dtype, order=order)
    np.testing.assert_array_equal(case.run(case.fit(X, case.y), X), case.run(fitted, X))


@ON_CLIPS
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_clips_of_any_lengths(case, tiny, lengths, seed):
    """Predictions are those of the centre frames; how many frames a neighbour has is nothing."""
    fitted = case.fit()
    clips = tiny.clips(np.random.default_rng(seed), lengths)
    together = case.run(fitted, clips)
    assert np.isfinite(together).all()
    for i, clip in enumerate(clips):
        assert_close(case.run(fitted, [clip]), together[i : i + 1])


ON_MATRICES = [
    RAMRegressor(max_epochs=2, random_state=0),
    KernelFeatures(4, random_state=0),
    TaskFusion(None, Ridge(), fusion="late"),
    PersonDynamicsEncoder(scales=(1,), max_epochs=1, random_state=0, device="cpu"),
]


@pytest.mark.parametrize("model", ON_MATRICES, ids=lambda model: type(model).__name__)
def test_eight_threads_share_a_model_of_other_samples(model):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 6)), rng.uniform(size=(30, 2))
    if isinstance(model, TaskFusion):
        X = X.reshape(30, 2, 3)
    elif isinstance(model, PersonDynamicsEncoder):
        X, y = make_dynamic_clips(2, n_frames=8, random_state=0).data, None
    fitted = clone(model).fit(X, y)
    run = fitted.predict if hasattr(fitted, "predict") else fitted.transform
    before, expected = pickle.dumps(fitted), run(X)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: run(X), range(16)):
            np.testing.assert_array_equal(found, expected)
    assert pickle.dumps(fitted) == before
