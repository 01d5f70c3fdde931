"""Synthetic persons, rated on apparent personality or on emotion, with known causes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state

from persona_affect.datasets._camera import align, photograph
from persona_affect.datasets._face_parameters import (
    GEOMETRY_NAMES,
    FaceIdentity,
    FaceScene,
    draw_identity,
    draw_scene,
    expression_from_emotion,
)
from persona_affect.datasets._ratings import (
    EMOTION_WEIGHTS,
    MOVEMENT,
    PERSON_RANGE,
    SAMPLE_RANGE,
    STATIC_WEIGHTS,
    noise_ceiling,
    rate,
    trait_parts,
)
from persona_affect.datasets._recipe import HALVES, Halves, Recipe, check_number
from persona_affect.datasets._render import render_face
from persona_affect.metrics import EMOTION_NAMES, PERSONALITY_NAMES


def make_affect_faces(
    n_persons: int = 200,
    n_faces_per_person: int = 1,
    *,
    halves: Halves = "both",
    domain_shift: float = 1.0,
    static_weight: float = 1.0,
    emotion_weight: float = 1.0,
    noise_weight: float = 0.5,
    image_size: int = 128,
    aligned: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    r"""Render photos of persons, some rated on their traits, others on their emotion.

    Every trait of a sample is :math:`0.5 + 0.15 z`, limited to [0, 1], with

    .. math:: z = (w_s s + w_e e + w_n n) / \sqrt{w_s^2 + w_e^2 + w_n^2}

    where :math:`s` depends on the shape of the face, :math:`e` on the mean arousal and valence that
    the sample shows, and :math:`n` is Gaussian noise; each has mean 0 and variance about 1.

    Parameters
    ----------
    n_persons : int, default=200
        Persons in each half. No person is in both halves.
    n_faces_per_person : int, default=1
        Photos of each person.
    halves : {"both", "personality", "emotion"}, default="both"
        Which halves to make. The personality half is rated on the five traits only, the emotion
        half on arousal and valence only.
    domain_shift : float, default=1.0
        How much the pictures of the emotion half differ, from 0 (both halves have the same
        distribution) to 2. At strength d their contrast is divided by 1 + 0.5 d, red is multiplied
        by exp(0.12 d) and blue by exp(-0.18 d), a Gaussian of standard deviation 0.7 d pixels (at a
        side of 128) blurs them, and the face is 1 + 0.15 d times smaller and 0.02 d of the side
        lower. The persons, their expressions and their ratings do not depend on it.
    static_weight, emotion_weight, noise_weight : float, default=1.0, 1.0, 0.5
        The weights :math:`w_s, w_e, w_n` above, 0 or more, not all 0.
    image_size : int, default=128
        Side of the square photos in pixels, 48 or more.
    aligned : bool, default=False
        Whether to return aligned faces (112 x 96 pixels, as `FaceAligner` makes them) in place of
        photos. They are aligned by their true landmarks, without a detector.
    random_state : int, RandomState instance or None, default=None
        Pass an int for the same data in every call.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        data : ndarray of shape (n_samples, height, width, 3), uint8
            Photos or aligned faces, RGB. From `make_affect_clips`: ndarray of shape (n_samples,),
            object, of clips (n_frames, height, width, 3) and photos (height, width, 3) or, aligned,
            of face clips only.
        target : DataFrame of shape (n_samples, 7)
            Five traits in [0, 1], arousal and valence in [-1, 1]; NaN where a half is not rated.
        truth : DataFrame of shape (n_samples, 7)
            The ratings of all samples on all targets, with their noise, to measure transfer between
            the halves.
        groups : ndarray of shape (n_samples,), int
            The person of each sample.
        domain : ndarray of shape (n_samples,), int
            0 in the personality half, 1 in the emotion half.
        landmarks : ndarray of shape (n_samples, 5, 2)
            Left eye, right eye, nose tip, left and right mouth corner in the pixels of `data`, as
            (x, y). For clips: ndarray of objects, each (n_frames, 5, 2).
        frame_emotions : ndarray of shape (n_samples,), object
            Arousal and valence of every frame, each (n_frames, 2).
        causes : DataFrame of shape (n_samples, 10)
            Shape of the face (eight columns in [-1, 1]), lightness of the skin
            (0 to 1), hair style.
        parts : Bunch of three DataFrames of shape (n_samples, 5)
            `static`, `emotion` and `noise`: :math:`s, e, n` above.
        weights : Bunch
            `static`, `emotion` and `noise`: :math:`w_s, w_e, w_n` as floats; `static_terms` and
            `emotion_terms`: DataFrames with one column a trait, the weights that make :math:`s` and
            :math:`e` from terms of variance 1.
        noise_ceiling : DataFrame
            The highest scores that any predictor can reach with infinite data, by half and target.
            `r`: the correlation with the ratings of the best prediction from pixels; also the
            highest CCC, if the predictions are scaled to the spread of the ratings. `ccc`: the CCC
            of the conditional mean, :math:`2 r^2 / (1 + r^2)`, the result of a perfect fit by least
            squares.
            `r_from_emotion` and `ccc_from_emotion`: the same for predictions of the traits from
            the true mean arousal and valence alone, as by a RAM. Emotion is rated without
            noise, so its ceilings are 1.
        target_names, DESCR : list of str, str
            Names of the targets, and a description of this data set.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    make_affect_clips : The same with clips in the personality half.

    Examples
    --------
    >>> from persona_affect.datasets import make_affect_faces
    >>> faces = make_affect_faces(n_persons=10, random_state=0)
    >>> faces.data.shape
    (20, 128, 128, 3)
    >>> faces.target[["openness", "valence"]].count().tolist()
    [10, 10]
    >>> faces.noise_ceiling.loc[("personality", "openness")].round(2).tolist()
    [0.95, 0.95, 0.7, 0.66]
    """
    recipe = Recipe(
        n_persons=n_persons,
        n_samples_per_person=n_faces_per_person,
        n_frames={"personality": 1, "emotion": 1},
        halves=halves,
        domain_shift=domain_shift,
        weights=(static_weight, emotion_weight, noise_weight),
        image_size=image_size,
        aligned=aligned,
    )
    recipe.check(samples="n_faces_per_person")
    bunch = _make(recipe, random_state)
    bunch.data = np.concatenate(list(bunch.data))
    bunch.landmarks = np.concatenate(list(bunch.landmarks))
    return bunch


def make_affect_clips(
    n_persons: int = 100,
    n_clips_per_person: int = 1,
    *,
    n_frames: int = 9,
    halves: Halves = "both",
    domain_shift: float = 1.0,
    static_weight: float = 1.0,
    emotion_weight: float = 1.0,
    noise_weight: float = 0.5,
    image_size: int = 128,
    aligned: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Render clips of persons rated on their traits, and photos of others rated on emotion.

    The two halves that `JointAffectEstimator` is made for: a personality half of clips, in each of
    which the emotion varies over time around the clip's mean, and an emotion half of photos. Traits
    depend on the mean emotion over all frames of a clip, so that a model that samples some of the
    frames ends a little below the ceilings.

    Parameters
    ----------
    n_persons : int, default=100
        Persons in each half. No person is in both halves.
    n_clips_per_person : int, default=1
        Clips of each person in the personality half; photos of each in the emotion half.
    n_frames : int, default=9
        Frames of a clip, 2 or more.
    halves, domain_shift, static_weight, emotion_weight, noise_weight, image_size, aligned, \
random_state
        As in `make_affect_faces`.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        As `make_affect_faces` returns it, with `data` and `landmarks` as arrays of objects.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    make_affect_faces : Photos in both halves.

    Examples
    --------
    >>> from persona_affect.datasets import make_affect_clips
    >>> both = make_affect_clips(n_persons=3, n_frames=5, aligned=True, random_state=0)
    >>> [clip.shape for clip in both.data[[0, -1]]]
    [(5, 112, 96, 3), (1, 112, 96, 3)]
    >>> both.domain.tolist()
    [0, 0, 0, 1, 1, 1]
    """
    recipe = Recipe(
        n_persons=n_persons,
        n_samples_per_person=n_clips_per_person,
        n_frames={"personality": n_frames, "emotion": 1},
        halves=halves,
        domain_shift=domain_shift,
        weights=(static_weight, emotion_weight, noise_weight),
        image_size=image_size,
        aligned=aligned,
    )
    recipe.check(samples="n_clips_per_person")
    check_number("n_frames", n_frames, 2, whole=True)
    bunch = _make(recipe, random_state)
    if not aligned:
        for i in np.flatnonzero(bunch.domain == 1):
            bunch.data[i] = bunch.data[i][0]
    return bunch


