"""Faces a second that reach a training from a store, against a plain copy of the same bytes.

    python benchmarks/face_feed.py --faces 100000

Writes that many faces (noise, 112 x 96) to a store. Then, in alternating rounds of which the median
is printed: a plain copy of its files from the page cache, in their order, into one buffer of a
batch's size; and one epoch of batches, drawn and shuffled as in a training and delivered as
tensors, for each number of workers. With `--curve`, files without content (sparse) of 1,000 to 1e6
faces are opened in fresh processes instead, and resident memory is printed: before the store is
opened, after, and the peak of an epoch.
"""

import argparse
import json
import mmap
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import torch

from persona_affect.estimators._batches import LabelledClips, MixedBatches
from persona_affect.faces._store import FaceStore

SIZE = (112, 96)
FACE_BYTES = 112 * 96 * 3
BATCH = 64


def write(folder: str, n_faces: int, step: int = 256) -> None:
    store = FaceStore(folder, {}, SIZE)
    rng = np.random.default_rng(0)
    for start in range(0, n_faces, step):
        names = range(start, min(start + step, n_faces))
        faces = rng.integers(0, 256, (len(names), 1, *SIZE, 3), np.uint8)
        store.add([(f"{i:064x}", faces[i - start], []) for i in names])
    store.close()


def write_sparse(folder: str, n_faces: int, shard: int = 33_000) -> None:
    """Write a store whose files have no content: an index, and holes that are read as zeros."""
    place = FaceStore(folder, {}, SIZE).folder
    checksum = zlib.crc32(bytes(FACE_BYTES))
    for number, start in enumerate(range(0, n_faces, shard)):
        names = range(start, min(start + shard, n_faces))
        with (place / f"{number:032x}.faces").open("wb") as file:
            file.truncate(len(names) * FACE_BYTES)
        lines = (json.dumps([f"{i:064x}", i - start, 1, checksum, [0]]) + "\n" for i in names)
        (place / f"{number:032x}.jsonl").write_text("".join(lines))


def open_faces(folder: str, n_faces: int) -> LabelledClips:
    store = FaceStore(folder, {}, SIZE)
    labels = {
        "personality": np.zeros((n_faces, 5), np.float32),
        "emotion": np.zeros((n_faces, 2), np.float32),
        "domain": np.arange(n_faces) % 2,
    }
    store.check(f"{i:064x}" for i in range(n_faces))
    return LabelledClips([store.get(f"{i:064x}")[0] for i in range(n_faces)], labels, 1)


def copy_plainly(folder: str) -> float:
    # Of whole pages, as the memory that workers read into: some copies into others are slower.
    buffer = memoryview(mmap.mmap(-1, BATCH * FACE_BYTES))
    n_bytes, started = 0, time.perf_counter()
    for path in sorted(Path(folder).rglob("*.faces")):
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                n_bytes += count
    return n_bytes / FACE_BYTES / (time.perf_counter() - started)


def deliver(data: LabelledClips, n_workers: int) -> float:
    plans = MixedBatches(data, BATCH, 0.5, np.random.RandomState(0))
    n_faces, started = 0, time.perf_counter()
    for frames, _ in data.load(plans, torch.Generator(), n_workers):
        n_faces += len(frames)
    return n_faces / (time.perf_counter() - started)


def resident(kind: str = "VmRSS") -> float:
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{kind}:\s+(\d+)", text)[1]) / 1024


def measure_memory(folder: str, n_faces: int) -> None:
    before = resident()
    started = time.perf_counter()
    open_faces(folder, n_faces)
    first, again = time.perf_counter() - started, time.perf_counter()
    data = open_faces(folder, n_faces)
    seconds, opened, peak = time.perf_counter() - again, resident(), 0.0
    plans = MixedBatches(data, BATCH, 0.5, np.random.RandomState(0))
    for i, _ in enumerate(data.load(plans, torch.Generator(), 1)):
        if i % 16 == 0:
            peak = max(peak, resident())
    print(
        f"| {n_faces:,} | {n_faces * FACE_BYTES / 1e9:.2f} GB | {first:.1f} s | {seconds:.1f} s "
        f"| {before:.0f} | {opened:.0f} | {peak:.0f} | {(peak - before) * 2**20 / n_faces:,.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", help="a store of this script; by default it is written anew")
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        measure_memory(options.folder, options.memory)
        return
    with tempfile.TemporaryDirectory() as temporary:
        if options.curve:
            print("| faces | size | opened | again | MiB before | opened | peak | bytes a face |")
            print("|---|---|---|---|---|---|---|---|", flush=True)
            for n_faces in (1_000, 10_000, 100_000, 1_000_000):
                folder = f"{temporary}/{n_faces}"
                write_sparse(folder, n_faces)
                own = ["--memory", str(n_faces), "--folder", folder]
                subprocess.run([sys.executable, __file__, *own], check=True)
            return
        folder = options.folder or temporary
        if not os.path.exists(folder) or not any(Path(folder).iterdir()):
            write(folder, options.faces)
        data = open_faces(folder, options.faces)
        names = ["plain copy", *(f"{n} workers" for n in options.workers)]
        taken: dict[str, list[float]] = {name: [] for name in names}
        copy_plainly(folder)
        for _ in range(options.rounds):
            taken["plain copy"].append(1 / copy_plainly(folder))
            for n in options.workers:
                taken[f"{n} workers"].append(1 / deliver(data, n))
    plain = statistics.median(taken["plain copy"])
    print(f"{options.faces:,} faces, median of {options.rounds} rounds\n")
    print("| | faces a second | GB/s | share of the copy, and of each round |\n|---|---|---|---|")
    for name, found in taken.items():
        each = [f"{a / b:.2f}" for a, b in zip(taken["plain copy"], found, strict=True)]
        rate = 1 / statistics.median(found)
        share = f"{rate * plain:.2f} ({', '.join(each)})"
        print(f"| {name} | {rate:,.0f} | {rate * FACE_BYTES / 1e9:.2f} | {share} |")


if __name__ == "__main__":
    main()
