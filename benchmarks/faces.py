"""Compare our face detectors with facenet-pytorch: the faces, and the speed.

    PERSONA_AFFECT_DATA=... python benchmarks/faces.py --peer /path/to/peer/bin/python

The other environment (``--peer``) needs facenet-pytorch with the version of torch that it requires.
Each detector runs in its own process, and they run in turns on the same images, so that a busy
machine slows all. The median of `--rounds` turns after the first counts. With
``--write-reference``, the results of facenet-pytorch for the real photos are written to the file
that the tests compare with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from face_scenes import collage, drawn_scenes, real_scenes

from persona_affect.media import open_clip, open_photo

HERE = Path(__file__).parent
REFERENCE = HERE.parent / "tests" / "faces" / "mtcnn_reference.json"

Photo = npt.NDArray[np.uint8]


class Worker:
    """A detector in a process of its own."""

    def __init__(self, python: str, detector: str, threads: int) -> None:
        self.process = subprocess.Popen(
            [python, str(HERE / "detector_worker.py"), detector, "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )

    def ask(self, paths: list[str], repeat: int = 1) -> dict[str, Any]:
        """Have the images looked at `repeat` times, and return faces, best time and memory."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"images": paths, "repeat": repeat}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the detector's process ended; its error stands above.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def save(photos: list[Photo], folder: str, name: str) -> list[str]:
    paths = []
    for number, photo in enumerate(photos):
        paths.append(str(Path(folder, f"{name}-{number}.npy")))
        np.save(paths[-1], photo)
    return paths