@dataclass(frozen=True)
class _Sample:
    """One photo or clip, before it is rendered."""

    half: str
    person: int
    identity: FaceIdentity
    emotions: NDArray[np.float64]
    scenes: list[FaceScene]
    noise: NDArray[np.float64]


def _make(recipe: Recipe, random_state: int | np.random.RandomState | None) -> Bunch:
    rng = check_random_state(random_state)
    samples = list(_draw_samples(recipe, rng))
    data = np.empty(len(samples), dtype=object)
    landmarks = np.empty(len(samples), dtype=object)
    emotions = np.empty(len(samples), dtype=object)
    for i, sample in enumerate(samples):
        data[i], landmarks[i] = _render_sample(sample, recipe, rng)
        emotions[i] = sample.emotions

    mean_emotion = np.array([sample.emotions.mean(axis=0) for sample in samples])
    parts = trait_parts(
        geometry=np.array([sample.identity.geometry for sample in samples]),
        emotion=mean_emotion,
        noise=np.array([sample.noise for sample in samples]),
    )
    truth = rate(parts, mean_emotion, recipe.weights)
    domain = np.array([HALVES.index(sample.half) for sample in samples])
    target = truth.copy()
    target.loc[domain == 0, list(EMOTION_NAMES)] = np.nan
    target.loc[domain == 1, list(PERSONALITY_NAMES)] = np.nan
    return Bunch(
        data=data,
        target=target,
        truth=truth,
        groups=np.array([sample.person for sample in samples]),
        domain=domain,
        landmarks=landmarks,
        frame_emotions=emotions,
        causes=_causes(samples),
        parts=parts,
        weights=Bunch(
            **dict(zip(("static", "emotion", "noise"), map(float, recipe.weights), strict=True)),
            static_terms=STATIC_WEIGHTS.copy(),
            emotion_terms=EMOTION_WEIGHTS.copy(),
        ),
        noise_ceiling=noise_ceiling(
            recipe.weights, {half: recipe.n_frames[half] for half in recipe.chosen}
        ),
        target_names=[*PERSONALITY_NAMES, *EMOTION_NAMES],
        DESCR=_describe(recipe, len(samples)),
    )


