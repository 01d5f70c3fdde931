import numpy as np
import pytest

from persona_affect.annotation import draw_faces
from persona_affect.annotation._overlay import COLOURS

NAN = float("nan")


def row(face, x, y, side, **targets):
    where = {"x": x, "y": y, "width": side, "height": side, "confidence": 1.0}
    return {"frame": 0, "time": 0.0, "face": face, **where, **targets}


def same_colour(image, face):
    return (np.abs(image.astype(int) - COLOURS[face]).max(axis=-1) < 3).sum()


def test_the_picture_given_is_not_changed():
    image = np.full((200, 300, 3), 90, np.uint8)
    drawn = draw_faces(image, [row(0, 50, 50, 80, happy=0.5)], ["happy"])
    assert (image == 90).all()
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert (drawn != 90).any()


def test_each_face_has_its_colour():
    image = np.full((400, 600, 3), 90, np.uint8)
    drawn = draw_faces(image, [row(0, 50, 50, 80), row(1, 300, 50, 80)], [])
    assert same_colour(drawn, 0) > 300
    assert same_colour(drawn, 1) > 300
    assert same_colour(drawn, 2) == 0
    # Numbers repeat colours; more faces than colours are drawn all the same.
    draw_faces(image, [row(100, 50, 50, 80)], [])


def test_bars_grow_with_the_values():
    image = np.full((400, 600, 3), 90, np.uint8)
    counts = [
        same_colour(draw_faces(image, [row(0, 20, 80, 100, happy=value)], {"happy": (0, 10)}), 0)
        for value in (0, 2.5, 5, 10, 12)
    ]
    assert counts == sorted(counts)
    assert counts[0] < counts[1] < counts[2] < counts[3] == counts[4]


def test_arousal_and_valence_go_from_minus_one_to_one():
    image = np.full((400, 600, 3), 90, np.uint8)
    by_name = draw_faces(image, [row(0, 20, 80, 100, valence=-0.2)], ["valence"])
    by_range = draw_faces(image, [row(0, 20, 80, 100, valence=-0.2)], {"valence": (-1, 1)})
    np.testing.assert_array_equal(by_name, by_range)


def test_bars_lie_beside_the_face_where_there_is_room():
    image = np.full((400, 800, 3), 90, np.uint8)
    for x in (20, 600):
        drawn = draw_faces(image, [row(0, x, 100, 150, happy=0.5)], ["happy"], caption="")
        inside = drawn[125:240, x + 10 : x + 140]
        assert (inside == 90).all()


def test_text_is_larger_on_larger_pictures():
    heights = []
    for size in (240, 720, 2160):
        image = np.zeros((size, size, 3), np.uint8)
        drawn = draw_faces(image, [], ["happy"])
        rows = np.flatnonzero(drawn.any(axis=(1, 2)))
        heights.append(rows.max() - rows.min())
    assert heights[0] >= 8
    assert heights[1] > 1.3 * heights[0]
    assert heights[2] > 2 * heights[1]


@pytest.mark.parametrize("shape", [(1, 1), (20, 30), (64, 64), (64, 2000)])
def test_any_size_of_picture(shape):
    image = np.full((*shape, 3), 90, np.uint8)
    targets = [f"target {i}" for i in range(7)]
    faces = [
        row(0, -50.5, -20, 40, **dict.fromkeys(targets, 0.5)),
        row(1, shape[1] - 10, shape[0] - 5, 90, **dict.fromkeys(targets, 1e9)),
        row(2, 2, 2, 10, **dict.fromkeys(targets, NAN)),
    ]
    assert draw_faces(image, faces, targets).shape == image.shape


def test_a_frame_without_a_face_shows_only_the_caption():
    image = np.full((240, 320, 3), 90, np.uint8)
    nothing = {**row(0, 0, 0, 0), **dict.fromkeys(("face", "x", "y", "width", "height"), NAN)}
    drawn = draw_faces(image, [nothing], ["happy"])
    assert (drawn[:200] == 90).all()
    assert (drawn[200:] != 90).any()
    assert (draw_faces(image, [nothing], ["happy"], caption="") == 90).all()
