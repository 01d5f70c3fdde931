"""Synthetic persons whose traits follow from how they move, not from how they look."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state

from persona_affect._arrays import object_array
from persona_affect.datasets._camera import align, photograph
from persona_affect.datasets._face_parameters import (
    FaceExpression,
    FaceIdentity,
    draw_identity,
    draw_scene,
    expression_from_emotion,
)
from persona_affect.datasets._ratings import (
    PERSON_RANGE,
    SAMPLE_RANGE,
    rate_traits,
    trait_parts,
)
from persona_affect.datasets._recipe import check_number
from persona_affect.datasets._render import render_face
from persona_affect.metrics import PERSONALITY_NAMES

#: The five styles of movement, each in about [-1, 1], in the order of the traits that follow them.
STYLE_NAMES: Final = ("tempo", "lead", "pauses", "asymmetry", "amplitude")

#: How much of a style each task shows: 1 is all, 0 is nothing (everybody moves in the same way);
#: and the fractions of the drive that the upper and the lower face follow.
TASKS: Final = pd.DataFrame(
    {
        "free": dict.fromkeys(STYLE_NAMES, 1.0) | {"upper": 1.0, "lower": 1.0},
        # The text sets the pace; how far and how suddenly the mouth moves is personal.
        "reading": {"asymmetry": 1.0, "amplitude": 1.0, "upper": 0.3, "lower": 1.0},
        # The pace and the pauses are personal, the rest is politeness.
        "talking": {"tempo": 1.0, "pauses": 1.0, "upper": 0.6, "lower": 1.0},
        # In surprise or amusement the whole face moves, some parts before others.
        "reacting": {"lead": 1.0, "tempo": 0.5, "amplitude": 0.5, "upper": 1.0, "lower": 1.0},
    }
).fillna(0.0)

# Styles are uniform in [-1, 1] over persons, so that their variance is 1/3.
_STYLE_VARIANCE = 1 / 3


def make_dynamic_clips(
    n_persons: int = 60,
    n_clips_per_person: int = 2,
    *,
    n_frames: int = 75,
    tasks: Sequence[str] = ("free",),
    same_look: bool = False,
    session_jitter: float = 0.2,
    static_weight: float = 0.0,
    emotion_weight: float = 0.0,
    noise_weight: float = 0.3,
    image_size: int = 96,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    r"""Render face clips of persons whose traits follow from how they move.

    A drive x(t) rises and falls between random levels. Brows, eyes and mouth follow it; how far
    each of them moves is random for each person. Five styles, one for each trait, shape how the
    drive changes over time:

    ============ ================= =============================================================
    style        trait             at -1, 0 and 1
    ============ ================= =============================================================
    tempo        extraversion      a rise and fall take 34, 18 and 9.5 frames
    lead         agreeableness     upper face 4 frames after the lower, with it, 4 before it
    pauses       conscientiousness held still 9, 22 and 45 % of the time, at any level
    asymmetry    neuroticism       onset's share of a movement: .52, .36 and .23 (sudden)
    amplitude    openness          levels within +-0.33, 0.5 and 0.75
    ============ ================= =============================================================

    Tempo, pauses, asymmetry and the sign of the lead do not change the distribution of single
    frames. Amplitude does: the spread of a clip's frames shows it, but a single frame does not.

    A trait of a person is :math:`0.5 + 0.15 z`, limited to [0, 1], with
    :math:`z = (s + w_n n) / \sqrt{1 + w_n^2}`, where :math:`s` is the person's style and :math:`n`
    Gaussian noise, both of variance 1. The styles of a clip are the person's plus Gaussian jitter.

    With `static_weight` and `emotion_weight`, traits also depend on the look of the face and on the
    emotion that the person shows, as in `make_affect_faces`:

    .. math:: z = (s + w_s l + w_e e + w_n n) / \sqrt{1 + w_s^2 + w_e^2 + w_n^2}

    Brows, eyes and mouth then move around the expression of the person's emotion.

    Parameters
    ----------
    n_persons : int, default=60
        Persons.
    n_clips_per_person : int, default=2
        Clips of each person in each task.
    n_frames : int, default=75
        Frames of a clip; the table above counts in frames.
    tasks : sequence of {"free", "reading", "talking", "reacting"}, default=("free",)
        Tasks in which the clips are recorded. ``"free"`` shows every style; ``"reading"`` asymmetry
        and amplitude, mostly in the lower face; ``"talking"`` tempo and pauses; ``"reacting"`` the
        lead, and half of tempo and amplitude. A style that a task does not show is 0 in it.
    same_look : bool, default=False
        Give all persons the same face and range of movement, so that they differ only in style.
        Light and position always vary from clip to clip.
    session_jitter : float, default=0.2
        Standard deviation of the styles of a clip around those of the person, 0 or more.
    static_weight, emotion_weight, noise_weight : float, default=0.0, 0.0, 0.3
        The weights :math:`w_s, w_e, w_n` above, 0 or more.
    image_size : int, default=96
        Side of the square photos that are rendered and then aligned, in pixels, 48 or more.
    random_state : int, RandomState instance or None, default=None
        Pass an int for the same data in every call.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        data : ndarray of shape (n_samples,), object
            Face clips (n_frames, 112, 96, 3), uint8 RGB, aligned as `FaceAligner` does; by person,
            then task, then clip.
        target : DataFrame of shape (n_samples, 5)
            Traits in [0, 1], the same in all clips of a person.
        groups : ndarray of shape (n_samples,), int
            The person of each clip.
        tasks : ndarray of shape (n_samples,), str
            The task of each clip.
        styles, clip_styles : DataFrame of shape (n_samples, 5)
            Styles of the person, and of the clip: with jitter, after the task's share.
        drive : ndarray of shape (n_samples,), object
            x(t) of every frame, (n_frames, 2), of the upper and the lower face.
        noise_ceiling : DataFrame of shape (n_tasks + 1, 5)
            Highest correlation with a trait that any predictor can reach from the movement in
            `n_clips_per_person` infinitely long clips in a task, and (last row) in one such clip in
            each task, fused. Real clips show less.
        parts : Bunch of four DataFrames of shape (n_samples, 5)
            `movement`, `static`, `emotion` and `noise`: :math:`s, l, e, n` above.
        target_names, DESCR : list of str, str
            Names of the traits, and a description of this data set.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    See Also
    --------
    make_affect_clips : Persons whose traits are in their look and their mean emotion.

    Examples
    --------
    >>> from persona_affect.datasets import make_dynamic_clips
    >>> bunch = make_dynamic_clips(2, n_frames=10, tasks=("reading", "talking"), random_state=0)
    >>> bunch.data[0].shape, bunch.groups.tolist()
    ((10, 112, 96, 3), [0, 0, 0, 0, 1, 1, 1, 1])
    >>> bunch.noise_ceiling.round(2).loc["talking"].tolist()
    [0.93, 0.0, 0.93, 0.0, 0.0]
    """
    _check(n_persons, n_clips_per_person, n_frames, tasks, session_jitter, image_size)
    weights = {"static": static_weight, "emotion": emotion_weight, "noise": noise_weight}
    for name, weight in weights.items():
        check_number(f"{name}_weight", weight, 0)
    rng = check_random_state(random_state)
    styles = rng.uniform(-1, 1, (n_persons, len(STYLE_NAMES)))
    noise = rng.standard_normal(styles.shape)
    data, drives, shown, labels, groups = [], [], [], [], []
    geometry, emotions = [], []
    look = _Look.draw(rng)
    for person in range(n_persons):
        look = look if same_look else _Look.draw(rng)
        if emotion_weight:
            tendency = rng.uniform(-PERSON_RANGE, PERSON_RANGE, 2)
            look = replace(look, emotion=tendency + rng.uniform(-SAMPLE_RANGE, SAMPLE_RANGE, 2))
        geometry.append(look.identity.geometry)
        emotions.append(np.zeros(2) if look.emotion is None else look.emotion)
        for task in tasks:
            for _ in range(n_clips_per_person):
                jitter = session_jitter * rng.standard_normal(len(STYLE_NAMES))
                style = (styles[person] + jitter) * TASKS[task].loc[list(STYLE_NAMES)].to_numpy()
                drive = _draw_drive(style, n_frames, rng)
                data.append(_render_clip(look, drive, TASKS[task], image_size, rng))
                drives.append(drive)
                shown.append(style)
                labels.append(task)
                groups.append(person)
    owner = np.array(groups)
    parts = trait_parts(np.array(geometry), np.array(emotions), noise)
    parts["movement"] = pd.DataFrame(styles / np.sqrt(_STYLE_VARIANCE), columns=parts.noise.columns)
    norm = np.hypot(np.hypot(1, noise_weight), np.hypot(static_weight, emotion_weight))
    z = parts.movement + sum(weight * parts[name] for name, weight in weights.items() if weight)
    traits = rate_traits(z / norm)
    return Bunch(
        data=object_array(data),
        target=traits.iloc[owner].reset_index(drop=True),
        groups=owner,
        tasks=np.array(labels),
        styles=pd.DataFrame(styles[owner], columns=list(STYLE_NAMES)),
        clip_styles=pd.DataFrame(shown, columns=list(STYLE_NAMES)),
        drive=object_array(drives),
        parts=Bunch(
            **{name: part.iloc[owner].reset_index(drop=True) for name, part in parts.items()}
        ),
        noise_ceiling=_noise_ceiling(tasks, n_clips_per_person, session_jitter, norm),
        target_names=list(PERSONALITY_NAMES),
        DESCR=(
            f"{len(data)} rendered face clips of {n_persons} persons in the tasks "
            f"{', '.join(tasks)}. The traits are invented: each follows one style of movement, "
            f"and the look of the face with a weight of {static_weight:g}, the emotion shown with "
            f"{emotion_weight:g}. They say nothing about people."
        ),
    )


@dataclass(frozen=True)
class _Look:
    """What does not depend on a person's traits: the face, and how far its parts move."""

    identity: FaceIdentity
    base: NDArray[np.float64]
    repertoire: NDArray[np.float64]
    emotion: NDArray[np.float64] | None = None

    @classmethod
    def draw(cls, rng: np.random.RandomState) -> "_Look":
        return cls(draw_identity(rng), rng.uniform(-0.15, 0.15, 4), rng.uniform(0.6, 1.0, 4))

    def express(self, upper: float, lower: float) -> FaceExpression:
        """Follow the drive of the two halves of the face, each in about [-1, 1]."""
        brow, eye, opening, smile = self.base + self.repertoire * (upper, upper, lower, lower)
        if self.emotion is not None:
            # Smaller movements: those of emotion must not be hidden.
            rest = expression_from_emotion(*self.emotion)
            return replace(
                rest,
                brow_raise=rest.brow_raise + 0.7 * brow,
                eye_open=rest.eye_open + 0.2 * eye,
                mouth_open=float(np.clip(rest.mouth_open + 0.2 + 0.3 * opening, 0, 1)),
                mouth_curve=rest.mouth_curve + 0.4 * smile,
            )
        return FaceExpression(
            brow_raise=brow,
            eye_open=0.6 + 0.35 * eye,
            mouth_open=float(np.clip(0.4 + 0.4 * opening, 0, 1)),
            mouth_curve=0.6 * smile,
            mouth_width=1.0 + 0.1 * smile,
        )