def _draw_samples(recipe: Recipe, rng: np.random.RandomState) -> Iterator[_Sample]:
    """Draw everything except camera noise; shift and weights do not change the random numbers."""
    person = 0
    for half in recipe.chosen:
        for _ in range(recipe.n_persons):
            identity = draw_identity(rng)
            tendency = rng.uniform(-PERSON_RANGE, PERSON_RANGE, 2)
            for _ in range(recipe.n_samples_per_person):
                mean = tendency + rng.uniform(-SAMPLE_RANGE, SAMPLE_RANGE, 2)
                # One period over a clip: its mean is exactly `mean`. A photo is a random moment.
                phase = rng.uniform(0, 2 * np.pi, 5)
                n_frames = recipe.n_frames[half]
                time = 2 * np.pi * np.arange(n_frames)[:, None] / n_frames
                wave = np.sin(time + phase)
                yield _Sample(
                    half=half,
                    person=person,
                    identity=identity,
                    emotions=mean + MOVEMENT * wave[:, :2],
                    scenes=_move(draw_scene(rng), wave[:, 2:]),
                    noise=rng.standard_normal(len(PERSONALITY_NAMES)),
                )
            person += 1


def _move(scene: FaceScene, wave: NDArray[np.float64]) -> list[FaceScene]:
    """Let the head move a little around its position."""
    return [
        replace(scene, roll=scene.roll + 2 * roll, x=scene.x + 0.01 * x, y=scene.y + 0.01 * y)
        for roll, x, y in wave
    ]


def _render_sample(
    sample: _Sample, recipe: Recipe, rng: np.random.RandomState
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    shift = recipe.domain_shift if sample.half == "emotion" else 0.0
    frames, landmarks = [], []
    for (arousal, valence), scene in zip(sample.emotions, sample.scenes, strict=True):
        framed = replace(scene, scale=scene.scale / (1 + 0.15 * shift), y=scene.y + 0.02 * shift)
        expression = expression_from_emotion(arousal, valence)
        frame, points = render_face(sample.identity, expression, framed, recipe.image_size)
        frame = photograph(frame, shift, rng)
        if recipe.aligned:
            frame, points = align(frame, points)
        frames.append(frame)
        landmarks.append(points)
    return np.stack(frames), np.stack(landmarks)


def _causes(samples: list[_Sample]) -> pd.DataFrame:
    identities = [sample.identity for sample in samples]
    causes = pd.DataFrame([face.geometry for face in identities], columns=list(GEOMETRY_NAMES))
    causes["skin_lightness"] = [sum(face.skin) / 765 for face in identities]
    causes["hair_style"] = [face.hair_style for face in identities]
    return causes


def _describe(recipe: Recipe, n_samples: int) -> str:
    static, emotion, noise = recipe.weights
    return (
        f"{n_samples} rendered samples of {recipe.n_persons * len(recipe.chosen)} persons "
        f"({' and '.join(recipe.chosen)} half). Traits weigh the static look by {static:g}, the "
        f"emotion shown by {emotion:g} and noise by {noise:g}; the pictures of the emotion half "
        f"are shifted by {recipe.domain_shift:g}. The traits are invented: they follow arbitrary "
        "weights of the shape and the expression of the face, not of skin or hair. They say "
        "nothing about people."
    )
