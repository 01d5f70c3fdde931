"""One person through a clip, and faces that are not upright."""

import warnings

import cv2
import numpy as np
import pytest

from persona_affect import FaceAligner
from persona_affect.exceptions import MediaWarning
from persona_affect.faces import Detections, _upright


def scene(left, right, sizes, swapped=False):
    """Show two faces side by side, each of its own size."""
    image = np.full((240, 480, 3), 90, np.uint8)
    for face, size, x in zip((left, right), sizes, (240, 0) if swapped else (0, 240), strict=True):
        y, x = 120 - size // 2, x + 120 - size // 2
        image[y : y + size, x : x + size] = cv2.resize(
            face, (size, size), interpolation=cv2.INTER_AREA
        )
    return image


def distance(face, other):
    """Compare two aligned faces at a few pixels: their landmarks differ a little."""
    small = [
        cv2.resize(f, (12, 14), interpolation=cv2.INTER_AREA).astype(float) for f in (face, other)
    ]
    return np.abs(small[0] - small[1]).mean()


@pytest.fixture(scope="module")
def two(drawn_faces):
    """Two persons who look different, and the aligned face of each."""
    faces = [clip[0] for clip in FaceAligner().transform(drawn_faces)]
    others = [distance(faces[0], face) for face in faces]
    photos = drawn_faces[0], drawn_faces[int(np.argmax(others))]
    return photos, FaceAligner().transform(list(photos))


def persons(clip, alone):
    """Say whose face each frame of a face clip shows."""
    return [int(np.argmin([distance(face, other[0]) for other in alone])) for face in clip]


SIZES = [(220, 90), (190, 120), (170, 140), (140, 170), (120, 180), (110, 190)]


@pytest.mark.parametrize("swapped", [False, True])
def test_two_people_who_swap_sizes_are_never_mixed(two, swapped):
    photos, alone = two
    # The first is larger at first, and over the whole clip.
    clip = np.stack([scene(*photos, sizes, swapped) for sizes in SIZES])
    (one,) = FaceAligner(n_frames=None).transform([clip])
    assert persons(one, alone) == [0] * 6
    (mixed,) = FaceAligner(n_frames=None, select_over="frame").transform([clip])
    assert persons(mixed, alone) == [0, 0, 0, 1, 1, 1]


def test_a_batch_ends_within_a_clip(two):
    photos, alone = two
    clip = np.stack([scene(*photos, sizes) for sizes in SIZES])
    whole = FaceAligner(n_frames=None).transform([clip, photos[1], clip[::-1]])
    assert [persons(c, alone) for c in whole] == [[0] * 6, [1], [0] * 6]
    small = FaceAligner(n_frames=None, batch_size=4).transform([clip, photos[1], clip[::-1]])
    assert [persons(c, alone) for c in small] == [[0] * 6, [1], [0] * 6]


def test_who_is_away_for_some_frames_is_left_out_there(two):
    photos, alone = two
    clip = np.stack([scene(*photos, (200, 100)) for _ in range(5)])
    clip[2:4, :, :240] = 90
    (one,) = FaceAligner(n_frames=None).transform([clip])
    assert persons(one, alone) == [0] * 3


def test_people_who_change_places_keep_their_faces(two):
    photos, alone = two
    clip = np.stack([scene(*photos, (200, 170), swapped) for swapped in (0, 0, 1, 1, 0)])
    (one,) = FaceAligner(n_frames=None).transform([clip])
    assert persons(one, alone) == [0] * 5


def test_the_person_is_chosen_by_select(two):
    photos, alone = two
    clip = np.stack([scene(*photos, (210, 120)) for _ in range(3)])[:, :, 60:]
    for select, person in (("largest", 0), ("centre", 1)):
        clip_of = FaceAligner(n_frames=None, select=select).transform([clip[:, :, 40:]])
        assert persons(clip_of[0], alone) == [person] * 3, select