def _draw_drive(
    style: NDArray[np.float64], n_frames: int, rng: np.random.RandomState
) -> NDArray[np.float64]:
    """Draw the drive of one clip, (n_frames, 2), for the upper and the lower face.

    Time runs on an inner clock that stops in pauses. Between levels the drive follows one smooth
    step, stretched to the duration of the movement, so that tempo and asymmetry do not change how
    long it is at each level. Pauses begin at any moment of the clock, and do not change it either.
    """
    tempo, lead, pauses, asymmetry, amplitude = style
    period = 18 * 1.9**-tempo
    onset = 1 / (1 + np.exp(0.57 + 0.64 * asymmetry))
    held = 1 / (1 + np.exp(1.27 - 1.07 * pauses))
    lag = np.array([2.0, -2.0]) * lead

    margin = 8
    clock = _draw_clock(n_frames + 2 * margin, held, rng)
    n_cycles = int(clock[-1] / period) + 2
    lengths = period * np.column_stack([np.full(n_cycles, onset), np.full(n_cycles, 1 - onset)])
    # The length of cycles varies around the period; the first one begins at a random point.
    lengths *= rng.uniform(0.7, 1.3, (n_cycles, 1))
    times = np.concatenate([[0.0], lengths.ravel().cumsum()]) - rng.uniform() * lengths[0].sum()
    levels = rng.uniform(0.5, 1.0, 2 * n_cycles + 1) * np.resize([-1, 1], 2 * n_cycles + 1)
    levels *= 0.5 * 1.5**amplitude

    at = np.arange(n_frames)[:, None] + margin + np.clip(lag, -margin, margin)
    clock_at = np.interp(at, np.arange(len(clock)), clock)
    move = np.clip(np.searchsorted(times, clock_at, side="right") - 1, 0, 2 * n_cycles - 1)
    progress = np.clip((clock_at - times[move]) / (times[move + 1] - times[move]), 0, 1)
    smooth = progress**2 * (3 - 2 * progress)
    return np.asarray(levels[move] + (levels[move + 1] - levels[move]) * smooth)


