"""Alignment of photos by two workers against one, in alternating rounds; the stores must be equal.

OMP_NUM_THREADS=1 python benchmarks/align_workers.py
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from persona_affect import FaceAligner
from persona_affect.datasets import make_affect_faces
from persona_affect.distributed import align_in_chunks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        faces = make_affect_faces(options.photos, image_size=720, random_state=0).data
        photos = [Path(folder) / f"{i}.png" for i in range(len(faces))]
        for photo, face in zip(photos, faces, strict=True):
            Image.fromarray(face).save(photo)
        # The workers are started before the clock is.
        align_in_chunks(FaceAligner(cache=f"{folder}/start"), photos[:4], chunk_size=1, n_jobs=2)
        clips = {}
        for i in range(options.rounds):
            for n_jobs in seconds:
                aligner = FaceAligner(cache=f"{folder}/{i}_{n_jobs}")
                started = time.perf_counter()
                align_in_chunks(aligner, photos, chunk_size=4, n_jobs=n_jobs)
                seconds[n_jobs].append(time.perf_counter() - started)
                clips[n_jobs] = aligner.transform(photos)
        same = all(np.array_equal(a, b) for a, b in zip(clips[1], clips[2], strict=True))
    one, two = (statistics.median(seconds[n]) for n in (1, 2))
    print("| photos | one worker | two workers | ratio | pixels |")
    print("|---|---|---|---|---|")
    pixels = "equal to the bit" if same else "DIFFERENT"
    print(f"| {len(photos)} | {one:.2f} s | {two:.2f} s | {one / two:.2f} | {pixels} |")


if __name__ == "__main__":
    main()
