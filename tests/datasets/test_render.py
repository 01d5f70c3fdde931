from dataclasses import replace

import numpy as np
import pytest

from persona_affect.datasets._face_parameters import (
    GEOMETRY_NAMES,
    HAIR_STYLES,
    FaceExpression,
    FaceIdentity,
    FaceScene,
    draw_identity,
    draw_scene,
    expression_from_emotion,
)
from persona_affect.datasets._render import render_face


@pytest.fixture
def identity():
    return FaceIdentity(
        geometry=np.zeros(len(GEOMETRY_NAMES)),
        skin=(236, 194, 160),
        hair=(40, 30, 25),
        eyes=(90, 60, 30),
        hair_style="short",
    )


@pytest.mark.parametrize("size", [48, 128, 201])
def test_a_face_is_rgb_with_landmarks_inside(identity, size):
    image, landmarks = render_face(identity, FaceExpression(), FaceScene(), size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert landmarks.shape == (5, 2)
    assert landmarks.min() > 0.2 * size
    assert landmarks.max() < 0.9 * size


def test_rendering_depends_on_its_arguments_alone():
    rng = np.random.RandomState(0)
    face = draw_identity(rng), expression_from_emotion(0.3, -0.4), draw_scene(rng)
    first, _ = render_face(*face)
    second, _ = render_face(*face)
    np.testing.assert_array_equal(first, second)
    other, _ = render_face(*face[:2], draw_scene(rng))
    assert not np.array_equal(first, other)


def test_landmarks_follow_the_pose(identity):
    scene = FaceScene()
    _, upright = render_face(identity, FaceExpression(), scene)
    posed = replace(scene, roll=30, x=0.45, y=0.55, scale=0.25)
    _, turned = render_face(identity, FaceExpression(), posed)
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    about = np.array([0.5, 0.5]) * 128 - 0.5
    expected = (upright - about) @ turn.T * (0.25 / 0.3) + np.array([0.45, 0.55]) * 128 - 0.5
    np.testing.assert_allclose(turned, expected, atol=1e-9)


def test_the_eyes_are_where_the_landmarks_say(identity):
    image, landmarks = render_face(identity, FaceExpression(eye_open=0.8), FaceScene(), 256)
    for x, y in np.rint(landmarks[:2]).astype(int):
        pupil = image[y - 1 : y + 2, x - 1 : x + 2].mean()
        cheek = image[y + 25 : y + 30, x - 2 : x + 3].mean()
        assert pupil < 0.35 * cheek


def test_the_picture_does_not_depend_on_the_resolution(identity):
    large, at_large = render_face(identity, FaceExpression(), FaceScene(), 256)
    small, at_small = render_face(identity, FaceExpression(), FaceScene(), 128)
    np.testing.assert_allclose(at_large, 2 * at_small + 0.5, atol=1e-9)
    halved = large.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - small).mean() < 4


@pytest.mark.parametrize("name", GEOMETRY_NAMES)
def test_every_measure_of_the_shape_is_visible(identity, name):
    low, high = identity.geometry.copy(), identity.geometry.copy()
    index = GEOMETRY_NAMES.index(name)
    low[index], high[index] = -1, 1
    scene = FaceScene()
    first, _ = render_face(replace(identity, geometry=low), FaceExpression(), scene)
    second, _ = render_face(replace(identity, geometry=high), FaceExpression(), scene)
    changed = np.abs(first.astype(int) - second).max(axis=2) > 20
    assert changed.sum() > 50


@pytest.mark.parametrize("style", HAIR_STYLES)
def test_every_hair_style_leaves_the_features_free(identity, style):
    bald, landmarks = render_face(
        replace(identity, hair_style="shaved"), FaceExpression(), FaceScene()
    )
    styled, _ = render_face(replace(identity, hair_style=style), FaceExpression(), FaceScene())
    (left, top), (right, bottom) = landmarks[0] - (6, 8), landmarks[4] + 6
    inner = np.s_[int(top) : int(bottom), int(left) : int(right)]
    # Long hair lies behind the head, and shows faintly through its smoothed edge.
    np.testing.assert_allclose(bald[inner], styled[inner], atol=4)


def test_arousal_opens_eyes_and_mouth_and_raises_brows():
    faces = [expression_from_emotion(arousal, 0.2) for arousal in np.linspace(-1, 1, 21)]
    for name in ("eye_open", "mouth_open", "brow_raise"):
        assert np.all(np.diff([getattr(face, name) for face in faces]) > 0)


def test_valence_bends_the_mouth_and_turns_the_brows_and_raises_the_cheeks():
    faces = [expression_from_emotion(-0.2, valence) for valence in np.linspace(-1, 1, 21)]
    for name in ("mouth_curve", "mouth_width", "brow_angle"):
        assert np.all(np.diff([getattr(face, name) for face in faces]) > 0)
    raised = [face.cheek_raise for face in faces]
    assert raised[:11] == [0] * 11
    assert np.all(np.diff(raised[10:]) > 0)


def test_a_smile_lifts_the_corners_of_the_mouth(identity):
    corners = [
        render_face(identity, expression_from_emotion(0, valence), FaceScene())[1][3:, 1].mean()
        for valence in (-1, 0, 1)
    ]
    assert corners[0] > corners[1] + 1 > corners[2] + 2


def test_open_eyes_show_more_white(identity):
    def white(arousal: float) -> int:
        image, marks = render_face(identity, expression_from_emotion(arousal, 0), FaceScene(), 256)
        x, y = np.rint(marks[0]).astype(int)
        eye = image[y - 12 : y + 13, x - 14 : x + 15].astype(int)
        # The white of the eye is grey; skin is not.
        return int(((eye[..., 0] - eye[..., 2] < 25) & (eye.min(axis=2) > 120)).sum())

    counts = [white(arousal) for arousal in (-1, 0, 1)]
    assert counts[0] < counts[1] < counts[2]


def test_the_lit_side_is_brighter(identity):
    scene = FaceScene(light=(0.8, 0.0), light_strength=0.5)
    image, landmarks = render_face(identity, FaceExpression(), scene)
    row = int(landmarks[2, 1]) + 3
    left, right = int(landmarks[0, 0]), int(landmarks[1, 0])
    cheeks = image[row - 2 : row + 3]
    assert cheeks[:, right - 2 : right + 3].mean() > 1.1 * cheeks[:, left - 2 : left + 3].mean()
