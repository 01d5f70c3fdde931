import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, RidgeCV

from persona_affect.datasets import make_affect_clips, make_affect_faces
from persona_affect.datasets._ratings import noise_ceiling, rate, trait_parts
from persona_affect.faces import TEMPLATES, FaceAligner
from persona_affect.metrics import ccc_score, pearson_score

TRAITS = ["extraversion", "agreeableness", "conscientiousness", "neuroticism", "openness"]
EMOTION = ["arousal", "valence"]


def _equal(first, second):
    assert first.keys() == second.keys()
    for a, b in zip(first.data, second.data, strict=True):
        np.testing.assert_array_equal(a, b)
    pd.testing.assert_frame_equal(first.truth, second.truth)


@pytest.fixture(scope="module")
def faces():
    return make_affect_faces(n_persons=300, aligned=True, random_state=0)


@pytest.mark.parametrize("maker", [make_affect_faces, make_affect_clips])
def test_same_seed_same_bytes(maker):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = maker(4, random_state=5)
    _equal(first, maker(4, random_state=5))
    _equal(first, maker(4, random_state=np.random.RandomState(5)))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    other = maker(4, random_state=6)
    assert not np.array_equal(first.data[0], other.data[0])


def test_photos():
    bunch = make_affect_faces(3, 2, image_size=96, random_state=0)
    assert bunch.data.shape == (12, 96, 96, 3)
    assert bunch.data.dtype == np.uint8
    assert bunch.landmarks.shape == (12, 5, 2)
    assert bunch.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert bunch.domain.tolist() == [0] * 6 + [1] * 6
    assert [len(frames) for frames in bunch.frame_emotions] == [1] * 12
    # Two photos show one person: one look, another moment.
    assert bunch.causes.iloc[0].equals(bunch.causes.iloc[1])
    assert not bunch.truth.iloc[0].equals(bunch.truth.iloc[1])


def test_clips_and_photos():
    bunch = make_affect_clips(3, 2, n_frames=5, image_size=64, random_state=0)
    assert bunch.data.dtype == object
    assert [item.shape for item in bunch.data] == [(5, 64, 64, 3)] * 6 + [(64, 64, 3)] * 6
    assert [marks.shape for marks in bunch.landmarks] == [(5, 5, 2)] * 6 + [(1, 5, 2)] * 6
    aligned = make_affect_clips(1, n_frames=5, aligned=True, random_state=0)
    assert [item.shape for item in aligned.data] == [(5, 112, 96, 3), (1, 112, 96, 3)]


@pytest.mark.parametrize("maker", [make_affect_faces, make_affect_clips])
@pytest.mark.parametrize(("half", "domain"), [("personality", 0), ("emotion", 1)])
def test_one_half_alone(maker, half, domain):
    bunch = maker(3, halves=half, random_state=0)
    assert bunch.domain.tolist() == [domain] * 3
    assert bunch.noise_ceiling.index.get_level_values("half").unique().tolist() == [half]


def test_only_what_a_half_is_rated_on_is_known(faces):
    assert faces.target.columns.tolist() == faces.target_names == TRAITS + EMOTION
    known = faces.target.notna().to_numpy()
    np.testing.assert_array_equal(known[faces.domain == 0], [[True] * 5 + [False] * 2] * 300)
    np.testing.assert_array_equal(known[faces.domain == 1], [[False] * 5 + [True] * 2] * 300)
    assert faces.truth.notna().all(axis=None)
    np.testing.assert_array_equal(faces.target.to_numpy()[known], faces.truth.to_numpy()[known])
    assert not set(faces.groups[faces.domain == 0]) & set(faces.groups[faces.domain == 1])


def test_ratings_are_in_range(faces):
    assert faces.truth[TRAITS].min().min() >= 0
    assert faces.truth[TRAITS].max().max() <= 1
    assert faces.truth[EMOTION].abs().max().max() <= 1
    assert faces.truth[TRAITS].std().between(0.12, 0.18).all()
    assert faces.truth[EMOTION].std().between(0.3, 0.45).all()


def test_a_clip_moves_about_the_emotion_it_is_rated_on():
    clips = make_affect_clips(10, n_frames=7, image_size=48, random_state=0)
    means = np.array([frames.mean(axis=0) for frames in clips.frame_emotions])
    np.testing.assert_allclose(means, clips.truth[EMOTION])
    spread = np.array([np.ptp(frames, axis=0) for frames in clips.frame_emotions[:10]])
    assert spread.min() > 0.3
    stills = [np.ptp(clip.astype(int), axis=0).max() for clip in clips.data[:10]]
    assert min(stills) > 50


