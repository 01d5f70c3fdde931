"""Annotate a 720p clip of a speaker with the bundled model: frames a second.

    PERSONA_AFFECT_DATA=... python benchmarks/annotate.py --threads 2

The clips of GRID (25 frames a second) are enlarged to 1280 x 720 and joined, with their sound. Each
setting runs in a new process, so that its peak memory is measured alone; loading is not counted.
The settings run in turns, and medians are compared, so that other programs disturb all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import cv2

from persona_affect.media import VideoWriter, iter_frames

RATE = 25
#: Options of `load_stream_model`; the third is what the command does by default.
MODELS: dict[str, dict[str, Any]] = {
    "mtcnn, torch, mirror": {"detector": "mtcnn", "mirror": True},
    "yunet, torch, mirror": {"mirror": True},
    "yunet, torch": {},
    "yunet, openvino": {"engine": "openvino"},
    "yunet, openvino, bfloat16": {"engine": "openvino", "precision": "bfloat16"},
}
RUNS = (
    *((model, "rows", 1) for model in MODELS),
    ("yunet, torch", "rows and video", 1),
    ("yunet, openvino", "rows and video", 1),
    ("yunet, torch", "rows", 5),
)


def talking_head(path: Path, n_frames: int) -> None:
    """Write a 720p clip of at most `n_frames`."""
    clips = sorted(Path(os.environ["PERSONA_AFFECT_DATA"], "grid").glob("*.mpg"))
    with VideoWriter(path, rate=RATE, size=(1280, 720), audio_from=clips[0]) as video:
        left = n_frames
        for clip in clips:
            for frame in iter_frames(clip):
                if left == 0:
                    return
                left -= 1
                video.write(cv2.resize(frame.image, (1280, 720), interpolation=cv2.INTER_CUBIC))


def work(clip: Path, model: str, writes: str, detect_every: int) -> None:
    """Annotate once, and print what it took."""
    from persona_affect import FrameAnnotator
    from persona_affect.app._options import load_stream_model

    begin = time.perf_counter()
    pipeline = load_stream_model(None, **MODELS[model])
    loading = time.perf_counter() - begin
    annotator = FrameAnnotator(pipeline, detect_every=detect_every)
    first = next(iter(iter_frames(clip)))
    # Networks are loaded, and torch plans its convolutions, at the first frames.
    list(annotator.annotate([first.image] * 16))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder, "marked.mp4") if writes == "rows and video" else None
        annotator.to_file(clip, Path(folder, "rows.csv"), video=video)
        n_frames = len(Path(folder, "rows.csv").read_text().splitlines()) - 1
    answer = {
        "seconds": time.perf_counter() - start,
        "loading": loading,
        "frames": n_frames,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(answer))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        clip, model, writes, detect_every = arguments.work
        work(Path(clip), model, writes, int(detect_every))
        return
    if "PERSONA_AFFECT_DATA" not in os.environ:
        sys.exit("Set PERSONA_AFFECT_DATA to the folder with grid/.")

    def ask(clip: Path, *settings: object) -> dict:
        done = subprocess.run(
            [sys.executable, __file__, "--work", str(clip), *map(str, settings)],
            check=True,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads)},
        )
        return json.loads(done.stdout.splitlines()[-1])

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "head.mp4")
        talking_head(clip, arguments.frames)
        got: dict = {run: [] for run in RUNS}
        for _ in range(arguments.rounds):
            for run in RUNS:
                got[run].append(ask(clip, *run))
    print(f"1280 x 720, {arguments.frames} frames, {arguments.threads} threads, medians\n")
    heads = [
        "model",
        "writes",
        "detect_every",
        "frames a second",
        "of the first",
        "MiB",
        "start, s",
    ]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")

    def middle(run: tuple, what: str) -> float:
        return median(answer[what] for answer in got[run])

    for run in RUNS:
        rate = arguments.frames / middle(run, "seconds")
        first = arguments.frames / middle(RUNS[0], "seconds")
        print(
            f"| {' | '.join(map(str, run))} | {rate:.1f} | {rate / first:.2f} | "
            f"{middle(run, 'peak_mib'):.0f} | {middle(run, 'loading'):.1f} |"
        )


if __name__ == "__main__":
    main()