def _draw_clock(n_frames: int, held: float, rng: np.random.RandomState) -> NDArray[np.float64]:
    """Draw an inner clock that stops for a fraction `held` of the frames, about 8 at a time."""
    mean_pause = 8.0
    begin = min(held / (1 - held) / mean_pause, 1.0)
    stopped = np.empty(n_frames, bool)
    state = rng.uniform() < held
    for t in range(n_frames):
        stopped[t] = state
        state = rng.uniform() < (1 - 1 / mean_pause if state else begin)
    return np.cumsum(~stopped).astype(np.float64)


def _render_clip(
    look: _Look,
    drive: NDArray[np.float64],
    task: pd.Series,
    image_size: int,
    rng: np.random.RandomState,
) -> NDArray[np.uint8]:
    scene = draw_scene(rng)
    sway = rng.uniform(0, 2 * np.pi, 3) + np.arange(len(drive))[:, None] * rng.uniform(
        0.02, 0.08, 3
    )
    frames = []
    for (upper, lower), (roll, x, y) in zip(drive, np.sin(sway), strict=True):
        expression = look.express(task["upper"] * upper, task["lower"] * lower)
        moved = replace(scene, roll=scene.roll + 2 * roll, x=scene.x + x / 100, y=scene.y + y / 100)
        image, landmarks = render_face(look.identity, expression, moved, image_size)
        frames.append(align(photograph(image, 0.0, rng), landmarks)[0])
    return np.stack(frames)


