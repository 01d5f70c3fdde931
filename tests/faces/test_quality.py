"""What makes a face hard to judge."""

import cv2
import numpy as np
import pytest

from persona_affect import FaceAligner
from persona_affect.datasets import make_affect_faces
from persona_affect.faces import Detections, estimate_pose, measure_quality

EYES_NOSE_MOUTH = np.array(
    [[-165, -170, -135], [165, -170, -135], [0, 0, 0], [-130, 150, -125], [130, 150, -125]], float
)


def turned(yaw=0.0, pitch=0.0, roll=0.0):
    """Landmarks of a head that turns, seen from far away; image rows go down."""
    a, b, c = np.radians([yaw, pitch, roll])
    around = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    tilt = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    points = EYES_NOSE_MOUTH @ (tilt @ nod @ around).T
    return 100 + 0.2 * points[None, :, :2]


@pytest.mark.parametrize("degrees", [-60, -20, 0, 35, 75])
def test_the_angles_of_a_turned_head_are_found(degrees):
    yaw, pitch, roll = estimate_pose(turned(yaw=degrees))
    np.testing.assert_allclose([yaw[0], pitch[0], roll[0]], [degrees, 0, 0], atol=1e-6)
    yaw, pitch, roll = estimate_pose(turned(roll=degrees))
    np.testing.assert_allclose([yaw[0], pitch[0], roll[0]], [0, 0, degrees], atol=1e-6)
    _, pitch, _ = estimate_pose(turned(pitch=degrees))
    np.testing.assert_allclose(pitch, degrees, atol=1e-6)


def test_landmarks_in_one_place_have_no_pose():
    assert np.isnan(estimate_pose(np.ones((1, 5, 2)))).all()
    assert [len(angle) for angle in estimate_pose(np.empty((0, 5, 2)))] == [0, 0, 0]


@pytest.fixture(scope="module")
def photo():
    return make_affect_faces(1, image_size=256, random_state=0).data[0]


def measure(image):
    (faces,) = FaceAligner().detect_frames([image])
    assert len(faces) == 1
    return measure_quality(image, faces)


def test_blur_takes_sharpness_and_nothing_else(photo):
    sharp = measure(photo)
    blurred = [measure(cv2.GaussianBlur(photo, (0, 0), sigma)) for sigma in (3, 8)]
    found = [quality.sharpness[0] for quality in (sharp, *blurred)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.5 * found[0]
    assert blurred[0].width[0] == pytest.approx(sharp.width[0], rel=0.1)


def test_sharpness_is_that_of_the_face_at_any_size_and_contrast(photo):
    whole = measure(photo).sharpness[0]
    large = measure(cv2.resize(photo, (512, 512), interpolation=cv2.INTER_CUBIC))
    assert large.sharpness[0] == pytest.approx(whole, rel=0.25)
    assert large.width[0] == pytest.approx(2 * measure(photo).width[0], rel=0.1)
    faint = (64 + photo // 2).astype(np.uint8)
    assert measure(faint).sharpness[0] == pytest.approx(whole, rel=0.15)


def compressed(image, quality):
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(code, cv2.IMREAD_COLOR)


def test_strong_compression_leaves_blocks_wherever_the_picture_begins(photo):
    # Noise, as in a photo: drawn areas of one colour have no steps but those of the blocks.
    noise = np.random.default_rng(0).normal(0, 6, photo.shape)
    photo = np.clip(photo + noise, 0, 255).astype(np.uint8)
    (faces,) = FaceAligner().detect_frames([photo])
    plain, mild, strong = (
        measure_quality(image, faces).blockiness[0]
        for image in (photo, compressed(photo, 90), compressed(photo, 10))
    )
    assert plain < 1.3
    assert mild < 1.5
    assert strong > 2.2
    moved = Detections(faces.boxes - 3, faces.scores, faces.landmarks - 3)
    cropped = measure_quality(compressed(photo, 10)[3:, 3:], moved).blockiness[0]
    assert cropped == pytest.approx(strong, rel=0.1)
    # A box of a few pixels, and a picture of one colour, have no blocks.
    small = Detections(faces.boxes[:, [0, 1, 0, 1]] + [0, 0, 20, 20], faces.scores, faces.landmarks)
    assert measure_quality(photo, small).blockiness[0] == 1
    assert measure_quality(np.full_like(photo, 90), faces).blockiness[0] == 1


def test_a_face_at_the_edge_and_none(photo):
    (faces,) = FaceAligner().detect_frames([photo])
    moved = Detections(faces.boxes - 150, faces.scores, faces.landmarks - 150)
    assert np.isfinite(measure_quality(photo, moved).sharpness).all()
    empty = measure_quality(photo, faces[:0])
    assert empty.width.shape == empty.sharpness.shape == empty.confidence.shape == (0,)
