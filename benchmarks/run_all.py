"""Cost curves: how time and memory grow with faces, frames, pixels, persons, targets and jobs.

    python benchmarks/run_all.py

One table, in about five minutes, with rendered faces alone. Each size of a curve is measured in
alternating rounds, so that other programs disturb all sizes alike, and its median is compared with
that of the smallest size. Memory is the peak above what the process held before, in a process of
its own. The power is that by which time or memory grows from the smallest size to the largest: 1 is
linear, 0 does not grow. Absolute times are not printed: they are those of one machine.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from sklearn.pipeline import make_pipeline

from persona_affect import (
    FaceAligner,
    FrameAnnotator,
    JointAffectEstimator,
    PersonDynamicsEncoder,
)
from persona_affect.datasets import make_affect_faces, make_dynamic_clips

Work = Callable[[int], object]


@dataclass(frozen=True)
class Curve:
    """A size that varies, and the work of that size."""

    name: str
    sizes: tuple[int, ...]
    prepare: Callable[[], Work]
    #: Why time or memory does not grow with the size, or grows in another way.
    note: str = ""


def predicting() -> Work:
    """Predict n aligned faces."""
    faces = make_affect_faces(16, aligned=True, random_state=0)
    model = JointAffectEstimator(max_epochs=1, random_state=0).fit(faces.data, faces.target)
    return lambda n: model.predict(np.resize(faces.data, (n, *faces.data.shape[1:])))


def training() -> Work:
    """Train one epoch on n aligned faces."""
    faces = make_affect_faces(64, aligned=True, random_state=0)
    n_faces = len(faces.data)

    def fit(n: int) -> object:
        rows = np.arange(n) % n_faces
        model = JointAffectEstimator(max_epochs=1, random_state=0)
        return model.fit(faces.data[rows], faces.target.iloc[rows])

    return fit


def annotating(size: tuple[int, int] = (240, 160)) -> Work:
    """Annotate n frames with one face."""
    faces = make_affect_faces(4, random_state=0)
    model = make_pipeline(FaceAligner(), JointAffectEstimator(max_epochs=1, random_state=0))
    model.fit(faces.data, faces.target)
    annotator = FrameAnnotator(model, detect_every=5, track=False)
    frame = np.full((size[1], size[0], 3), 128, np.uint8)
    frame[16:144, 50:178] = faces.data[0]
    return lambda n: sum(1 for _ in annotator.annotate(np.broadcast_to(frame, (n, *frame.shape))))


def detecting() -> Work:
    """Detect the faces of a frame of n thousand pixels; one face for each 100 thousand."""
    face = make_affect_faces(1, random_state=0).data[0]
    aligner = FaceAligner()

    def detect(thousand: int) -> object:
        width = round(math.sqrt(thousand * 1000 * 4 / 3))
        tile = np.full((274, 365, 3), 128, np.uint8)
        tile[60:188, 100:228] = face
        height = round(width * 3 / 4)
        frame = np.tile(tile, (height // 274 + 1, width // 365 + 1, 1))[:height, :width]
        return aligner.detect_frames([frame])

    return detect


def crowding() -> Work:
    """Annotate 8 frames with n faces each."""
    faces = make_affect_faces(4, random_state=0)
    model = make_pipeline(FaceAligner(), JointAffectEstimator(max_epochs=1, random_state=0))
    model.fit(faces.data, faces.target)
    annotator = FrameAnnotator(model, track=False)

    def annotate(n: int) -> object:
        frame = np.full((528, 528, 3), 128, np.uint8)
        for i in range(n):
            y, x = divmod(i, 4)
            frame[132 * y : 132 * y + 128, 132 * x : 132 * x + 128] = faces.data[i % 8]
        rows = list(annotator.annotate([frame] * 8))
        if len(rows) < 8 * n:
            raise AssertionError(f"{len(rows)} rows of {8 * n} faces")
        return rows

    return annotate


def describing() -> Work:
    """Describe n persons by their dynamics."""
    clips = make_dynamic_clips(4, n_frames=40, random_state=0)
    encoder = PersonDynamicsEncoder(max_epochs=1, random_state=0).fit(clips.data)
    return lambda n: encoder.transform([clips.data[i % len(clips.data)] for i in range(n)])


def fitting_targets() -> Work:
    """Train n targets on embeddings, ten epochs."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 128)).astype(np.float32)
    y = X @ rng.normal(size=(128, 64)) + rng.normal(size=(400, 64))

    def fit(n: int) -> object:
        names = [f"trait{i}" for i in range(n - 2)]
        model = JointAffectEstimator(
            personality=names, emotion=["arousal", "valence"], max_epochs=10, random_state=0
        )
        return model.fit(X, y[:, :n])

    return fit


