"""How descriptors of person-specific dynamics move with frame rate, gaps, compression, and light.

    python benchmarks/dynamics_nuisance.py --persons 16 --jobs 16 --model net.safetensors
    PERSONA_AFFECT_DATA=... python benchmarks/dynamics_nuisance.py --persons 0 --grid

Rendered persons are filmed at 480 x 480 pixels, twice each: two clips of one person. The first clip
is filmed again at other frame rates, and altered: compressed, made smaller, turned, lit in another
way. Every video goes through x264 and the face detector. The measure is the cosine of descriptors,
standardised by those of all persons' unaltered clips, between the clip and its altered copy; beside
it stands that of two clips of one person. "before" takes all frames of the video and joins what
a gap divides, as versions before 2026-11-26 did.
"""

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import joblib
import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from numpy.typing import NDArray

from persona_affect import FaceAligner, PersonDynamicsEncoder, load_model
from persona_affect.datasets._camera import photograph
from persona_affect.datasets._dynamics import STYLE_NAMES, TASKS, _draw_drive, _Look
from persona_affect.datasets._face_parameters import draw_scene
from persona_affect.datasets._render import render_face
from persona_affect.media import VideoWriter, open_clip

SIZE, SECONDS = 480, 4.0
CLEAN = 12


class Take:
    """One recording of a person: its movement as functions of time."""

    def __init__(self, look: _Look, style: NDArray, rng: np.random.RandomState) -> None:
        self.look, self.scene, self.seed = look, draw_scene(rng), rng.randint(2**31)
        # A margin, so that rates that do not divide 25 find a movement at the end.
        self.drive = _draw_drive(style, int(SECONDS * 25) + 2, rng)
        self.phase, self.speed = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.5, 2.0, 3)

    def film(self, times: NDArray) -> list[NDArray[np.uint8]]:
        """Render the frames at these times, in seconds."""
        rng = np.random.RandomState(self.seed)
        task, at = TASKS["free"], np.arange(len(self.drive)) / 25
        frames = []
        for time in times:
            upper, lower = (np.interp(time, at, column) for column in self.drive.T)
            roll, x, y = np.sin(self.phase + self.speed * time)
            scene = replace(
                self.scene,
                roll=self.scene.roll + 2 * roll,
                x=self.scene.x + x / 100,
                y=self.scene.y + y / 100,
            )
            expression = self.look.express(task["upper"] * upper, task["lower"] * lower)
            image, _ = render_face(self.look.identity, expression, scene, SIZE)
            frames.append(photograph(image, 0.0, rng))
        return frames


def regular(rate: float, seconds: float = SECONDS) -> NDArray:
    return np.arange(int(seconds * rate)) / rate


def variable(seconds: float = SECONDS) -> NDArray:
    """Draw times of a webcam: 15 to 60 frames a second, changing from frame to frame."""
    steps = np.random.RandomState(0).uniform(1 / 60, 1 / 15, 400).cumsum()
    times = np.concatenate([[0.0], steps])
    return times[times < seconds - 0.02]


def resized(frames: list, height: int) -> list:
    size = (round(frames[0].shape[1] * height / frames[0].shape[0] / 2) * 2, height)
    return [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]


def turned(frames: list, degrees: float) -> list:
    """Roll the head to and fro once in two seconds."""
    height, width = frames[0].shape[:2]
    middle, out = (width / 2, height / 2), []
    for i, frame in enumerate(frames):
        matrix = cv2.getRotationMatrix2D(middle, degrees * np.sin(np.pi * i / 25), 1.0)
        out.append(cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE))
    return out


def narrowed(frames: list, degrees: float) -> list:
    """Turn a flat picture to the side: it gets narrower, once in two seconds."""
    height, width = frames[0].shape[:2]
    out = []
    for i, frame in enumerate(frames):
        share = np.cos(np.deg2rad(degrees) * np.sin(np.pi * i / 25))
        matrix = np.array([[share, 0, (1 - share) * width / 2], [0, 1, 0]])
        out.append(cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE))
    return out


def lit(frames: list, low: float, high: float, period: float | None = None) -> list:
    """Multiply by a gain that changes over the picture, and over time with a period in seconds."""
    width = frames[0].shape[1]
    out = []
    for i, frame in enumerate(frames):
        at = np.linspace(0, 1, width)
        if period is not None:
            at = 0.5 + 0.5 * np.sin(2 * np.pi * (i / 25 / period) + np.pi * at)
        gain = low + (high - low) * at
        out.append(np.clip(frame * gain[None, :, None], 0, 255).astype(np.uint8))
    return out


def covered(frames: list, times: NDArray) -> list:
    """Cover the face for one second in the middle."""
    middle = times[-1] / 2
    return [
        np.full_like(frame, 110) if abs(time - middle) <= 0.5 else frame
        for frame, time in zip(frames, times, strict=True)
    ]


def alterations(frames: list) -> dict[str, tuple[list, int]]:
    """Altered copies of a clip at 25 frames a second, and x264's constant rate factor for each."""
    height = frames[0].shape[0]
    heights = [h for h in (360, 240, 180, 120) if h < height]
    return {
        "x264 crf 23": (frames, 23),
        "x264 crf 35": (frames, 35),
        **{f"{h} lines, crf 23": (resized(frames, h), 23) for h in heights},
        "head rolls by 10 degrees": (turned(frames, 10), CLEAN),
        "head turns by 25 degrees (narrower)": (narrowed(frames, 25), CLEAN),
        "half the light": (lit(frames, 0.5, 0.5), CLEAN),
        "light from one side": (lit(frames, 0.5, 1.1), CLEAN),
        "light that moves, once in 2 s": (lit(frames, 0.7, 1.1, 2.0), CLEAN),
    }


