"""Landmarks as a mean over boxes: pixels that depend less on the size and turn of a picture."""

import cv2
import numpy as np
import pytest

from persona_affect import FaceAligner, load_model, save_model


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
