import pickle

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from persona_affect import PersonDynamicsEncoder
from persona_affect.datasets import make_dynamic_clips
from persona_affect.estimators import _dynamics_adaptation
from persona_affect.exceptions import InvalidImageError
from persona_affect.faces import FaceClip

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def clips():
    return make_dynamic_clips(4, 1, n_frames=44, image_size=64, random_state=0).data


@pytest.fixture(scope="module")
def encoder(clips):
    return _encoder(spacing=1).fit(clips)


@pytest.fixture(scope="module")
def dilated(clips):
    return _encoder(spacing="scale", n_windows=None).fit(clips)


def _encoder(**changes):
    settings = {"scales": (1, 3), "max_epochs": 2, "early_stopping": False, "n_windows": 6}
    return PersonDynamicsEncoder(**settings | {"device": "cpu", "random_state": 0} | changes)


def assert_equal(descriptor, expected):
    """Equal up to rounding, which the whitening enlarges: entries are about 1."""
    np.testing.assert_allclose(descriptor, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["encoder", "dilated"])
def test_a_stream_is_described_as_its_pieces_are(name, clips, request):
    encoder = request.getfixturevalue(name)
    session = encoder.session(piece=16)
    expected = encoder.transform([[clips[0][:16], clips[0][16:32], clips[0][32:]]])[0]
    for start, stop in ((0, 1), (1, 9), (9, 9), (9, 41), (41, 44)):
        session.add(clips[0][start:stop])
    assert session.n_waiting == 12
    for _ in range(2):
        assert_equal(session.describe(), expected)
    assert session.n_waiting == 12
    assert session.describe().dtype == np.float32


def test_a_stream_of_one_piece_is_the_clip(dilated, clips):
    session = dilated.session()
    for frame in clips[0]:
        session.add(frame[None])
    np.testing.assert_array_equal(session.describe(), dilated.transform(clips[:1])[0])


def test_frames_after_a_gap_are_another_clip(dilated, clips):
    session = dilated.session().add(clips[0][:20]).end_piece()
    assert (session.n_windows, session.n_waiting) == (14, 0)
    session.add(clips[0][25:])
    assert_equal(session.describe(), dilated.transform([[clips[0][:20], clips[0][25:]]])[0])


def test_pieces_of_a_face_clip_are_clips(dilated, clips):
    clip = FaceClip(clips[0][:36], (0, 20, 25))
    expected = dilated.transform([[clips[0][:20], clips[0][25:36]]])[0]
    np.testing.assert_array_equal(dilated.transform([clip])[0], expected)
    assert_equal(dilated.session().add(clip).describe(), expected)
    # Frames added later follow the last piece.
    session = dilated.session().add(clip[:30]).add(clip[30:])
    assert_equal(session.describe(), expected)
    assert not np.allclose(dilated.transform([np.asarray(clip)])[0], expected, atol=1e-3)
    with pytest.raises(InvalidImageError, match=r"clip of 6 frames between losses .*\(2\).*need 7"):
        dilated.transform([FaceClip(clips[0][:12], (0, 6))])


def test_too_few_frames_for_a_window(dilated, clips):
    session = dilated.session()
    assert np.isnan(session.describe()).all()
    assert session.describe().shape == dilated.get_feature_names_out().shape
    session.add(clips[0][:6]).end_piece()
    assert (session.n_windows, session.n_waiting) == (0, 0)
    assert np.isnan(session.describe()).all()
    session.add(clips[0][:7])
    assert np.isfinite(session.describe()).all()


def test_sessions_of_one_person_are_merged(dilated, clips):
    first = dilated.session().add(clips[0][:30])
    second = pickle.loads(pickle.dumps(dilated)).session().add(clips[1][:10]).end_piece()
    second = pickle.loads(pickle.dumps(second.add(clips[2])))
    alone = second.describe()
    expected = dilated.transform([[clips[0][:30], clips[1][:10], clips[2]]])[0]
    assert_equal(first.merge(second).describe(), expected)
    np.testing.assert_array_equal(second.describe(), alone)
    assert_equal(dilated.session().merge(second).describe(), alone)
    assert_equal(second.merge(dilated.session()).describe(), alone)


def test_memory_does_not_grow(dilated, clips):
    session = dilated.session(piece=20)
    sizes = []
    for _ in range(6):
        session.add(clips[0][:20])
        sizes.append(len(pickle.dumps(session)))
    assert session.n_windows == 6 * 14
    assert max(sizes) - min(sizes) < 1000


def test_windows_are_described_in_groups_as_together(dilated, clips, monkeypatch):
    persons = [[clips[0], clips[1][:20]], clips[2], clips[3][:7]]
    expected = dilated.transform(persons)
    monkeypatch.setattr(_dynamics_adaptation, "WINDOWS_AT_ONCE", 9)
    for row, wanted in zip(dilated.transform(persons), expected, strict=True):
        assert_equal(row, wanted)


def test_all_windows_of_a_clip_describe_by_default(clips):
    model = PersonDynamicsEncoder(
        scales=(1, 3), max_epochs=1, early_stopping=False, device="cpu", random_state=0
    ).fit(clips)
    found = model.transform(clips[:1])
    assert model.session().add(clips[0]).end_piece().n_windows == 38
    np.testing.assert_array_equal(model.set_params(n_windows=38).transform(clips[:1]), found)
    assert not np.allclose(model.set_params(n_windows=32).transform(clips[:1]), found)
    # The whitening needs no more than 32 windows of a clip.
    fewer = model.set_params(n_windows=32).fit(clips)
    np.testing.assert_array_equal(fewer.set_params(n_windows=None).transform(clips[:1]), found)


def test_what_cannot_be_a_session(encoder, dilated, clips):
    with pytest.raises(NotFittedError):
        _encoder().session()
    with pytest.raises(ValueError, match="n_steps=1, not 2"):
        pickle.loads(pickle.dumps(encoder)).set_params(n_steps=2).session()
    with pytest.raises(ValueError, match=r"piece=6 .* need 7"):
        encoder.session(piece=6)
    for other in (dilated.session(), encoder.session(piece=20), _encoder(random_state=1)):
        if isinstance(other, PersonDynamicsEncoder):
            other = other.fit(clips).session()
        with pytest.raises(ValueError, match="same fitted encoder"):
            encoder.session().merge(other)
    with pytest.raises(InvalidImageError, match="float64"):
        encoder.session().add(clips[0] / 255)
    with pytest.raises(InvalidImageError, match=r"\(112, 96, 3\)"):
        encoder.session().add(clips[0][0])
    with pytest.raises(InvalidImageError, match="smaller"):
        encoder.session().add(clips[0][:, :20])