def test_the_shift_changes_the_pictures_of_the_emotion_half_only():
    plain, shifted = (
        make_affect_faces(60, domain_shift=shift, random_state=0) for shift in (0.0, 1.0)
    )
    emotion = plain.domain == 1
    np.testing.assert_array_equal(plain.data[~emotion], shifted.data[~emotion])
    pd.testing.assert_frame_equal(plain.target, shifted.target)
    before, after = plain.data[emotion].astype(float), shifted.data[emotion].astype(float)
    # Green is the channel without a cast.
    contrast = after[..., 1].std(axis=(1, 2)) / before[..., 1].std(axis=(1, 2))
    assert contrast.mean() == pytest.approx(1 / 1.5, rel=0.1)
    warmth = (after[..., 0] - after[..., 2]).mean() - (before[..., 0] - before[..., 2]).mean()
    assert warmth > 15
    # The sharpest edges, beyond what contrast takes from them.
    edges = [
        np.quantile(np.abs(np.diff(images[..., 1], axis=1)), 0.995) for images in (before, after)
    ]
    assert edges[1] < 0.8 * edges[0] / 1.5
    eyes = [
        np.linalg.norm(marks[emotion, 0] - marks[emotion, 1], axis=1)
        for marks in (plain.landmarks, shifted.landmarks)
    ]
    np.testing.assert_allclose(eyes[1], eyes[0] / 1.15)


def test_without_a_shift_the_halves_have_one_distribution():
    bunch = make_affect_faces(150, domain_shift=0, image_size=64, random_state=0)
    statistics = np.column_stack(
        [
            bunch.data.mean(axis=(1, 2)),
            bunch.data.std(axis=(1, 2, 3)),
            np.abs(np.diff(bunch.data.astype(float), n=2, axis=1)).mean(axis=(1, 2, 3)),
            bunch.truth,
        ]
    )
    halves = statistics[bunch.domain == 0], statistics[bunch.domain == 1]
    error = np.sqrt(sum(half.var(axis=0) / len(half) for half in halves))
    difference = np.abs(halves[0].mean(axis=0) - halves[1].mean(axis=0)) / error
    # Twelve statistics: beyond four standard errors by chance once in 1,300 seeds.
    assert difference.max() < 4


def test_the_weights_make_the_traits():
    bunch = make_affect_faces(
        40, static_weight=1, emotion_weight=2, noise_weight=2, image_size=48, random_state=0
    )
    weights, parts = bunch.weights, bunch.parts
    z = weights.static * parts.static + weights.emotion * parts.emotion
    z = (z + weights.noise * parts.noise) / 3
    pd.testing.assert_frame_equal(bunch.truth[TRAITS], (0.5 + 0.15 * z).clip(0, 1))
    # The parts follow from what is published of the samples, by the published terms.
    linear = np.sqrt(3) * bunch.causes.iloc[:, :8].to_numpy()
    square = np.sqrt(5) / 2 * (linear**2 - 1)
    expected = np.hstack([linear, square]) @ weights.static_terms.to_numpy()
    np.testing.assert_allclose(parts.static, expected)
    emotion = bunch.truth[EMOTION].to_numpy()
    terms = np.column_stack([emotion, emotion.prod(axis=1)])
    fit = LinearRegression().fit(terms, parts.emotion)
    np.testing.assert_allclose(fit.predict(terms), parts.emotion, atol=1e-9)


@pytest.fixture(scope="module", params=["photo", "clip"])
def population(request):
    """Ratings of 40,000 persons, drawn as the makers draw them but not rendered."""
    rng = np.random.RandomState(0)
    n, weights = 40_000, (1.0, 0.8, 0.7)
    emotion = rng.uniform(-0.5, 0.5, (n, 2)) + rng.uniform(-0.3, 0.3, (n, 2))
    if request.param == "photo":
        emotion += 0.2 * np.sin(rng.uniform(0, 2 * np.pi, (n, 2)))
    parts = trait_parts(rng.uniform(-1, 1, (n, 8)), emotion, rng.standard_normal((n, 5)))
    n_frames = {"personality": 1 if request.param == "photo" else 9}
    return parts, rate(parts, emotion, weights)[TRAITS], weights, noise_ceiling(weights, n_frames)


def test_the_ceilings_hold(population):
    parts, ratings, weights, table = population
    ceiling = table.loc["personality"].loc[TRAITS]
    both = weights[0] * parts.static + weights[1] * parts.emotion
    for suffix, prediction in (("", both), ("_from_emotion", parts.emotion)):
        r, ccc = f"r{suffix}", f"ccc{suffix}"
        for trait in TRAITS:
            x, y = prediction[[trait]].to_numpy(), ratings[trait].to_numpy()
            fitted = LinearRegression().fit(x, y).predict(x)
            assert pearson_score(y, fitted) == pytest.approx(ceiling.loc[trait, r], abs=0.01)
            assert ccc_score(y, fitted) == pytest.approx(ceiling.loc[trait, ccc], abs=0.01)
            stretched = y.mean() + (fitted - fitted.mean()) * y.std() / fitted.std()
            assert ccc_score(y, stretched) == pytest.approx(ceiling.loc[trait, r], abs=0.01)