def match(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[list[tuple[float, float]], int]:
    """Pair faces at IoU 0.7: (IoU, landmark error / box size) of each pair, and the unpaired."""
    boxes, others = np.reshape(ours["boxes"], (-1, 4)), np.reshape(theirs["boxes"], (-1, 4))
    pairs, free = [], set(range(len(others)))
    for box, points in zip(boxes, ours["landmarks"], strict=True):
        overlaps = {other: iou(box, others[other]) for other in free}
        best = max(overlaps, key=overlaps.__getitem__, default=None)
        if best is None or overlaps[best] < 0.7:
            continue
        free.remove(best)
        size = (others[best][2:] - others[best][:2]).max()
        error = np.abs(np.array(points) - theirs["landmarks"][best]).max() / size
        pairs.append((overlaps[best], float(error)))
    return pairs, len(boxes) + len(others) - 2 * len(pairs)


def iou(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    overlap = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(overlap / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - overlap))


def speed_tasks() -> dict[str, list[Photo]]:
    folder = os.environ["PERSONA_AFFECT_DATA"]
    portraits = [
        open_photo(path) for path in sorted(Path(folder, "omi/images").glob("*.jpg"))[::50]
    ]
    clip = open_clip(sorted(Path(folder, "grid").glob("*.mpg"))[0])[::9]
    return {
        "1080p, 7 faces": [collage(portraits, 7, (1080, 1920), seed) for seed in range(4)],
        "512 px portrait": [
            cv2.resize(p, (512, 512), interpolation=cv2.INTER_CUBIC) for p in portraits
        ],
        "720p talking head": [
            cv2.resize(f, (1280, 720), interpolation=cv2.INTER_CUBIC) for f in clip
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", required=True, help="the Python of the peer's environment")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write-reference", action="store_true")
    arguments = parser.parse_args()
    if "PERSONA_AFFECT_DATA" not in os.environ:
        sys.exit("Set PERSONA_AFFECT_DATA to the folder with omi/ and grid/.")

    workers = {
        "persona_affect": Worker(sys.executable, "persona_affect", arguments.threads),
        "persona_affect yunet": Worker(sys.executable, "persona_affect yunet", arguments.threads),
        "facenet_pytorch": Worker(arguments.peer, "facenet_pytorch", arguments.threads),
        "facenet_pytorch batch": Worker(arguments.peer, "facenet_pytorch batch", arguments.threads),
    }
    with tempfile.TemporaryDirectory() as folder:
        compare_faces(workers, folder, arguments.write_reference)
        if arguments.rounds > 0:
            compare_speed(workers, folder, arguments.rounds)
    for worker in workers.values():
        worker.close()


def compare_faces(workers: dict[str, Worker], folder: str, write_reference: bool) -> None:
    real = real_scenes()
    scenes = real | drawn_scenes()
    paths = save(list(scenes.values()), folder, "scene")
    ours = workers["persona_affect"].ask(paths)["faces"]
    theirs = workers["facenet_pytorch"].ask(paths)["faces"]
    pairs, unpaired = [], 0
    for name, mine, other in zip(scenes, ours, theirs, strict=True):
        found, left = match(mine, other)
        pairs += found
        unpaired += left
        if left:
            print(f"  {name}: {left} faces without a partner")
    print(f"{len(scenes)} photos, the cascade and facenet-pytorch: {describe(pairs, unpaired)}")
    compare_yunet(workers["persona_affect yunet"].ask(paths)["faces"], ours)
    if write_reference:
        reference = {name: theirs[number] for number, name in enumerate(real)}
        digits = json.loads(json.dumps(reference), parse_float=lambda text: round(float(text), 3))
        REFERENCE.write_text(json.dumps(digits, separators=(",", ":")) + "\n")
        print(f"Wrote {REFERENCE}.")


def describe(pairs: list[tuple[float, float]], unpaired: int) -> str:
    overlaps, errors = zip(*pairs, strict=True)
    return (
        f"{len(pairs)} faces found by both, {unpaired} by one alone: "
        f"F1 {2 * len(pairs) / (2 * len(pairs) + unpaired):.4f} at IoU 0.7; "
        f"lowest IoU {min(overlaps):.5f}; landmark error {np.median(errors):.1e} of the box "
        f"(median), {max(errors):.1e} (largest)."
    )


def compare_yunet(found: list[dict[str, Any]], cascade: list[dict[str, Any]]) -> None:
    """Compare with the whole cascade; the landmark error of a face is the largest of ten."""
    pairs, unpaired, large = [], 0, 0
    for mine, other in zip(found, cascade, strict=True):
        some, left = match(mine, other)
        pairs += some
        unpaired += left
        confident = [
            i
            for i, (box, score) in enumerate(zip(other["boxes"], other["scores"], strict=True))
            if score >= 0.95 and max(box[2] - box[0], box[3] - box[1]) >= 40
        ]
        kept = {key: [other[key][i] for i in confident] for key in other}
        large += len(confident) - len(match(mine, kept)[0])
    print(f"yunet and the cascade: {describe(pairs, unpaired)}")
    print(f"Of the faces of 40 pixels and a score of 0.95 or more, {large} are lost.")


def compare_speed(workers: dict[str, Worker], folder: str, rounds: int) -> None:
    print("\nimages a second, median of the rounds after the first; ratios to the faster peer\n")
    print(f"| | {' | '.join(workers)} | mtcnn | yunet | of processor time |")
    print("|---" * (len(workers) + 4) + "|")
    for name, photos in speed_tasks().items():
        paths = save(photos, folder, name.replace(" ", "-"))
        rates: dict[str, list[float]] = {detector: [] for detector in workers}
        work: dict[str, list[float]] = {detector: [] for detector in workers}
        for _ in range(rounds):
            for detector, worker in workers.items():
                answer = worker.ask(paths)
                rates[detector].append(len(paths) / answer["seconds"])
                work[detector].append(answer["work"])
        # The first round includes warming up.
        best = {detector: float(np.median(values[1:])) for detector, values in rates.items()}
        spent = {detector: float(np.median(values[1:])) for detector, values in work.items()}
        peer = max(rate for detector, rate in best.items() if "facenet" in detector)
        peer_work = min(value for detector, value in spent.items() if "facenet" in detector)
        ours = [detector for detector in workers if "facenet" not in detector]
        cells = [f"{rate:.1f}" for rate in best.values()]
        cells += [f"{best[detector] / peer:.2f}" for detector in ours]
        cells.append(", ".join(f"{peer_work / spent[detector]:.2f}" for detector in ours))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    peaks = [
        worker.ask(save([np.zeros((64, 64, 3), np.uint8)], folder, "grey"))["peak_mib"]
        for name, worker in workers.items()
        if "batch" not in name
    ]
    names = [name for name in workers if "batch" not in name]
    print(
        "\npeak memory, MiB: "
        + ", ".join(f"{n} {p:.0f}" for n, p in zip(names, peaks, strict=True))
    )


if __name__ == "__main__":
    main()
