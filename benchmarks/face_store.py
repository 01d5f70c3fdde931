"""Memory of a training on a hundred thousand stored faces, and the store's speed.

    python benchmarks/face_store.py --faces 100000

Writes that many faces (noise, 112 x 96) to a store, opens it in a fresh process for each backbone,
and trains on all of them: a network of one small convolution for a whole epoch, so that every face
is read, and SphereFace-4 for `--seconds`. Resident memory is read from /proc every 20 ms. Anonymous
memory belongs to the process; file-backed memory is libraries, and mapped faces that were read and
not released.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import Tensor, nn

from persona_affect import JointAffectEstimator
from persona_affect.faces._store import FaceStore
from persona_affect.networks import Backbone

SIZE = (112, 96)
FRAMES_AT_ONCE = 256


def write(folder: str, n_faces: int) -> None:
    store = FaceStore(folder, {}, SIZE)
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    for start in range(0, n_faces, FRAMES_AT_ONCE):
        names = range(start, min(start + FRAMES_AT_ONCE, n_faces))
        faces = rng.integers(0, 256, (len(names), 1, *SIZE, 3), np.uint8)
        store.add([(f"{i:064x}", faces[i - start], []) for i in names])
    store.close()
    size = sum(path.stat().st_size for path in store.folder.glob("*.faces"))
    print(
        f"{n_faces:,} faces, {size / 1e9:.2f} GB, written in {time.perf_counter() - started:.0f} s"
    )
    print("Resident memory in MiB; the last three columns are peaks.\n")


class OneConvolution(Backbone):
    """As little of a network as there can be: what remains is reading the faces."""

    def __init__(self) -> None:
        super().__init__()
        self.input_size, self.n_features = SIZE, 8
        self.conv = nn.Conv2d(3, 8, 16, stride=16)

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames."""
        return self.conv(frames.permute(0, 3, 1, 2) / 255).mean((2, 3))


class TimeIsOverError(Exception):
    """Ends a training that has gone on long enough."""


class Limit(Callback):
    """Counts samples, and ends the training when time is over."""

    seconds, seen, started = np.inf, 0, 0.0

    def on_batch_end(self, net, batch=None, **kwargs):
        """Count."""
        Limit.seen += int(batch[1]["clip"].max()) + 1
        if time.perf_counter() - Limit.started > Limit.seconds:
            raise TimeIsOverError


class Watch(threading.Thread):
    """Keeps the highest of what is resident."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = dict.fromkeys(("VmRSS", "RssAnon", "RssFile"), 0.0)

    def look(self) -> dict[str, float]:
        """Read what is resident, in MiB."""
        text = Path("/proc/self/status").read_text()
        return {k: int(re.search(rf"{k}:\s+(\d+)", text)[1]) / 1024 for k in self.peak}

    def run(self) -> None:
        """Look again and again."""
        while True:
            for kind, value in self.look().items():
                self.peak[kind] = max(self.peak[kind], value)
            time.sleep(0.02)


def train(folder: str, n_faces: int, options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    watch = Watch()
    watch.start()
    started = time.perf_counter()
    store = FaceStore(folder, {}, SIZE)
    X = np.empty(n_faces, dtype=object)
    for i in range(n_faces):
        X[i] = store.get(f"{i:064x}")[0]
    y = np.random.default_rng(0).uniform(size=(n_faces, 7))
    y[::2, 5:] = y[1::2, :5] = np.nan
    opened = time.perf_counter() - started
    before = watch.look()
    name, whole = options.backbone, options.backbone == "one convolution"
    model = JointAffectEstimator(
        OneConvolution if whole else name,
        max_epochs=1,
        batch_size=64,
        augmentation="mirror",
        callbacks=[Limit()],
        random_state=0,
    )
    Limit.seconds = np.inf if whole else options.seconds
    Limit.started = started = time.perf_counter()
    with suppress(TimeIsOverError):
        model.fit(X, y)
    seconds = time.perf_counter() - started
    peak = watch.peak
    print(
        f"| {name} | {opened:.1f} s | {before['VmRSS']:.0f} | {Limit.seen:,} in {seconds:.0f} s "
        f"| {peak['RssAnon']:.0f} | {peak['RssFile']:.0f} | **{peak['VmRSS']:.0f}** |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--backbones", nargs="+", default=["one convolution", "sphereface4"])
    parser.add_argument("--seconds", type=float, default=60, help="of a training that is cut short")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", help="where to write; a temporary folder by default")
    parser.add_argument("--backbone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.backbone:
        train(options.folder, options.faces, options)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write(folder, options.faces)
        print("| backbone | opened in | MiB then | samples | anonymous | file-backed | all |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for backbone in options.backbones:
            own = ["--folder", folder, "--backbone", backbone]
            subprocess.run([sys.executable, __file__, *sys.argv[1:], *own], check=True)


if __name__ == "__main__":
    main()