def _noise_ceiling(
    tasks: Sequence[str], n_clips: int, session_jitter: float, norm: float
) -> pd.DataFrame:
    shows = TASKS[list(tasks)].loc[list(STYLE_NAMES)] > 0
    rows = {task: shows[task].to_numpy() * n_clips for task in tasks}
    rows["fused"] = shows.sum(axis=1).to_numpy()
    n = np.array(list(rows.values()), float)
    with np.errstate(divide="ignore"):
        explained = _STYLE_VARIANCE / (_STYLE_VARIANCE + session_jitter**2 / n)
    ceiling = np.where(n > 0, np.sqrt(np.nan_to_num(explained)) / norm, 0.0)
    return pd.DataFrame(ceiling, index=list(rows), columns=list(PERSONALITY_NAMES))


def _check(
    n_persons: int,
    n_clips_per_person: int,
    n_frames: int,
    tasks: Sequence[str],
    session_jitter: float,
    image_size: int,
) -> None:
    check_number("n_persons", n_persons, 1, whole=True)
    check_number("n_clips_per_person", n_clips_per_person, 1, whole=True)
    check_number("n_frames", n_frames, 2, whole=True)
    check_number("image_size", image_size, 48, whole=True)
    check_number("session_jitter", session_jitter, 0)
    unknown = [task for task in tasks if task not in TASKS.columns]
    if isinstance(tasks, str) or unknown or len(tasks) == 0:
        raise ValueError(
            f"tasks must be a sequence of names among {list(TASKS.columns)}; got {tasks!r}."
        )