def faces_of(
    frames: list, times: NDArray, folder: Path, crf: int = CLEAN, *, before: bool = True
) -> list[NDArray[np.uint8]]:
    """Write a video, and align its faces: at 25 frames a second, and all of them."""
    path = folder / "clip.mp4"
    height, width = frames[0].shape[:2]
    with VideoWriter(path, rate=25, size=(width, height), quality=crf) as video:
        for frame, time in zip(frames, times, strict=True):
            video.write(frame, float(time))
    settings = {"min_face_size": max(20, height / 8), "device": "cpu"}
    found = [FaceAligner(**settings, rate=25).transform([path])[0]]
    if before:
        found.append(np.asarray(FaceAligner(**settings, n_frames=None).transform([path])[0]))
    return found


def record(person: int) -> dict[str, NDArray]:
    """Film one person in every way; face clips by name."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rng = np.random.RandomState(1000 + person)
    look, style = _Look.draw(rng), rng.uniform(-1, 1, len(STYLE_NAMES))
    first, second = (Take(look, style + 0.2 * rng.standard_normal(5), rng) for _ in range(2))
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, times in {
            "25": regular(25),
            "12.5": regular(12.5),
            "30": regular(30),
            "50": regular(50),
            "15 to 60, variable": variable(),
        }.items():
            frames = first.film(times)
            found[f"rate {label}"], found[f"before, rate {label}"] = faces_of(frames, times, folder)
        times = regular(25)
        frames = first.film(times)
        hidden = faces_of(covered(frames, times), times, folder)
        found["1 s covered"], found["before, 1 s covered"] = hidden
        for label, (altered, crf) in alterations(frames).items():
            (found[label],) = faces_of(altered, times, folder, crf, before=False)
        (found["another clip"],) = faces_of(second.film(times), times, folder, before=False)
    return found


def record_real(path: Path) -> dict[str, NDArray]:
    """Alter one real clip in every way that needs no second recording."""
    torch.set_num_threads(1)
    frames = list(open_clip(path))
    times = np.arange(len(frames)) / 25
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, step in {"25": 1, "12.5": 2}.items():
            pair = faces_of(frames[::step], times[::step], folder)
            found[f"rate {label}"], found[f"before, rate {label}"] = pair
        hidden = faces_of(covered(frames, times), times, folder)
        found["1 s covered"], found["before, 1 s covered"] = hidden
        for label, (altered, crf) in alterations(frames).items():
            (found[label],) = faces_of(altered, times, folder, crf, before=False)
    base = found["rate 25"]
    found["first half"], found["second half"] = base[: len(base) // 2], base[len(base) // 2 :]
    return found


def tabulate(clips: list[dict[str, NDArray]], encoder: PersonDynamicsEncoder) -> pd.DataFrame:
    """Cosines with the unaltered clip, by alteration; how often nearer than the other clip."""
    labels = [label for label in clips[0] if label != "rate 25"]
    described: dict[str, NDArray] = {}
    for label in ["rate 25", *labels]:
        described[label] = encoder.transform([own[label] for own in clips])
    base = described["rate 25"]
    mean, deviation = base.mean(0), np.maximum(base.std(0), 1e-12)
    unit = {}
    for label, rows in described.items():
        z = (rows - mean) / deviation
        unit[label] = z / np.linalg.norm(z, axis=1, keepdims=True)
    if "another clip" in unit:
        other = (unit["rate 25"] * unit["another clip"]).sum(1)
    else:
        other = (unit["first half"] * unit["second half"]).sum(1)
    strangers = (unit["rate 25"] @ unit["rate 25"].T)[np.triu_indices(len(base), 1)]
    rows = {
        label: {
            "cosine": (own := (unit["rate 25"] * unit[label]).sum(1)).mean(),
            "lowest": own.min(),
            "nearer": (own > other).mean(),
        }
        for label in labels
        if label not in ("first half", "second half")
    }
    rows["two clips of one person, or halves"] = {"cosine": other.mean(), "lowest": other.min()}
    rows["two persons"] = {"cosine": strangers.mean(), "lowest": strangers.min()}
    return pd.DataFrame.from_dict(rows, orient="index")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=16)
    parser.add_argument("--grid", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", action="append", help="a saved encoder; default: the bundled")
    parser.add_argument("--cache", type=Path, help="keeps the face clips")
    parser.add_argument("--record-only", action="store_true")
    options = parser.parse_args()
    sets = {}
    if options.persons:
        sets["rendered"] = [delayed(record)(i) for i in range(options.persons)]
    if options.grid:
        folder = Path(os.environ["PERSONA_AFFECT_DATA"]) / "grid"
        sets["GRID"] = [delayed(record_real)(path) for path in sorted(folder.glob("*.mpg"))]
    for name, work in sets.items():
        stored = None if options.cache is None else options.cache / f"nuisance_{name}.joblib"
        if stored is not None and stored.exists():
            clips = joblib.load(stored)
        else:
            clips = Parallel(options.jobs)(work)
            if stored is not None:
                joblib.dump(clips, stored)
        for model in [] if options.record_only else options.model or ["dynamics"]:
            encoder = load_model(model).set_params(device=options.device)
            print(f"{name}, {len(clips)} persons, {Path(model).stem}")
            print(tabulate(clips, encoder).round(3).to_string(), "\n", flush=True)


if __name__ == "__main__":
    main()
