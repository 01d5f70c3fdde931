import io
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from persona_affect import FaceAligner, FaceEmbedder
from persona_affect.exceptions import (
    InvalidImageError,
    MediaReadError,
    MediaWarning,
    PersonaAffectError,
)
from persona_affect.faces import TEMPLATES, Template, _templates, register_template


class Counter(TransformerMixin, BaseEstimator):
    """How many frames each face clip has."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return np.array([[len(clip)] for clip in X])


@pytest.fixture
def files(tmp_path, drawn_faces):
    paths = []
    for number, photo in enumerate(drawn_faces[:3]):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(photo).save(paths[-1])
    return paths


def test_every_kind_of_photo_gives_the_same_face(files, drawn_faces):
    photo = drawn_faces[0]
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    X = [files[0], str(files[0]), buffer.getvalue(), Image.fromarray(photo), photo]
    clips = FaceAligner().fit_transform(X)
    assert clips.dtype == object
    assert clips.shape == (5,)
    for clip in clips:
        assert clip.dtype == np.uint8
        assert clip.shape == (1, 112, 96, 3)
        np.testing.assert_array_equal(clip, clips[0])


def test_template_sets_the_size(drawn_faces):
    clips = FaceAligner(template="resnet29").transform(drawn_faces[:1])
    assert clips[0].shape == (1, 150, 150, 3)


def test_arrays_of_photos_and_of_clips(drawn_faces):
    photos = FaceAligner().transform(drawn_faces[:4])
    assert [len(clip) for clip in photos] == [1] * 4
    clips = FaceAligner(n_frames=2).transform(
        drawn_faces[:12].reshape(3, 4, *drawn_faces.shape[1:])
    )
    assert [len(clip) for clip in clips] == [2] * 3
    same_length = FaceAligner(n_frames=None).transform(
        list(drawn_faces[:4].reshape(2, 2, 160, 160, 3))
    )
    assert same_length.shape == (2,), "an object array even if all face clips have one shape"


def test_mixed_samples_and_frames_without_a_face(drawn_faces, faceless):
    blank = np.zeros_like(drawn_faces[0])
    clip = np.stack([drawn_faces[0], blank, drawn_faces[1]])
    clips = FaceAligner(n_frames=None).transform([faceless, clip, drawn_faces[0]])
    assert [len(c) for c in clips] == [0, 2, 1]
    assert clips[0].shape == (0, 112, 96, 3)
    np.testing.assert_array_equal(clips[1][0], clips[2][0])


def test_small_batches_change_nothing(drawn_faces, faceless):
    X = [drawn_faces[0], drawn_faces[:5], faceless, drawn_faces[2]]
    expected = FaceAligner(n_frames=None).transform(X)
    for parameters in ({"batch_size": 1}, {"batch_size": 3}, {"n_jobs": 2, "batch_size": 2}):
        with joblib.parallel_config(backend="threading"):
            clips = FaceAligner(n_frames=None, **parameters).transform(X)
        assert [len(c) for c in clips] == [len(c) for c in expected]
        for clip, other in zip(clips, expected, strict=True):
            assert np.abs(clip.astype(int) - other).max(initial=0) <= 1


def test_which_face_is_taken(drawn_faces):
    """A large face at the left, a small one in the middle."""
    small = np.asarray(Image.fromarray(drawn_faces[1]).resize((80, 80)))
    photo = np.full((160, 480, 3), 60, np.uint8)
    photo[:, :160] = drawn_faces[0]
    photo[40:120, 200:280] = small
    (found,) = FaceAligner().detect([photo])
    assert len(found) == 2
    left, middle = sorted(range(2), key=lambda i: found.boxes[i, 0])

    def face_of(index):
        from persona_affect.faces import align_face

        return align_face(photo, found.landmarks[index], TEMPLATES["sphereface"])

    taken = {s: FaceAligner(select=s).transform([photo])[0][0] for s in ("largest", "centre")}
    np.testing.assert_array_equal(taken["largest"], face_of(left))
    np.testing.assert_array_equal(taken["centre"], face_of(middle))
    confident = FaceAligner(select="confident").transform([photo])[0][0]
    np.testing.assert_array_equal(confident, face_of(int(np.argmax(found.scores))))


def test_face_cut_by_the_border(drawn_faces):
    clips = FaceAligner().transform([drawn_faces[0][:, :100]])
    assert clips[0].shape[1:] == (112, 96, 3)


def test_one_bad_file_does_not_affect_the_others(files, tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("no photo")
    X = [files[0], text, files[1], tmp_path / "missing.mp4", files[2]]
    with pytest.raises(MediaReadError, match=r"sample 1 \(.*text.jpg\): .*not a photo"):
        FaceAligner().transform(X)
    with pytest.warns(MediaWarning) as caught:
        clips = FaceAligner(on_error="warn", batch_size=2).transform(X)
    assert [len(clip) for clip in clips] == [1, 0, 1, 0, 1]
    (warning,) = caught
    assert "2 of 5 samples" in str(warning.message)
    assert "sample 1 " in str(warning.message)
    assert "sample 3 " in str(warning.message)


def test_no_warning_without_cause(files):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FaceAligner(on_error="warn").transform(files)


def test_detect_all_faces(group_photo, faceless, files):
    found = FaceAligner().detect([group_photo, faceless, files[0]])
    assert [len(faces) > 0 for faces in found] == [True, False, True]
    assert len(found[0]) >= 5
    with pytest.raises(InvalidImageError, match=r"sample 0 .*clip"):
        FaceAligner().detect([np.zeros((2, 40, 40, 3), np.uint8)])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("photo.jpg", r"\[X\]"),
        (b"bytes", r"\[X\]"),
        (Image.new("RGB", (4, 4)), r"\[X\]"),
        (np.zeros((9, 9, 3), np.uint8), r"\[X\]"),
        (np.zeros((1, 1, 1, 1, 9, 9), np.uint8), "not \\(1, 1, 1, 1, 9, 9\\)"),
        (5, "not int"),
        ([None], "sample 0 .*NoneType"),
        (np.zeros((2, 3, 40, 50), np.uint8), "sample 0 .*channels first"),
        (np.zeros((2, 40, 50, 3)), "sample 0 .*float64"),
    ],
)
def test_inputs_that_are_not_samples(X, message):
    with pytest.raises(InvalidImageError, match=message):
        FaceAligner().transform(X)


def test_no_samples():
    assert FaceAligner().transform([]).shape == (0,)
    assert FaceAligner().detect([]) == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"template": "dlib"},
        {"n_frames": 0},
        {"select": "best"},
        {"margin": -0.1},
        {"min_face_size": 2},
        {"thresholds": (0.6, 0.7)},
        {"thresholds": (0.6, 0.7, 1.5)},
        {"on_error": "ignore"},
        {"batch_size": 0},
    ],
)
def test_wrong_parameters_are_named(parameters):
    (name,) = parameters
    for call in (FaceAligner(**parameters).fit, FaceAligner(**parameters).transform):
        with pytest.raises(ValueError, match=name):
            call([])


def test_scikit_learn_contract(drawn_faces):
    aligner = FaceAligner(margin=0.2, thresholds=[0.5, 0.6, 0.7])
    assert aligner.fit(drawn_faces) is aligner
    assert clone(aligner).get_params() == aligner.get_params()
    assert vars(pickle.loads(pickle.dumps(aligner))) == vars(aligner)
    assert aligner.__sklearn_is_fitted__()
    before = joblib.hash(aligner)
    aligner.transform(drawn_faces[:1])
    assert joblib.hash(aligner) == before, "a pipeline's cache would miss"


def test_in_a_pipeline_with_a_cache_and_any_output_container(drawn_faces, tmp_path):
    pipeline = make_pipeline(FaceAligner(), Counter(), memory=str(tmp_path))
    np.testing.assert_array_equal(pipeline.fit_transform(drawn_faces[:3]), [[1]] * 3)
    for container in ("default", "pandas"):
        assert isinstance(FaceAligner().set_output(transform=container), FaceAligner)
        with sklearn.config_context(transform_output=container):
            clips = FaceAligner().fit_transform(drawn_faces[:2])
        assert isinstance(clips, np.ndarray)
        assert clips.shape == (2,)


def test_progress_bar(drawn_faces, capsys):
    FaceAligner(verbose=True).transform(drawn_faces[:2])
    assert "2/2" in capsys.readouterr().err


def test_errors_survive_another_process():
    error = pickle.loads(pickle.dumps(MediaReadError("sample 1: no")))
    assert isinstance(error, PersonaAffectError)
    assert str(error) == "sample 1: no"


def test_a_column_of_paths_in_a_column_transformer(tmp_path, drawn_faces):
    paths = []
    for number, face in enumerate(drawn_faces[:2]):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(face).save(paths[-1])
    table = pd.DataFrame({"age": [30, 40], "path": paths}, index=[7, 3])
    expected = [clip.shape for clip in FaceAligner().transform(paths)]
    for column in ("path", ["path"]):
        assert [c.shape for c in FaceAligner().transform(table[column])] == expected
        mean = FunctionTransformer(lambda clips: np.array([[c.mean()] for c in clips]))
        transformer = ColumnTransformer(
            [("faces", make_pipeline(FaceAligner(), mean), column), ("age", "passthrough", ["age"])]
        )
        features = transformer.fit_transform(table)
        assert features[:, 1].tolist() == [30, 40]
        assert np.isfinite(features[:, 0]).all()
    with pytest.raises(InvalidImageError, match="table of 2 columns"):
        FaceAligner().transform(table)


def test_pandas_output_keeps_the_index_of_a_column(drawn_faces):
    column = pd.Series(list(drawn_faces[:2]), index=[7, 3], name="photo")
    expected = FaceAligner().transform(column)
    assert isinstance(expected, np.ndarray)
    faces = clone(FaceAligner().set_output(transform="pandas")).transform(column)
    assert faces.index.tolist() == [7, 3]
    assert all(map(np.array_equal, faces, expected))
    with sklearn.config_context(transform_output="pandas"):
        assert FaceAligner().transform(column).index.tolist() == [7, 3]
    embed = make_pipeline(FaceAligner(template="resnet29"), FaceEmbedder("faceapi_expression"))
    table = column.to_frame().assign(age=[30, 40])
    features = (
        ColumnTransformer([("faces", embed, ["photo"])], remainder="passthrough")
        .set_output(transform="pandas")
        .fit_transform(table)
    )
    assert features.index.tolist() == [7, 3]
    np.testing.assert_array_equal(features.iloc[:, :-1], embed.fit_transform(column.tolist()))


def test_too_many_frames_are_refused_at_once():
    with pytest.raises(ValueError, match=r"'n_frames'.*10000"):
        FaceAligner(n_frames=10**8).transform(["missing.mp4"])


def test_frames_take_the_same_path_as_photos(drawn_faces, group_photo):
    photos = [*drawn_faces[:2], group_photo]
    aligner = FaceAligner(template="resnet29", margin=0.2, thresholds=(0.6, 0.7, 0.8))
    clips = aligner.transform(photos)
    found = aligner.detect_frames(photos)
    for photo, clip, faces, same in zip(photos, clips, found, aligner.detect(photos), strict=True):
        np.testing.assert_array_equal(faces.boxes, same.boxes)
        best = aligner.select_face(faces, photo)
        aligned = aligner.align_faces(photo, faces.landmarks)
        assert aligned.shape == (len(faces), 150, 150, 3)
        np.testing.assert_array_equal(aligned[best], clip[0])
        (followed,) = aligner.follow_frames([photo], [faces.boxes])
        # Most confident first, by other scores.
        order = [np.argsort(found.boxes[:, 0]) for found in (followed, faces)]
        np.testing.assert_allclose(followed.landmarks[order[0]], faces.landmarks[order[1]], atol=3)
    assert aligner.align_faces(photos[0], np.empty((0, 5, 2))).shape == (0, 150, 150, 3)


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), "a.jpg"])
def test_what_is_not_a_frame_is_refused(drawn_faces, image):
    with pytest.raises(InvalidImageError, match="image 1 "):
        FaceAligner().detect_frames([drawn_faces[0], image])
    with pytest.raises(InvalidImageError, match="image 0 "):
        FaceAligner().align_faces(image, np.zeros((1, 5, 2)))


@pytest.fixture
def registered(monkeypatch):
    """Registrations of one test only."""
    monkeypatch.setattr(_templates, "_templates", dict(_templates._templates))
    monkeypatch.setattr(_templates, "TEMPLATES", _templates._templates)


@pytest.mark.slow
def test_a_template_of_ones_own(drawn_faces, registered):
    half = tuple((x / 2, y / 2) for x, y in TEMPLATES["sphereface"].landmarks)
    register_template("half", Template(56, 48, half))
    register_template("half", Template(56, 48, half))  # the same again is no mistake
    aligner = FaceAligner(template="half", batch_size=2)
    clips = aligner.transform(drawn_faces[:4])
    assert clips[0].shape == (1, 56, 48, 3)
    # Other processes have not registered it.
    others = aligner.set_params(n_jobs=2).transform(drawn_faces[:4])
    for clip, other in zip(clips, others, strict=True):
        np.testing.assert_array_equal(clip, other)


@pytest.mark.parametrize(
    ("name", "template", "message"),
    [
        ("sphereface", Template(50, 50, ((1, 2),) * 4 + ((3, 4),)), "registered already"),
        ("mine", Template(0, 50, ((1, 2),) * 4 + ((3, 4),)), "no area"),
        ("mine", Template(50, 50, ((1, 2),) * 5), "five landmarks"),
        ("mine", Template(50, 50, ((1, 2), (3, 4))), "five landmarks"),
    ],
)
def test_templates_that_cannot_be(name, template, message, registered):
    with pytest.raises(ValueError, match=message):
        register_template(name, template)


def test_an_unknown_template_is_named():
    with pytest.raises(ValueError, match=r"'mine' is not registered.*'sphereface'"):
        FaceAligner(template="mine").fit()


def test_no_kind_of_unreadable_sample_affects_the_others(files, tmp_path):
    data = files[0].read_bytes()
    closed = Image.open(io.BytesIO(data))
    closed.close()
    eps = tmp_path / "photo.jpg"
    Image.open(files[0]).convert("RGB").save(eps, "EPS")
    bad = [
        Image.open(io.BytesIO(data[: len(data) // 2])),
        closed,
        eps,
        io.BytesIO(data),
        "https://example.org/photo.jpg",
        "caf\udce9.jpg",
        np.full((64, 64), 4095, np.uint16),
        None,
    ]
    samples = [sample for one in bad for sample in (one, files[0])]
    with pytest.warns(MediaWarning, match=f"{len(bad)} of {len(samples)} samples"):
        clips = FaceAligner(on_error="warn").transform(samples)
    assert [len(clip) for clip in clips] == [0, 1] * len(bad)
    for one in bad:
        with pytest.raises(PersonaAffectError, match=r"^sample 1 \("):
            FaceAligner().transform([files[0], one])
