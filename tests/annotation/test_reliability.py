"""Columns that say how sure the numbers are."""

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from persona_affect import ConformalAffect, FaceAligner, FrameAnnotator, JointAffectEstimator
from persona_affect.annotation import rate_reliability
from persona_affect.datasets import make_affect_faces
from persona_affect.faces import FaceQuality

GOOD = {
    "width": 120,
    "sharpness": 0.2,
    "yaw": 0,
    "pitch": 0,
    "roll": 0,
    "confidence": 1,
    "blockiness": 1.1,
}


def quality(**changed):
    return FaceQuality(
        **{name: np.array([value], float) for name, value in (GOOD | changed).items()}
    )


@pytest.mark.parametrize(
    ("changed", "distance", "remark"),
    [
        ({}, 1.0, ""),
        ({"roll": 50}, 1.0, ""),
        ({"width": 12}, 1.0, "12 pixels wide"),
        ({"sharpness": 0.03}, 1.0, "blurred"),
        ({"yaw": -50}, 1.0, "turned by 50 degrees"),
        ({"yaw": 80}, 1.0, "in profile"),
        ({"confidence": 0.7}, 1.0, "hardly recognised as a face"),
        ({"blockiness": 3}, 1.0, "strongly compressed"),
        ({}, 2.0, "unlike the training faces"),
        (
            {"width": 12, "sharpness": 0.03},
            2.0,
            "blurred, 12 pixels wide, unlike the training faces",
        ),
    ],
)
def test_causes_are_named(changed, distance, remark):
    (score,), (words,) = rate_reliability(quality(**changed), np.array([distance]))
    assert words == remark
    assert score == 1 if not remark else 0 <= score < 0.8


def test_the_worst_cause_counts_and_what_is_unknown_is_unreliable():
    small, far = rate_reliability(quality(width=12))[0], rate_reliability(quality(), [2.2])[0]
    both = rate_reliability(quality(width=12), np.array([2.2]))[0]
    assert both == min(small, far)
    score, (words,) = rate_reliability(quality(yaw=np.nan))
    assert score == 0
    assert words
    assert rate_reliability(quality(), np.array([np.nan]))[0] == 0


@pytest.fixture(scope="module")
def model():
    faces = make_affect_faces(8, random_state=1)
    values = np.random.default_rng(0).uniform(size=faces.target.shape)
    labels = pd.DataFrame(values, columns=faces.target.columns)
    pipeline = make_pipeline(FaceAligner(), JointAffectEstimator(max_epochs=1, random_state=0))
    pipeline.fit(faces.data[:4], labels[:4])
    model = ConformalAffect(pipeline, random_state=0)
    return model.conformalize(faces.data[4:], labels[4:], faces.groups[4:])


@pytest.fixture(scope="module")
def scene():
    """A sharp face and a blurred one, side by side, and a picture of none."""
    left, right = make_affect_faces(1, random_state=3).data
    frames = np.full((2, 150, 300, 3), 128, np.uint8)
    frames[0, 10:138, 10:138] = left
    frames[0, 10:138, 160:288] = cv2.GaussianBlur(right, (0, 0), 5)
    return frames


def test_rows_have_intervals_and_reliability(model, scene):
    annotator = FrameAnnotator(model, track=False, interval=0.5, reliability=True)
    table = annotator.to_dataframe(scene)
    plain = FrameAnnotator(model.estimator_, track=False).to_dataframe(scene)
    pd.testing.assert_frame_equal(table[plain.columns], plain)
    names = model.target_names_
    ends = [f"{name}_{end}" for name in names for end in ("low", "high")]
    assert [*table.columns] == [*plain.columns, *ends, "reliability", "remarks"]
    assert [*annotator.kinds] == [*table.columns]
    aligner = model.estimator_[0]
    (found,) = aligner.detect_frames(scene[:1])
    clips = [face[None] for face in aligner.align_faces(scene[0], found.landmarks)]
    expected = model.skip_steps(1).predict_interval(clips, 0.5)
    for row, bounds in zip(table.iloc[:2].to_dict("records"), expected, strict=True):
        assert [row[end] for end in ends] == pytest.approx(bounds.ravel().tolist(), abs=1e-4)
    assert table["reliability"][0] > table["reliability"][1]
    assert "blurred" not in table["remarks"][0]
    assert "blurred" in table["remarks"][1]
    # Nobody is in the second picture.
    assert table.iloc[2][[*names, *ends, "reliability", "remarks"]].isna().all()


def test_one_pass_gives_all(model, scene):
    clips = model.estimator_[0].transform([scene[0][:, :150]])
    faces = model.skip_steps(1)
    values, bounds, ratios = faces.predict_parts(clips, 0.5)
    np.testing.assert_array_equal(bounds, faces.predict_interval(clips, 0.5))
    np.testing.assert_array_equal(values, faces.describe_faces(clips)[0])
    assert (ratios is None) == (faces.describe_faces(clips)[1] is None)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".vtt"])
def test_files_have_the_columns(model, scene, tmp_path, suffix):
    annotator = FrameAnnotator(model, track=False, reliability=True)
    path = tmp_path / f"table{suffix}"
    annotator.to_file(scene, path)
    if suffix == ".vtt":
        assert "remarks" not in path.read_text()
        return
    read = {
        ".csv": pd.read_csv,
        ".jsonl": lambda path: pd.read_json(path, lines=True),
        ".parquet": pd.read_parquet,
    }[suffix]
    table = read(path)
    assert "blurred" in table["remarks"][1]
    assert table["reliability"][:2].between(0, 1).all()


def test_intervals_need_a_calibration(model):
    for one, interval in ((model.estimator_, 0.9), (model, 0), (model, 90)):
        with pytest.raises(ValueError, match="interval"):
            FrameAnnotator(one, track=False, interval=interval)


def test_intervals_grow_where_the_reliability_is_low(model, scene):
    settings = {"track": False, "interval": 0.5, "reliability": True}
    narrow = FrameAnnotator(model, **settings).to_dataframe(scene)
    wide = FrameAnnotator(model, widen=True, **settings).to_dataframe(scene)
    ends = [name for name in narrow if name.endswith(("_low", "_high"))]
    others = [name for name in narrow if name not in ends]
    pd.testing.assert_frame_equal(wide[others], narrow[others])
    names = model.target_names_
    bounds = narrow[ends].to_numpy().reshape(-1, len(names), 2)[:2]
    expected = model.widen(bounds, narrow["reliability"][:2])
    np.testing.assert_allclose(wide[ends].to_numpy().reshape(-1, len(names), 2)[:2], expected)
    # The columns of the reliability are not needed.
    alone = FrameAnnotator(model, track=False, interval=0.5, widen=True).to_dataframe(scene)
    pd.testing.assert_frame_equal(alone, wide.drop(columns=["reliability", "remarks"]))