def sharing() -> Work:
    """Align 48 photos with n jobs; its workers are there already."""
    photos = list(make_affect_faces(24, random_state=0, image_size=320).data)
    return lambda n: FaceAligner(n_jobs=n).transform(photos)


CURVES = (
    Curve("faces predicted", (64, 128, 256, 512), predicting, "memory: batches of one size"),
    Curve("faces trained on, an epoch", (64, 128, 256), training, "memory: batches of one size"),
    Curve("frames annotated", (40, 80, 160, 320), annotating, "memory: some batches at a time"),
    Curve("pixels of a frame, thousands", (100, 400, 1600), detecting),
    Curve("faces in a frame", (1, 2, 4, 8, 16), crowding, "the detection is paid once a frame"),
    Curve("persons described", (4, 8, 16, 32), describing, "memory: eight persons at a time"),
    Curve("targets of a fit", (4, 8, 16, 32, 64), fitting_targets, "one last layer for all"),
    Curve("jobs", (1, 2, 4), sharing, "memory: each job loads its own copy of the networks"),
)


def memory_of(process: int, field: str) -> float:
    """Return a field of a process's status, in MiB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)


def descendants(process: int) -> Iterator[int]:
    """Find the processes that a process has started, and those that they have started."""
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = [int(number) for number in path.read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from descendants(child)


def peak(work: Work, size: int) -> float:
    """Run the work in a forked process; return its peak memory above the start, in MiB."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        seen: dict[int, float] = {}
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.02):
                for process in descendants(os.getpid()):
                    seen[process] = max(seen.get(process, 0.0), memory_of(process, "VmHWM"))

        try:
            before = memory_of(os.getpid(), "VmRSS")
            threading.Thread(target=watch, daemon=True).start()
            work(size)
            ended.set()
            more = memory_of(os.getpid(), "VmHWM") - before + sum(seen.values())
            os.write(writer, str(more).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return float(text)


def measure(curve: Curve, n_rounds: int) -> str:
    """Measure a curve, and write its row of the table."""
    work = curve.prepare()
    work(curve.sizes[0])
    memory = {size: peak(work, size) for size in curve.sizes} if sys.platform == "linux" else {}
    for size in curve.sizes if curve.name == "jobs" else ():
        work(size)
    times: dict[int, list[float]] = {size: [] for size in curve.sizes}
    for _ in range(n_rounds):
        for size in curve.sizes:
            begin = time.perf_counter()
            work(size)
            times[size].append(time.perf_counter() - begin)
    typical = {size: median(taken) for size, taken in times.items()}
    cells = [curve.name, " : ".join(map(str, curve.sizes))]
    cells += growth(typical, curve.sizes) + growth(memory, curve.sizes) + [curve.note]
    return f"| {' | '.join(cells)} |"


def growth(values: dict[int, float], sizes: tuple[int, ...]) -> list[str]:
    """Write values as ratios to that of the smallest size, and their power."""
    if not values:
        return ["-", "-"]
    # A few MiB are what any call takes.
    first = max(values[sizes[0]], 1e-9)
    ratios = " : ".join(f"{values[size] / first:.2g}" for size in sizes)
    last = max(values[sizes[-1]], 1e-9)
    return [ratios, f"{math.log(last / first) / math.log(sizes[-1] / sizes[0]):.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    names = [curve.name for curve in CURVES]
    parser.add_argument("--only", nargs="*", choices=names, default=names)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| size | sizes | time | power | memory | power | why |")
    print("|---|---|---|---|---|---|---|")
    for curve in CURVES:
        if curve.name in options.only:
            begin = time.perf_counter()
            print(measure(curve, options.rounds), flush=True)
            print(f"{curve.name}: {time.perf_counter() - begin:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
