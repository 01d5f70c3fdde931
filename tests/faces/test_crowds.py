"""Images with more faces than are allowed."""

import numpy as np
import pytest

from persona_affect import FaceAligner
from persona_affect.faces import (
    Detections,
    DetectorSpec,
    detect_faces,
    register_detector,
)
from persona_affect.faces import _detectors as registry
from persona_affect.faces import _mtcnn as mtcnn


def assert_equal(found, expected):
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.landmarks, expected.landmarks)


@pytest.fixture(scope="module")
def crowd(drawn_faces):
    """A photo of 100 faces."""
    small = drawn_faces[0, 20:140:2, 20:140:2]
    return np.tile(small, (10, 10, 1))


def test_the_search_ends_in_a_crowd_and_goes_on_in_other_photos(crowd, drawn_faces, monkeypatch):
    examined = []
    refine_candidates = mtcnn.refine_candidates

    def count(tables, candidates, *arguments):
        examined.append(len(candidates.boxes))
        return refine_candidates(tables, candidates, *arguments)

    monkeypatch.setattr(mtcnn, "refine_candidates", count)
    other = drawn_faces[1]
    whole, others = detect_faces([crowd, other])
    assert len(whole) > 50
    examined.clear()
    detect_faces([other])
    (n_others,) = examined
    examined.clear()
    part, same = detect_faces([crowd, other], max_faces=4)
    assert 4 < len(part) < len(whole)
    assert examined == [5 * mtcnn.SAMPLED, n_others]
    assert_equal(same, others)


def test_fewer_faces_than_the_limit_are_found_as_without_it(crowd, group_photo):
    photos = [crowd, group_photo]
    for found, expected in zip(
        detect_faces(photos, max_faces=100), detect_faces(photos), strict=True
    ):
        assert_equal(found, expected)


@pytest.mark.parametrize("upright", ["exif", "search"])
def test_turned_faces_of_a_crowd_are_not_looked_at_again(upright, monkeypatch):
    monkeypatch.setattr(registry, "_specs", dict(registry._specs))
    looked = []

    def detect(images, *, min_face_size, thresholds, device):
        corners = np.array([[20.0, 20.0, 60.0, 60.0]] * 5, np.float32)
        # Eyes above each other: turned by 90 degrees.
        points = np.array([[50, 30], [50, 50], [40, 40], [30, 32], [30, 48]], np.float32)
        return [Detections(corners, np.ones(5, np.float32), np.stack([points] * 5)) for _ in images]

    def look_again(copies, boxes, *, min_face_size, thresholds, device):
        looked.extend(copies)
        return [Detections.none() for _ in copies]

    register_detector(DetectorSpec("five", detect, digest=lambda: "1", look_again=look_again))
    aligner = FaceAligner(detector="five", upright=upright)
    photo = np.zeros((80, 80, 3), np.uint8)
    (found,) = aligner.detect_frames([photo], max_faces=4)
    assert len(found) == 5
    assert not looked
    aligner.detect_frames([photo], max_faces=5)
    assert looked
