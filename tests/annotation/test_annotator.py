import os
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner, FrameAnnotator, JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.exceptions import InvalidImageError, MediaLimitError, MediaReadError

pytest.importorskip("trackers", reason="needs the extra app")


@pytest.fixture(scope="module")
def model():
    faces = make_affect_faces(4, random_state=0)
    estimator = JointAffectEstimator(max_epochs=1, random_state=0)
    return make_pipeline(FaceAligner(), estimator).fit(faces.data, faces.target)


@pytest.fixture(scope="module")
def scene():
    """Two faces that move past a grey background; the right one is hidden in frames 8 to 11."""
    left, right = make_affect_faces(1, random_state=3).data
    frames = np.full((20, 160, 420, 3), 128, dtype=np.uint8)
    for t, frame in enumerate(frames):
        frame[10:138, 10 + 3 * t : 138 + 3 * t] = left
        if not 8 <= t < 12:
            frame[20:148, 280 - 3 * t : 408 - 3 * t] = right
    return frames


def test_a_row_per_frame_and_face(model, scene):
    table = FrameAnnotator(model).to_dataframe(scene)
    assert list(table.columns) == [
        *("frame", "time", "face", "x", "y", "width", "height", "confidence"),
        *model[-1].target_names_,
    ]
    assert table.groupby("frame").size().tolist() == [2] * 8 + [1] * 4 + [2] * 8
    np.testing.assert_allclose(table["time"], table["frame"] / 25)
    assert table.notna().all(axis=None)


def test_faces_keep_their_numbers_through_an_occlusion(model, scene):
    table = FrameAnnotator(model).to_dataframe(scene)
    centre = table["x"] + table["width"] / 2
    on_the_left = centre < 210
    assert table.loc[on_the_left, "face"].nunique() == 1
    assert table.loc[~on_the_left, "face"].nunique() == 1
    assert table["face"].nunique() == 2


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batches_change_nothing(model, scene, batch_size):
    whole = FrameAnnotator(model, batch_size=32).to_dataframe(scene)
    parts = FrameAnnotator(model, batch_size=batch_size).to_dataframe(scene)
    pd.testing.assert_frame_equal(parts, whole, atol=1e-3)


def test_predictions_are_those_of_the_pipeline(model, scene):
    table = FrameAnnotator(model, track=False).to_dataframe(scene[8:12])
    np.testing.assert_allclose(
        table[model[-1].target_names_], model.predict(list(scene[8:12])), atol=1e-4
    )


def test_following_between_detections_finds_the_same_faces(model, scene):
    each = FrameAnnotator(model).to_dataframe(scene[:8])
    some = FrameAnnotator(model, detect_every=4).to_dataframe(scene[:8])
    assert some["face"].tolist() == each["face"].tolist()
    boxes = ["x", "y", "width", "height"]
    assert (some[boxes] - each[boxes]).abs().to_numpy().max() < 0.1 * each["width"].mean()
    # In the frames between, a face is looked for where it was, so the boxes are not the same.
    assert not np.allclose(some[boxes], each[boxes])


def test_more_faces_than_the_limit_are_refused_before_they_are_predicted(model, scene, monkeypatch):
    assert len(FrameAnnotator(model, max_faces=2).to_dataframe(scene[:2])) == 4
    predicted = []
    monkeypatch.setattr(type(model[-1]), "predict", lambda *_: predicted.append(1))
    with pytest.raises(MediaLimitError, match=r"0.00 s has 2 faces, more than max_faces=1"):
        FrameAnnotator(model, max_faces=1).to_dataframe(scene)
    assert predicted == []


def test_smoothing_follows_its_formula(model, scene):
    rough = FrameAnnotator(model).to_dataframe(scene[8:12])
    smooth = FrameAnnotator(model, smooth=0.1).to_dataframe(scene[8:12])
    expected = rough["valence"].to_numpy().copy()
    for t in range(1, 4):
        expected[t] = expected[t - 1] + (1 - np.exp(-0.4)) * (expected[t] - expected[t - 1])
    np.testing.assert_allclose(smooth["valence"], expected)
    assert not np.allclose(smooth["valence"], rough["valence"])


def test_a_frame_without_a_face_has_one_row(model):
    frames = np.full((3, 64, 64, 3), 128, dtype=np.uint8)
    table = FrameAnnotator(model).to_dataframe(frames)
    assert table["frame"].tolist() == [0, 1, 2]
    assert table.drop(columns=["frame", "time"]).isna().all(axis=None)


def test_an_iterable_of_frames_is_a_live_stream(model, scene):
    asked = []

    def stream():
        for frame in scene:
            asked.append(len(asked))
            yield frame

    rows = FrameAnnotator(model, batch_size=1).annotate(stream())
    first = next(rows)
    # The answer does not wait for frames to come.
    assert len(asked) == 1
    assert first["time"] >= 0
    times = [row["time"] for row in rows]
    assert times == sorted(times)


def test_memory_does_not_grow_with_the_stream(model):
    frame = np.full((240, 320, 3), 128, dtype=np.uint8)
    annotator = FrameAnnotator(model, batch_size=4)
    peaks = []
    for length in (20, 200):
        tracemalloc.start()
        n_rows = sum(1 for _ in annotator.annotate(frame for _ in range(length)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert n_rows == length
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.skipif("PERSONA_AFFECT_DATA" not in os.environ, reason="PERSONA_AFFECT_DATA unset")
def test_a_real_talking_head_is_one_face(model):
    path = os.path.join(os.environ["PERSONA_AFFECT_DATA"], "grid", "bbaf2n.mpg")
    table = FrameAnnotator(model, detect_every=5).to_dataframe(path)
    assert len(table) == 75
    assert table["face"].nunique() == 1
    assert table["time"].iloc[-1] == pytest.approx(74 / 25, abs=0.02)


@pytest.mark.parametrize(
    ("source", "error"),
    [("nowhere.mp4", MediaReadError), ([np.zeros((4, 4), float)], InvalidImageError)],
)
def test_bad_sources_are_named(model, source, error):
    with pytest.raises(error):
        FrameAnnotator(model).to_dataframe(source)


@pytest.mark.parametrize(
    "bad",
    [{"detect_every": 0}, {"batch_size": 0}, {"smooth": -1.0}, {"smooth": 1.0, "track": False}],
)
def test_bad_parameters_are_named(model, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        FrameAnnotator(model, **bad)


def test_the_model_must_start_with_an_aligner(model):
    with pytest.raises(ValueError, match="FaceAligner"):
        FrameAnnotator(model[-1])
