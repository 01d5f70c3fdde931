"""What a GPU gives: networks in float32 and bfloat16, detection, and the path from a frame on.

    python benchmarks/gpu.py

It needs only this repository, its dependencies and a GPU, and takes three minutes. It prints a
Markdown table for each section; if a section fails, it prints the error and goes on. The share of
the peak is the number of operations that torch counts, divided by the time, and by what one large
matrix product reaches in the same precision in the same run. Faces are rendered, and SphereFace-20
has random weights: neither changes the time. Without a GPU it runs with small sizes, as a test of
itself.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from face_scenes import collage
from torch.utils.flop_counter import FlopCounterMode

from persona_affect import FaceAligner, load_model
from persona_affect.datasets import make_affect_faces
from persona_affect.estimators import make_face_network
from persona_affect.networks import make_backbone

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
BATCHES = (64, 128, 256, 512, 1024) if GPU else (2, 4)
#: Seconds for which each piece of work is repeated.
SECONDS = 0.5 if GPU else 0.05
SIDE = 8192 if GPU else 512
N_FRAMES = 32 if GPU else 2
#: What runs at each precision, and the precision of the matrix product that it is compared with.
PRECISIONS = ("float32", "tf32", "bfloat16")


def synchronize() -> None:
    if GPU:
        torch.cuda.synchronize()


def rate(work: Callable[[], Any], seconds: float = SECONDS) -> float:
    """Return how often a piece of work is done in a second, after it ran twice."""
    for _ in range(2):
        work()
    synchronize()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds or count < 3:
        work()
        synchronize()
        count += 1
    return count / (time.perf_counter() - start)


def computing(precision: str) -> Any:
    """Return the context in which a network computes at a precision."""
    allowed = precision != "float32"
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
    return torch.autocast(DEVICE, torch.bfloat16) if precision == "bfloat16" else nullcontext()


def measure_peaks() -> dict[str, float]:
    """Return the operations a second of a large matrix product, at each precision."""
    peaks = {}
    for precision in PRECISIONS:
        kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
        a, b = (torch.randn(SIDE, SIDE, device=DEVICE, dtype=kind) for _ in range(2))
        with computing(precision):
            peaks[precision] = 2 * SIDE**3 * rate(partial(torch.mm, a, b))
    return peaks


def machine() -> dict[str, float]:
    name = torch.cuda.get_device_name() if GPU else "no GPU: small sizes, the figures mean nothing"
    print(f"{name}; torch {torch.__version__}; {os.cpu_count()} processors.\n")
    peaks = measure_peaks()
    print(f"| matrix product, {SIDE} x {SIDE} | TFLOP/s |\n|---|---|")
    for precision, peak in peaks.items():
        print(f"| {precision} | {peak / 1e12:.1f} |")
    return peaks


def count_operations(network: torch.nn.Module, faces: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(faces)
    return counter.get_total_flops() // len(faces)


def build_networks() -> dict[str, tuple[torch.nn.Module, tuple[int, int]]]:
    sphereface = make_backbone("sphereface20").eval()
    return {
        "SphereFace-20, 112 x 96": (sphereface, (112, 96)),
        "bundled model, 150 x 150, with mirror images": (
            make_face_network(load_model()[1:]),
            (150, 150),
        ),
    }


def networks(peaks: dict[str, float]) -> None:
    print(
        "| network | GFLOP a face | precision | faces a second by batch: "
        + ", ".join(map(str, BATCHES))
        + " | best | share of the peak | processor, float32 | difference |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, (network, size) in build_networks().items():
        faces = np.random.default_rng(0).integers(0, 256, (max(BATCHES), *size, 3), np.uint8)
        few = torch.from_numpy(faces[: min(16, len(faces))])
        n_operations = count_operations(network, few[:1])
        with torch.inference_mode():
            expected = network(few).double()
            processor = rate(partial(network, few)) * len(few)
            network = network.to(DEVICE, memory_format=torch.channels_last)
            there = torch.from_numpy(faces).to(DEVICE)
            for precision in PRECISIONS:
                with computing(precision):
                    away = (network(few.to(DEVICE)).double().cpu() - expected).norm()
                    rates = [rate(partial(network, there[:n])) * n for n in BATCHES]
                share = max(rates) * n_operations / peaks[precision]
                print(
                    f"| {name} | {n_operations / 1e9:.2f} | {precision} | "
                    f"{', '.join(f'{r:,.0f}' for r in rates)} | {max(rates):,.0f} | {share:.0%} | "
                    f"{processor:,.0f} | {away / expected.norm():.1e} |",
                    flush=True,
                )


def scenes() -> list[np.ndarray]:
    faces = list(make_affect_faces(30, image_size=256, random_state=0).data)
    some = [collage(faces, 7, (1080, 1920), seed) for seed in range(min(4, N_FRAMES))]
    return [some[i % len(some)] for i in range(N_FRAMES)]


def detection() -> None:
    frames = scenes()
    print("| 1080p, 7 faces | frames a second | faces found | processor | faces found | ratio |")
    print("|---|---|---|---|---|---|")
    for detector in ("mtcnn", "yunet"):
        rates, counts = [], []
        for device, some in ((DEVICE, frames), ("cpu", frames[:4])):
            aligner = FaceAligner(detector=detector, device=device)
            found = aligner.detect_frames(some)
            counts.append(sum(map(len, found)) / len(found))
            work = partial(aligner.detect_frames, some)
            rates.append(rate(work, 2 * SECONDS) * len(some))
        print(
            f"| {detector} | {rates[0]:.0f} | {counts[0]:.2f} | {rates[1]:.1f} | {counts[1]:.2f} | "
            f"{rates[0] / rates[1]:.1f} |",
            flush=True,
        )


def set_devices(model: Any, device: str) -> Any:
    """Set the device of each step that has one."""
    names = [name for name in model.get_params() if name.split("__")[-1] == "device"]
    return model.set_params(**dict.fromkeys(names, device))


def whole_path() -> None:
    photos = make_affect_faces(32, image_size=256, random_state=1).data[: 2 * N_FRAMES]
    print("| photos, bundled model, detector yunet | photos a second | aligning | predicting |")
    print("|---|---|---|---|")
    values = {}
    for device in dict.fromkeys((DEVICE, "cpu")):
        model = set_devices(load_model(), device).set_params()
        model[0].set_params(detector="yunet")
        some = photos if device != "cpu" else photos[:16]
        clips = model[0].transform(some)
        values[device] = model.predict(photos[:16])
        parts = [
            rate(work, SECONDS) * len(some)
            for work in (
                partial(model.predict, some),
                partial(model[0].transform, some),
                partial(model[1:].predict, clips),
            )
        ]
        print(f"| {device} | " + " | ".join(f"{part:,.0f}" for part in parts) + " |", flush=True)
    away = np.nanmax(np.abs(values[DEVICE] - values["cpu"]))
    print(f"\nLargest difference of a prediction, GPU and processor: {away:.1e}.")


def compiled(peaks: dict[str, float]) -> None:
    network, size = build_networks()["SphereFace-20, 112 x 96"]
    n = max(BATCHES)
    faces = np.random.default_rng(0).integers(0, 256, (n, *size, 3), np.uint8)
    there = torch.from_numpy(faces).to(DEVICE)
    n_operations = count_operations(network, torch.from_numpy(faces[:1]))
    network = torch.compile(network.to(DEVICE, memory_format=torch.channels_last))
    with torch.inference_mode(), computing("bfloat16"):
        best = rate(partial(network, there)) * n
    share = best * n_operations / peaks["bfloat16"]
    print(
        f"SphereFace-20 by torch.compile, bfloat16, batch {n}: {best:,.0f} faces a second, "
        f"{share:.0%} of the peak."
    )


def main() -> int:
    peaks: dict[str, float] = {}
    failed = []
    sections: dict[str, Callable[[], Any]] = {
        "The machine": lambda: peaks.update(machine()),
        "Networks": lambda: networks(peaks),
        "Detection": detection,
        "From photos to numbers": whole_path,
        "Compiled": lambda: compiled(peaks),
    }
    for name, section in sections.items():
        print(f"\n## {name}\n", flush=True)
        start = time.perf_counter()
        try:
            section()
        except Exception:
            failed.append(name)
            print(f"```\n{traceback.format_exc()}```")
        print(f"\n({time.perf_counter() - start:.0f} s)", flush=True)
    if failed:
        print(f"\nFailed: {', '.join(failed)}.")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
