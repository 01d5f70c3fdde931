"""Annotate a 720p clip of a speaker with the bundled model: frames a second, and a profile.

    PERSONA_AFFECT_DATA=... python benchmarks/annotate.py --threads 2

The clips of GRID (25 frames a second) are enlarged to 1280 x 720 and joined, with their sound. Each
setting runs in a new process, so that its peak memory is measured alone; loading is not counted.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

from persona_affect.media import VideoWriter, iter_frames

RATE = 25
#: Where time goes, by the functions whose cumulative time is printed.
PLACES = {
    "detect_faces": "detecting faces",
    "follow_faces": "following faces",
    "_predict": "predicting (ResNet29 trunk, heads)",
    "align_face": "aligning",
    "draw_faces": "drawing",
    "write": "writing (x264, tables)",
}


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


def work(clip: Path, detect_every: int, film: bool, profile: bool) -> None:
    """Annotate once, and print what it took."""
    from persona_affect import FrameAnnotator, load_model

    annotator = FrameAnnotator(load_model(), detect_every=detect_every)
    first = next(iter(iter_frames(clip)))
    # Networks are loaded, and torch plans its convolutions, at the first frame.
    list(annotator.annotate([first.image]))
    profiler = cProfile.Profile()
    start = time.perf_counter()
    if profile:
        profiler.enable()
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder, "marked.mp4") if film else None
        annotator.to_file(clip, Path(folder, "rows.csv"), video=video)
        n_frames = len(Path(folder, "rows.csv").read_text().splitlines()) - 1
    profiler.disable()
    answer = {
        "seconds": time.perf_counter() - start,
        "frames": n_frames,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if profile:
        spent = dict.fromkeys(PLACES, 0.0)
        for (_, _, name), (_, _, _, cumulative, _) in pstats.Stats(profiler).stats.items():
            if name in spent:
                spent[name] = max(spent[name], cumulative)
        answer["spent"] = spent
    print(json.dumps(answer))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=450)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        clip, detect_every, film, profile = arguments.work
        work(Path(clip), int(detect_every), film == "film", profile == "profile")
        return
    if "PERSONA_AFFECT_DATA" not in os.environ:
        sys.exit("Set PERSONA_AFFECT_DATA to the folder with grid/.")

    def ask(*settings: str) -> dict:
        done = subprocess.run(
            [sys.executable, __file__, "--work", str(clip), *settings],
            check=True,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads)},
        )
        return json.loads(done.stdout.splitlines()[-1])

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "head.mp4")
        talking_head(clip, arguments.frames)
        print(f"1280 x 720, {arguments.frames} frames, {arguments.threads} threads\n")
        print("| detect_every | writes | frames a second | of real time | peak memory, MiB |")
        print("|---|---|---|---|---|")
        for detect_every in ("1", "5"):
            for film in ("rows", "film"):
                got = ask(detect_every, film, "plain")
                rate = got["frames"] / got["seconds"]
                writes = "rows and video" if film == "film" else "rows"
                print(
                    f"| {detect_every} | {writes} | {rate:.1f} | {rate / RATE:.2f} | "
                    f"{got['peak_mib']:.0f} |",
                    flush=True,
                )
        print("\n| ms a frame (rows and video, under a profiler) | 1 | 5 |\n|---|---|---|")
        profiles = [ask(detect_every, "film", "profile") for detect_every in ("1", "5")]
        for name, what in PLACES.items():
            cells = [1000 * got["spent"][name] / got["frames"] for got in profiles]
            print(f"| {what} | {cells[0]:.1f} | {cells[1]:.1f} |")


if __name__ == "__main__":
    main()
