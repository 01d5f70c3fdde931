import cv2
import numpy as np
import pytest

from persona_affect.faces import TEMPLATES
from persona_affect.inspection import (
    DISTURBANCE_KINDS,
    DISTURBANCES,
    Disturbance,
    disturb_faces,
    draw_regions,
)

TEMPLATE = TEMPLATES["resnet29"]


@pytest.fixture
def face():
    """A picture with detail everywhere, and landmarks of an upright face in its middle."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    return cv2.resize(noise, (150, 150)), TEMPLATE.points(0.3)


@pytest.mark.parametrize("name", DISTURBANCES)
def test_each_changes_the_picture_and_not_its_input(face, name):
    image, landmarks = face
    before = image.copy()
    changed = DISTURBANCES[name].apply(image, landmarks, keep_shape=True)
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert np.abs(changed.astype(int) - image).mean() > 0.01
    np.testing.assert_array_equal(image, before)
    assert DISTURBANCES[name].text


def test_the_standard_set_has_each_kind():
    assert {change.kind for change in DISTURBANCES.values()} == set(DISTURBANCE_KINDS)


def test_exposure_is_a_factor_of_light_not_of_bytes():
    # sRGB 188 is half the light of 255.
    grey = np.full((4, 4, 3), 255, np.uint8)
    assert DISTURBANCES["darker"].apply(grey)[0, 0].tolist() == [188, 188, 188]
    there = Disturbance("up", "exposure", 0.5).apply(np.full((4, 4, 3), 90, np.uint8))
    back = Disturbance("down", "exposure", -0.5).apply(there)
    assert np.abs(back.astype(int) - 90).max() <= 1


def test_white_balance_keeps_the_luminance():
    grey = np.full((4, 4, 3), 100, np.uint8)
    red, green, blue = (DISTURBANCES["warmer"].apply(grey)[0, 0] / 255) ** 2.2
    assert red > green > blue
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    assert luminance == pytest.approx((100 / 255) ** 2.2, rel=0.02)


def test_a_small_face_has_the_width_that_was_asked_for(face):
    image, landmarks = face
    small = DISTURBANCES["small"].apply(image, landmarks)
    eyes = np.linalg.norm(landmarks[1] - landmarks[0])
    assert small.shape[1] / image.shape[1] * eyes * 2.15 == pytest.approx(40, abs=1)
    # A face that is small already is not enlarged.
    assert Disturbance("x", "face_width", 900).apply(image, landmarks).shape == image.shape


def test_a_roll_turns_around_the_face_and_back(face):
    image, landmarks = face
    image = cv2.GaussianBlur(image, (0, 0), 4)
    turned = DISTURBANCES["roll_left"].apply(image, landmarks)
    back = DISTURBANCES["roll_right"].apply(turned, landmarks)
    inside = draw_regions(landmarks, image.shape[:2])["face"] > 0.9
    error = np.abs(back.astype(int) - image)[inside].mean()
    assert error < 3 < np.abs(turned.astype(int) - image)[inside].mean()


def test_crops_are_cut_from_a_photo_and_filled_in_an_aligned_face(face):
    image, landmarks = face
    cut = DISTURBANCES["crop_face"].apply(image, landmarks)
    assert cut.shape[0] < 150
    assert cut.shape[1] < 150
    filled = DISTURBANCES["crop_face"].apply(image, landmarks, keep_shape=True)
    regions = draw_regions(landmarks, image.shape[:2])
    inside = regions["face"] > 0.999
    np.testing.assert_array_equal(filled[inside], image[inside])
    assert (filled != image).any()


def test_regions_add_up_to_one_and_follow_the_landmarks(face):
    _, landmarks = face
    regions = draw_regions(landmarks, (150, 150))
    np.testing.assert_allclose(sum(regions.values()), 1)
    x, y = landmarks[2].astype(int)
    assert regions["face"][y, x] > 0.999
    assert regions["background"][0, 0] > 0.999
    moved = draw_regions(landmarks + np.array([20, 0]), (150, 150))
    np.testing.assert_allclose(moved["face"][:, 20:], regions["face"][:, :-20], atol=1e-4)


def test_hiding_leaves_the_rest(face):
    image, landmarks = face
    regions = draw_regions(landmarks, image.shape[:2])
    for name, region in (("no_background", "background"), ("no_hair", "hair")):
        hidden = DISTURBANCES[name].apply(image, landmarks)
        assert (hidden[regions[region] > 0.999] == 128).all()
        kept = regions[region] < 1e-4
        np.testing.assert_array_equal(hidden[kept], image[kept])


def test_clips_keep_their_lengths(face):
    image, _ = face
    clips = np.empty(2, dtype=object)
    clips[:] = [np.stack([image, image]), np.empty((0, 150, 150, 3), np.uint8)]
    changed = disturb_faces(clips, "blur", "resnet29", 0.3)
    assert [clip.shape for clip in changed] == [clip.shape for clip in clips]
    np.testing.assert_array_equal(changed[0][0], changed[0][1])


def test_bad_calls_say_what_is_wrong(face):
    image, _ = face
    with pytest.raises(ValueError, match="'blur' needs the landmarks"):
        DISTURBANCES["blur"].apply(image)
    with pytest.raises(ValueError, match="kind='fog' is none of"):
        Disturbance("fog", "fog", 1)
    with pytest.raises(ValueError, match="disturbance='fog' is none of"):
        disturb_faces([image[None]], "fog", "resnet29", 0.3)