def test_ceilings_at_the_ends():
    only_noise = noise_ceiling((0, 0, 1), {"personality": 9}).loc["personality"]
    assert (only_noise.loc[TRAITS] == 0).all(axis=None)
    no_noise = noise_ceiling((1, 1, 0), {"personality": 9}).loc["personality"]
    np.testing.assert_allclose(no_noise.loc[TRAITS, "r"], 1)
    np.testing.assert_allclose(no_noise.loc[TRAITS, "r_from_emotion"], np.sqrt(0.5))
    assert (no_noise.loc[EMOTION, ["r", "ccc"]] == 1).all(axis=None)


def test_aligned_faces_have_their_landmarks_on_the_template(faces):
    assert faces.data.shape == (600, 112, 96, 3)
    error = np.linalg.norm(faces.landmarks - TEMPLATES["sphereface"].landmarks, axis=2)
    assert error.mean() < 4
    # Similarities only: what a face keeps of its own shape is more than nothing.
    assert error.mean() > 0.5


@pytest.mark.parametrize("domain_shift", [0.0, 1.0, 2.0])
def test_the_aligner_finds_the_faces(domain_shift):
    bunch = make_affect_faces(
        100, halves="emotion", domain_shift=domain_shift, random_state=int(domain_shift)
    )
    found = FaceAligner().detect(bunch.data)
    hits = [photo for photo in range(100) if len(found[photo].boxes)]
    assert len(hits) >= 0.95 * 100
    # The rendered landmarks are where the detector sees them, to a tenth of the eyes' distance.
    error = [
        np.linalg.norm(found[photo].landmarks[0] - bunch.landmarks[photo], axis=1)
        / np.linalg.norm(bunch.landmarks[photo][0] - bunch.landmarks[photo][1])
        for photo in hits
    ]
    assert np.median(error, axis=0).max() < 0.12


def test_emotion_and_look_can_be_read_from_the_pixels(faces):
    halved = faces.data.reshape(600, 14, 8, 12, 8, 3).mean(axis=(2, 4)).reshape(600, -1) / 255
    wanted = np.hstack([faces.truth[EMOTION], faces.parts.static])
    for half in (0, 1):
        rows = np.flatnonzero(faces.domain == half)
        train, test = rows[:200], rows[200:]
        ridge = RidgeCV(np.logspace(-1, 4, 6)).fit(halved[train], wanted[train])
        error = ((ridge.predict(halved[test]) - wanted[test]) ** 2).mean(axis=0)
        constant = ((wanted[train].mean(axis=0) - wanted[test]) ** 2).mean(axis=0)
        skill = 1 - error / constant
        assert skill[:2].min() > 0.6
        assert skill[2:].mean() > 0.25


def test_skin_and_hair_carry_no_trait():
    bunch = make_affect_faces(600, halves="personality", image_size=48, random_state=0)
    r = np.corrcoef(bunch.causes["skin_lightness"], bunch.truth[TRAITS].T)[0, 1:]
    assert np.abs(r).max() < 4 / np.sqrt(600)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_persons": 0}, "n_persons must be an int, 1 or more; got 0"),
        ({"n_persons": 2.5}, "n_persons must be an int"),
        ({"n_faces_per_person": 0}, "n_faces_per_person must be"),
        ({"image_size": 20}, "image_size must be an int, 48 or more"),
        ({"domain_shift": -0.1}, "domain_shift must be a number, from 0 to 2; got -0.1"),
        ({"domain_shift": 3}, "domain_shift must be"),
        ({"noise_weight": float("nan")}, "noise_weight must be a number, 0 or more; got nan"),
        ({"static_weight": float("inf")}, "static_weight must be"),
        ({"emotion_weight": "1"}, "emotion_weight must be"),
        ({"static_weight": 0, "emotion_weight": 0, "noise_weight": 0}, "must not all be 0"),
        ({"halves": "faces"}, "halves must be 'both', 'personality' or 'emotion'; got 'faces'"),
    ],
)
def test_parameters_are_checked(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_affect_faces(**parameters)


def test_a_clip_has_two_frames_or_more():
    with pytest.raises(ValueError, match="n_frames must be an int, 2 or more; got 1"):
        make_affect_clips(2, n_frames=1)
