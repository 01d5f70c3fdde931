"""Landmarks as a mean over boxes: pixels that depend less on the size and turn of a picture."""

import cv2
import numpy as np
import pytest

from persona_affect import FaceAligner, load_model, save_model
from persona_affect.faces import DetectorSpec, _detectors, _settings, _upright, detect_faces


def turned(photo, angle):
    matrix = cv2.getRotationMatrix2D((119.5, 119.5), angle, 1)
    return cv2.warpAffine(photo, matrix, (240, 240), borderMode=cv2.BORDER_REPLICATE)


def halved(photo):
    return cv2.resize(photo, (120, 120), interpolation=cv2.INTER_AREA)


def differences(aligner, photos, others):
    """Return the mean difference in grey levels between the aligned faces of two lists."""
    pairs = zip(aligner.transform(photos), aligner.transform(others), strict=True)
    return np.array([np.abs(a[0].astype(float) - b[0]).mean() for a, b in pairs])


@pytest.mark.parametrize("detector", ["mtcnn", "yunet"])
def test_halved_and_turned_faces_give_nearly_the_same_pixels(drawn_faces, detector):
    photos = [cv2.resize(photo, (240, 240)) for photo in drawn_faces[:6]]
    once, mean = (FaceAligner(detector=detector, landmarks=how) for how in ("once", "mean"))
    assert differences(mean, photos, [halved(photo) for photo in photos]).mean() < 6
    others = [turned(photo, 22) for photo in photos]
    levels = differences(mean, photos, others).mean()
    assert levels < 3
    assert levels < differences(once, photos, others).mean()


@pytest.mark.parametrize("detector", ["mtcnn", "yunet"])
def test_of_turned_faces_the_mean_is_always_taken_and_of_upright_ones_never(
    detector, drawn_faces, monkeypatch
):
    photos = [cv2.resize(photo, (240, 240)) for photo in drawn_faces[:6]]
    others = [turned(photo, 22) for photo in photos]
    aligner = FaceAligner(detector=detector)
    after = differences(aligner, photos, others)
    upright = aligner.transform(photos)
    monkeypatch.setattr(_settings, "average_landmarks", lambda images, found, which, device: found)
    assert after.mean() < min(6, differences(aligner, photos, others).mean())
    same = [
        np.array_equal(one, other)
        for one, other in zip(upright, aligner.transform(photos), strict=True)
    ]
    # Some of the drawn heads lean.
    first = aligner._settings()._find(photos, 20)
    assert same == [not _upright.is_turned(faces).any() for faces in first]
    assert sum(same) >= 4


def test_other_detectors_keep_their_own_landmarks(drawn_faces, monkeypatch):
    def fail(*arguments):
        raise AssertionError("landmarks of another detector were replaced")

    def detect(images, **options):
        return detect_faces(images, min_face_size=20)

    monkeypatch.setitem(_detectors._specs, "own", DetectorSpec("own", detect, lambda: "1"))
    monkeypatch.setattr(_settings, "average_landmarks", fail)
    photo = turned(cv2.resize(drawn_faces[0], (240, 240)), 22)
    assert len(FaceAligner(detector="own").transform([photo])[0]) == 1


def test_no_face_and_a_saved_aligner(drawn_faces, tmp_path):
    aligner = FaceAligner(landmarks="mean").fit()
    save_model(aligner, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    grey = np.full_like(drawn_faces[0], 128)
    found = loaded.transform([grey, drawn_faces[0]])
    assert [len(clip) for clip in found] == [0, 1]
    np.testing.assert_array_equal(found[1], aligner.transform([drawn_faces[0]])[0])


def test_stored_faces_are_those_of_their_setting(drawn_faces, tmp_path):
    for how in ("once", "mean"):
        direct = FaceAligner(landmarks=how).transform([drawn_faces[0]])
        stored = FaceAligner(landmarks=how, cache=tmp_path).transform([drawn_faces[0]])
        np.testing.assert_array_equal(stored[0], direct[0])
