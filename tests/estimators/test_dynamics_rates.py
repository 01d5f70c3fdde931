"""One clip at other frame rates, and with a second covered, stays nearer than another clip."""

import numpy as np
import pytest

from persona_affect import load_model
from persona_affect.datasets._camera import align, photograph
from persona_affect.datasets._dynamics import STYLE_NAMES, TASKS, _draw_drive, _Look
from persona_affect.datasets._face_parameters import draw_scene
from persona_affect.datasets._render import render_face
from persona_affect.faces._face_clip import join_faces, resample_faces

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
SECONDS, N_PERSONS = 4.0, 5
SIZE = (112, 96)


class Take:
    """One recording of a person: its movement as a function of time."""

    def __init__(self, look, style, rng):
        self.look, self.scene, self.seed = look, draw_scene(rng), rng.randint(2**31)
        self.drive = _draw_drive(style, int(SECONDS * 25) + 2, rng)

    def film(self, times):
        rng, faces = np.random.RandomState(self.seed), []
        for upper, lower in zip(
            *(np.interp(times, np.arange(len(self.drive)) / 25, d) for d in self.drive.T),
            strict=True,
        ):
            task = TASKS["free"]
            expression = self.look.express(task["upper"] * upper, task["lower"] * lower)
            image, landmarks = render_face(self.look.identity, expression, self.scene, 128)
            faces.append(align(photograph(image, 0.0, rng), landmarks)[0])
        return faces


def times_at(rate):
    return np.arange(int(SECONDS * rate)) / rate


def times_of_a_webcam():
    steps = np.random.RandomState(0).uniform(1 / 60, 1 / 15, 300).cumsum()
    return steps[steps < SECONDS - 0.02]


@pytest.fixture(scope="module")
def clips():
    """By name, a clip of each person."""
    rng, found = np.random.RandomState(3), {}
    for _ in range(N_PERSONS):
        look, style = _Look.draw(rng), rng.uniform(-1, 1, len(STYLE_NAMES))
        take, other = (Take(look, style, rng) for _ in range(2))
        times = {f"{rate} a second": times_at(rate) for rate in (12.5, 30, 50)}
        times["variable"] = times_of_a_webcam()
        own = {"clip": np.stack(take.film(times_at(25)))}
        for name, at in times.items():
            faces = take.film(at)
            own[name] = resample_faces(faces, range(len(at)), at, 25, SIZE)
            own[f"{name}, all frames"] = np.stack(faces)
        kept = [i for i in range(100) if not 38 <= i < 63]
        own["1 s covered"] = join_faces([own["clip"][i] for i in kept], kept, SIZE)
        own["another clip"] = np.stack(other.film(times_at(25)))
        for name, clip in own.items():
            found.setdefault(name, []).append(clip)
    return found


def test_descriptors_at_other_rates_are_nearer_than_those_of_another_clip(clips):
    encoder = load_model("dynamics").set_params(device="cpu")
    described = {name: encoder.transform(own) for name, own in clips.items()}
    mean, deviation = (
        getattr(np.vstack([described["clip"], described["another clip"]]), name)(axis=0)
        for name in ("mean", "std")
    )
    units = {name: (x - mean) / deviation for name, x in described.items()}
    cosines = {
        name: np.sum(units["clip"] * x, 1)
        / np.linalg.norm(units["clip"], axis=1)
        / np.linalg.norm(x, axis=1)
        for name, x in units.items()
    }
    another = cosines["another clip"]
    for name in ("12.5 a second", "30 a second", "50 a second", "variable", "1 s covered"):
        assert (cosines[name] > another).all(), (name, cosines[name], another)
        assert cosines[name].mean() > another.mean() + 0.2, name
    # All frames without times, as other tools take them, are further away at these rates.
    for name in ("12.5 a second", "50 a second"):
        assert cosines[name].mean() > cosines[f"{name}, all frames"].mean() + 0.1
