"""Faces a second that reach a training from a store, against a plain copy of the same bytes.

    python benchmarks/face_feed.py --faces 100000

Writes that many faces (noise, 112 x 96) to a store, as samples of one frame: the first half is the
personality set, the second the emotion set. Then, in alternating rounds of which the median is
printed: a plain copy of its files from the page cache, in their order, into one buffer of a batch's
size; and one epoch of batches, drawn and shuffled as in a training and delivered as tensors, for
each number of workers and each `shuffle`. Workers are started once, as in a training. With
`--curve`, files without content (sparse) of 1,000 to 1e6 faces are opened in fresh processes
instead, and resident memory is printed: before the store is opened, after, and the peak of an
epoch. With `--learning`, models that were trained in both orders are compared instead.
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
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from persona_affect import JointAffectEstimator
from persona_affect._read_ahead import ReadAhead
from persona_affect.datasets import make_affect_faces
from persona_affect.estimators._batches import LabelledClips, MixedBatches, start_workers
from persona_affect.faces._store import FaceStore
from persona_affect.metrics import ccc_score
from persona_affect.networks import Backbone

SIZE = (112, 96)
FACE_BYTES = 112 * 96 * 3
BATCH = 64
COLUMNS = "faces,before_mib,opened_mib,peak_mib,opened_first_s,opened_again_s\n"


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
        "domain": np.arange(n_faces) * 2 // n_faces,
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


def deliver(data: LabelledClips, ahead: ReadAhead | None, shuffle: str) -> float:
    plans = MixedBatches(data, BATCH, 0.5, np.random.RandomState(0), shuffle)
    n_faces, started = 0, time.perf_counter()
    for frames, _ in data.load(plans, torch.Generator(), ahead):
        n_faces += len(frames)
    return n_faces / (time.perf_counter() - started)


def measure_rates(folder: str, n_faces: int, n_rounds: int, workers: list[int]) -> None:
    data = open_faces(folder, n_faces)
    taken: dict[str, list[float]] = {"plain copy": []}
    copy_plainly(folder)
    with ExitStack() as stack:
        pools = {n: stack.enter_context(start_workers([data], n, BATCH)) for n in workers}
        for _ in range(n_rounds):
            taken["plain copy"].append(1 / copy_plainly(folder))
            for shuffle in ("samples", "blocks"):
                for n, ahead in pools.items():
                    name = f"shuffled {shuffle}, {n} workers"
                    taken.setdefault(name, []).append(1 / deliver(data, ahead, shuffle))
    plain = statistics.median(taken["plain copy"])
    print(f"{n_faces:,} faces, median of {n_rounds} rounds\n")
    print(
        "| | faces a second | GB/s | microseconds a face | share of the copy, and of each round |"
        "\n|---|---|---|---|---|"
    )
    for name, found in taken.items():
        each = [f"{a / b:.2f}" for a, b in zip(taken["plain copy"], found, strict=True)]
        cost = statistics.median(found)
        print(
            f"| {name} | {1 / cost:,.0f} | {FACE_BYTES / cost / 1e9:.2f} | {cost * 1e6:.1f} "
            f"| {plain / cost:.2f} ({', '.join(each)}) |"
        )


class SmallBackbone(Backbone):
    """A small network of faces that are made four times smaller, so that many can be trained."""

    input_size, n_features = SIZE, 64

    def __init__(self) -> None:
        super().__init__()
        layers, width = [torch.nn.AvgPool2d(4)], 3
        for wider in (16, 32, 64):
            layers += [torch.nn.Conv2d(width, wider, 3, 2, 1), torch.nn.BatchNorm2d(wider)]
            layers.append(torch.nn.ReLU())
            width = wider
        self.layers = torch.nn.Sequential(
            *layers, torch.nn.Flatten(), torch.nn.Linear(64 * 4 * 3, 64)
        )

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Compute features."""
        return self.layers((frames.permute(0, 3, 1, 2).float() - 127.5) / 128)


def compare_learning(n_seeds: int) -> None:
    """Compare models of both orders by CCC on new persons; each block is photos of one person."""
    print("| seed | samples | blocks | difference |\n|---|---|---|---|", flush=True)
    differences = []
    for seed in range(n_seeds):
        train = make_affect_faces(75, 8, aligned=True, random_state=seed)
        test = make_affect_faces(100, aligned=True, random_state=1000 + seed)
        ccc = {}
        for shuffle in ("samples", "blocks"):
            model = JointAffectEstimator(
                SmallBackbone, max_epochs=30, shuffle=shuffle, random_state=seed
            )
            predicted = model.fit(train.data, train.target).predict(test.data)
            ccc[shuffle] = ccc_score(test.truth, predicted)
        differences.append(ccc["blocks"] - ccc["samples"])
        values = [*ccc.values(), differences[-1]]
        print(f"| {seed} | {' | '.join(f'{value:.3f}' for value in values)} |", flush=True)
    half_width = stats.t.ppf(0.975, n_seeds - 1) * stats.sem(differences)
    print(f"\nMean difference {np.mean(differences):.3f} ± {half_width:.3f} (95 %, Student's t)")


def resident(kind: str = "VmRSS") -> float:
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{kind}:\s+(\d+)", text)[1]) / 1024


def measure_memory(folder: str, n_faces: int, table: str | None) -> None:
    before = resident()
    started = time.perf_counter()
    open_faces(folder, n_faces)
    first, again = time.perf_counter() - started, time.perf_counter()
    data = open_faces(folder, n_faces)
    seconds, opened, peak = time.perf_counter() - again, resident(), 0.0
    plans = MixedBatches(data, BATCH, 0.5, np.random.RandomState(0))
    with start_workers([data], 1, BATCH) as ahead:
        for i, _ in enumerate(data.load(plans, torch.Generator(), ahead)):
            if i % 16 == 0:
                peak = max(peak, resident())
    if table:
        rows = [before, opened, peak, first, seconds]
        with open(table, "a") as file:
            file.write(f"{n_faces},{','.join(f'{value:.2f}' for value in rows)}\n")
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
    parser.add_argument("--csv", help="a file for the figures of the curve")
    parser.add_argument("--learning", type=int, metavar="SEEDS")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory:
        measure_memory(options.folder, options.memory, options.csv)
        return
    if options.learning:
        compare_learning(options.learning)
        return
    with tempfile.TemporaryDirectory() as temporary:
        if options.curve:
            if options.csv:
                Path(options.csv).write_text(COLUMNS)
            print("| faces | size | opened | again | MiB before | opened | peak | bytes a face |")
            print("|---|---|---|---|---|---|---|---|", flush=True)
            for n_faces in (1_000, 10_000, 100_000, 1_000_000):
                folder = f"{temporary}/{n_faces}"
                write_sparse(folder, n_faces)
                own = ["--memory", str(n_faces), "--folder", folder]
                own += ["--csv", options.csv] if options.csv else []
                subprocess.run([sys.executable, __file__, *own], check=True)
            return
        folder = options.folder or temporary
        if not os.path.exists(folder) or not any(Path(folder).iterdir()):
            write(folder, options.faces)
        measure_rates(folder, options.faces, options.rounds, options.workers)


if __name__ == "__main__":
    main()
