"""The paper's experiment by the command line, on a scaled-down copy of its two data sets.

    python benchmarks/paper_settings.py --scale 100

First Impressions has 10,000 clips of about 450 frames, AFEW-VA 600 clips of 30,051 frames in all.
This writes miniatures with `1 / scale` of the clips, and as many frames in each as in the originals
(rendered faces of few pixels), then runs `align` and `train --protocol persemon --preset authors`
(SphereFace-20, 10 segments a clip, batches of 10 videos and 100 emotion faces) for `--epochs`. For
each stage it prints wall time, processor time, the peak memory of the process and the disk used,
and what that means for the real sets: times and disk grow with the clips, and training also with
the 60 epochs of the settings.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from persona_affect.datasets import write_miniature

CLIPS, FRAMES = 10_000, 450
EMOTION_CLIPS, EMOTION_FRAMES = 600, 50
EPOCHS = 60


def run(*arguments: str) -> tuple[float, float, float]:
    """Run a command of persona-affect; return wall seconds, processor seconds and peak MiB."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "persona_affect", *arguments], stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(log.read().decode()[-3000:])
    seconds = time.perf_counter() - started
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def used(folder: Path) -> float:
    """Return the MB in a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def show(stage: str, figures: tuple[float, float, float], disk: float, factor: float) -> None:
    wall, processor, memory = figures
    print(
        f"| {stage} | {wall:.0f} s | {processor:.0f} s | {memory:.0f} MiB | {disk:.1f} MB "
        f"| {wall * factor / 3600:.1f} h |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=1)
    options = parser.parse_args()
    n_clips, n_emotion = CLIPS // options.scale, EMOTION_CLIPS // options.scale
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        started = time.perf_counter()
        write_miniature("first-impressions", folder / "fi", n_clips=n_clips, n_frames=FRAMES)
        write_miniature("afew-va", folder / "va", n_clips=n_emotion, n_frames=EMOTION_FRAMES)
        print(
            f"{n_clips} clips of {FRAMES} frames, {n_emotion} of {EMOTION_FRAMES}, "
            f"{used(folder):.0f} MB, written in {time.perf_counter() - started:.0f} s\n"
        )
        print("| stage | wall | processor | peak memory | disk | at full size |")
        print("|---|---|---|---|---|---|", flush=True)
        data = ["--personality", str(folder / "fi"), "--emotion", str(folder / "va")]
        store = ["--cache", str(folder / "faces")]
        figures = run("align", *data, *store, "--backbone", "sphereface20")
        show("align", figures, used(folder / "faces"), options.scale)
        start = ["train", "--protocol", "persemon", "--preset", "authors", *data, *store]
        start += ["--output", str(folder / "results"), "--backbone", "sphereface20"]
        figures = run(*start, "--epochs", str(options.epochs), "--resamples", "200")
        show(
            f"train, {options.epochs} epochs, and score",
            figures,
            used(folder / "results"),
            options.scale * EPOCHS / options.epochs,
        )
        facts = json.loads((folder / "results" / "results.json").read_text())
        print(json.dumps({k: facts.get(k) for k in ("seconds", "n_faces")} | {"keys": [*facts]}))


if __name__ == "__main__":
    main()