def turned(photo, angle):
    side = int(1.5 * len(photo))
    matrix = cv2.getRotationMatrix2D((len(photo) / 2, len(photo) / 2), angle, 1.0)
    matrix[:, 2] += (side - len(photo)) / 2
    return cv2.warpAffine(photo, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("n_turns", [0, 1, 2, 3])
def test_photos_on_their_side_are_turned_by_search(drawn_faces, n_turns):
    photos = [photo[:, :150] for photo in drawn_faces[:4]]
    lying = [np.ascontiguousarray(np.rot90(photo, n_turns)) for photo in photos]
    aligner = FaceAligner(upright="search")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = aligner.transform(lying)
    for face, expected in zip(found, FaceAligner().transform(photos), strict=True):
        # The warp rounds coordinates to 1/32 pixel.
        assert np.abs(face.astype(float) - expected).mean() < 1.5
    for faces, photo in zip(aligner.detect(lying), lying, strict=True):
        assert (faces.landmarks >= 0).all()
        assert (faces.landmarks < photo.shape[1::-1]).all()
        roll = _upright.measure_roll(faces.landmarks[:1])[0]
        assert np.cos(np.radians(roll + 90 * n_turns)) > 0.9
        (again,) = aligner.follow_frames([photo], [faces.boxes[:1]])
        np.testing.assert_allclose(again.landmarks[0], faces.landmarks[0], atol=6)


def test_a_face_turned_by_more_than_sixty_degrees_is_reported(drawn_faces):
    photos = [drawn_faces[2], turned(drawn_faces[2], -75)]
    expected = r'1 of 2 samples.*\n- sample 1 .*turned by 7\d degrees.*"search"'
    with pytest.warns(MediaWarning, match=expected):
        clips = FaceAligner().transform(photos)
    assert [len(clip) for clip in clips] == [1, 1]


@pytest.mark.parametrize("n_turns", [0, 1, 2, 3])
def test_photos_and_clips_that_are_not_upright_are_reported(drawn_faces, faceless, n_turns):
    photos = [np.ascontiguousarray(np.rot90(photo, n_turns)) for photo in drawn_faces[:4]]
    samples = [*photos, np.stack(photos[:1] * 3), faceless]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MediaWarning)
        clips = FaceAligner().transform(samples)
    # Without a face, or with one whose numbers are wrong: neither may be silent.
    assert len(clips) == 6
    if n_turns == 0:
        assert caught == []
        return
    (warning,) = caught
    lines = str(warning.message).splitlines()
    assert "5 of 6 samples" in lines[0]
    for row, line in enumerate(lines[1:]):
        assert line.startswith(f"- sample {row} ")
        assert "turned by" in line
        assert 'upright="search"' in line


@pytest.mark.parametrize("angle", [-45, 35])
@pytest.mark.parametrize("detector", ["mtcnn", "yunet"])
def test_a_head_that_leans_is_not_reported(drawn_faces, detector, angle):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clips = FaceAligner(detector=detector).transform(
            [turned(photo, angle) for photo in drawn_faces[:4]]
        )
    assert [len(clip) for clip in clips] == [1] * 4


def test_a_person_who_is_upright_in_some_frames_is_not_reported(drawn_faces):
    dark = (drawn_faces[0] * 0.1).astype(np.uint8)
    clip = np.stack([drawn_faces[0], dark, np.rot90(drawn_faces[0], 2)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FaceAligner(n_frames=None).transform([clip])


@pytest.mark.parametrize("angle", [-60, -45, -25, -15, 15, 25, 45, 60])
def test_landmarks_of_turned_faces_are_those_of_upright_ones(drawn_faces, angle):
    photos = list(drawn_faces[:4])
    upright = FaceAligner().detect([turned(photo, 0) for photo in photos])
    found = FaceAligner().detect([turned(photo, angle) for photo in photos])
    middle = len(turned(photos[0], 0)) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), angle, 1.0)
    errors = []
    for faces, expected in zip(found, upright, strict=True):
        points = expected.landmarks[0] @ matrix[:, :2].T + matrix[:, 2]
        eyes = np.hypot(*(points[1] - points[0]))
        errors.append(np.hypot(*(faces.landmarks[0] - points).T).mean() / eyes)
    # Without a second look, the mean was 0.04 at 25 degrees and 0.3 at 75.
    print(f"{angle}: mean {np.mean(errors):.3f}, largest {max(errors):.3f} of the eyes' distance")
    assert np.mean(errors) < 0.05


def test_upright_faces_have_the_landmarks_of_the_first_look(drawn_faces):
    def never(images, min_face_size):
        raise AssertionError("an upright face was detected again")

    landmarks = np.array([[[10, 10], [30, 10.0], [20, 20], [12, 32], [28, 32]]], np.float32)
    faces = Detections(np.array([[0, 0, 40, 40.0]], np.float32), np.ones(1, np.float32), landmarks)
    (same,) = _upright.refine_turned([drawn_faces[0]], [faces], never, 20)
    np.testing.assert_array_equal(same.landmarks, landmarks)
