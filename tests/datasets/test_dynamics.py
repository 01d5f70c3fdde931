import numpy as np
import pandas as pd
import pytest

from persona_affect.datasets import make_dynamic_clips
from persona_affect.datasets._dynamics import STYLE_NAMES, TASKS, _draw_drive


@pytest.fixture(scope="module")
def bunch():
    return make_dynamic_clips(3, 2, n_frames=6, tasks=("free", "reading"), random_state=0)


def test_shapes_and_order(bunch):
    assert bunch.data.dtype == object
    assert {clip.shape for clip in bunch.data} == {(6, 112, 96, 3)}
    assert {clip.dtype for clip in bunch.data} == {np.dtype(np.uint8)}
    assert bunch.groups.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert bunch.tasks.tolist() == ["free", "free", "reading", "reading"] * 3
    assert [drive.shape for drive in bunch.drive] == [(6, 2)] * 12
    assert bunch.target.shape == (12, 5)
    assert bunch.target.iloc[0].equals(bunch.target.iloc[3])


def test_same_seed_same_bytes():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = (make_dynamic_clips(2, n_frames=4, random_state=5) for _ in range(2))
    other = make_dynamic_clips(2, n_frames=4, random_state=6)
    for one, same in zip(first.data, again.data, strict=True):
        np.testing.assert_array_equal(one, same)
    pd.testing.assert_frame_equal(first.target, again.target)
    assert not np.array_equal(first.data[0], other.data[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_task_shows_only_its_styles(bunch):
    reading = bunch.clip_styles[bunch.tasks == "reading"]
    assert (reading[["tempo", "lead", "pauses"]] == 0).all(axis=None)
    assert (reading[["asymmetry", "amplitude"]] != 0).all(axis=None)


def test_traits_of_look_emotion_and_movement():
    settings = {"n_frames": 3, "random_state": 0}
    bunch = make_dynamic_clips(
        40, 1, static_weight=1.0, emotion_weight=0.5, noise_weight=0.0, **settings
    )
    parts = bunch.parts
    z = (parts.movement + parts.static + 0.5 * parts.emotion) / 1.5
    np.testing.assert_allclose(bunch.target, (0.5 + 0.15 * z).clip(0, 1))
    assert bunch.noise_ceiling.loc["free"].max() < 1 / 1.5
    # A smile is seen in the corners of the mouth; without the weight, nobody shows an emotion.
    assert parts.emotion.std().min() > 0.5
    plain = make_dynamic_clips(40, 1, **settings)
    assert (plain.parts.emotion == 0).all(axis=None)


def test_same_look_is_one_face():
    clips = make_dynamic_clips(4, 1, n_frames=2, same_look=True, random_state=0)
    # Hair and skin: the top of the head differs only by the light.
    means = np.array([clip[:, :20, 30:66].mean((0, 1, 2)) for clip in clips.data])
    varied = make_dynamic_clips(4, 1, n_frames=2, random_state=0)
    others = np.array([clip[:, :20, 30:66].mean((0, 1, 2)) for clip in varied.data])
    assert means.std(0).max() < 0.5 * others.std(0).max()


@pytest.fixture(scope="module")
def drives():
    rng = np.random.RandomState(0)
    styles = rng.uniform(-1, 1, (400, 5))
    return styles, [_draw_drive(style, 400, rng) for style in styles]


def _correlations(styles, values):
    return pd.Series(
        [np.corrcoef(style, values)[0, 1] for style in styles.T], index=list(STYLE_NAMES)
    )


def test_single_frames_tell_amplitude_alone(drives):
    styles, courses = drives
    # What the distribution of levels shows: quantiles of the drive, each against each style.
    for q in (0.1, 0.5, 0.9):
        r = _correlations(styles, np.array([np.quantile(x[:, 0], q) for x in courses]))
        assert r.drop("amplitude").abs().max() < 0.17
    spread = _correlations(styles, np.array([x[:, 0].std() for x in courses]))
    assert spread["amplitude"] > 0.9


def test_styles_show_in_the_course_of_time(drives):
    styles, courses = drives
    moves = [np.sign(np.round(np.diff(x[:, 0]), 9)) for x in courses]
    held = _correlations(styles, np.array([(m == 0).mean() for m in moves]))
    assert held["pauses"] > 0.7
    onset = _correlations(styles, np.array([(m > 0).sum() / (m != 0).sum() for m in moves]))
    assert onset["asymmetry"] < -0.9
    turns = _correlations(
        styles, np.array([(np.diff(m[m != 0]) != 0).sum() / (m != 0).sum() for m in moves])
    )
    assert turns["tempo"] > 0.9

    def lag(x):
        upper, lower = (x - x.mean(0)).T
        shifts = range(-8, 9)
        return max(shifts, key=lambda k: np.dot(upper[8:-8], np.roll(lower, -k)[8:-8]))

    assert _correlations(styles, np.array([lag(x) for x in courses]))["lead"] > 0.8


def test_noise_ceiling_is_that_of_the_true_styles():
    bunch = make_dynamic_clips(
        400, 1, n_frames=2, tasks=("free",), image_size=48, random_state=0, session_jitter=0.3
    )
    for style, trait in zip(STYLE_NAMES, bunch.target_names, strict=True):
        r = np.corrcoef(bunch.clip_styles[style], bunch.target[trait])[0, 1]
        assert r == pytest.approx(bunch.noise_ceiling.loc["free", trait], abs=0.04)


def test_a_fused_ceiling_is_above_each_task():
    bunch = make_dynamic_clips(1, 1, n_frames=2, tasks=("reading", "talking"), random_state=0)
    ceiling = bunch.noise_ceiling
    assert (ceiling.loc["fused"] >= ceiling.drop("fused").max() - 1e-12).all()
    assert ceiling.loc["fused", "agreeableness"] == 0
    assert (TASKS.loc["lead", ["reading", "talking"]] == 0).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_persons": 0}, "n_persons"),
        ({"n_frames": 1}, "n_frames"),
        ({"tasks": ()}, "tasks"),
        ({"tasks": "free"}, "tasks"),
        ({"tasks": ("singing",)}, "singing"),
        ({"session_jitter": -1}, "session_jitter"),
        ({"noise_weight": np.nan}, "noise_weight"),
        ({"image_size": 20}, "image_size"),
    ],
)
def test_wrong_parameters_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        make_dynamic_clips(**{"n_persons": 1, "n_frames": 2, **wrong})
