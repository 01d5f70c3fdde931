"""Run one face detector in its own environment, for `faces.py`.

A line of JSON on standard input names images (``.npy`` files) and how often to time them. A line on
standard output has the faces, the best wall-clock and processor times in seconds, and the peak
memory of this process.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

Faces = list[tuple[Any, Any, Any]]
Detector = Callable[[list[np.ndarray]], Faces]


def persona_affect_detector(name: str = "mtcnn") -> Detector:
    from persona_affect import FaceAligner

    aligner = FaceAligner(detector=name)
    return lambda images: [(f.boxes, f.scores, f.landmarks) for f in aligner.detect(images)]


def facenet_detector() -> Detector:
    from facenet_pytorch import MTCNN

    network = MTCNN(keep_all=True, select_largest=False)
    nothing = np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2))

    def detect(images: list[np.ndarray]) -> Faces:
        found = [network.detect(image, landmarks=True) for image in images]
        return [nothing if boxes is None else (boxes, p, points) for boxes, p, points in found]

    return detect


def facenet_batch_detector() -> Detector:
    """Use the peer's batch mode: images of one size, and one face at least in each."""
    from facenet_pytorch import MTCNN

    network = MTCNN(keep_all=True, select_largest=False)
    return lambda images: list(zip(*network.detect(np.stack(images), landmarks=True), strict=True))


DETECTORS = {
    "persona_affect": persona_affect_detector,
    "persona_affect yunet": partial(persona_affect_detector, "yunet"),
    "facenet_pytorch": facenet_detector,
    "facenet_pytorch batch": facenet_batch_detector,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("detector", choices=DETECTORS)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    detect = DETECTORS[arguments.detector]()
    for line in sys.stdin:
        request = json.loads(line)
        images = [np.load(path) for path in request["images"]]
        seconds, work = [], []
        for _ in range(request["repeat"]):
            start, start_work = time.perf_counter(), time.process_time()
            found = detect(images)
            seconds.append(time.perf_counter() - start)
            work.append(time.process_time() - start_work)
        answer = {
            "seconds": min(seconds),
            "work": min(work),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "faces": [
                {
                    "boxes": np.asarray(boxes, float).tolist(),
                    "scores": np.asarray(scores, float).tolist(),
                    "landmarks": np.asarray(landmarks, float).tolist(),
                }
                for boxes, scores, landmarks in found
            ],
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
