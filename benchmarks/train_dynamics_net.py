"""Train the network of person-specific dynamics that comes with the package.

    python benchmarks/train_dynamics_net.py --output persona_affect/models/dynamics.safetensors

It learns from the unlabelled rendered persons of benchmarks/dynamics.py. With ``--varied`` it
learns instead from persons in three tasks and from copies of their clips that are disturbed as
videos are (small, compressed, lit from changing sides, aligned with small errors); with ``--grid``
also from the six clips of GRID (CC BY 4.0) in the folder PERSONA_AFFECT_DATA. Clips of GRID that it
has not learnt from (``--leave 0,1,2``) are ranked, and their halves compared.
"""

import argparse
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from dynamics import render
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from persona_affect import FaceAligner, PersonDynamicsEncoder, save_model
from persona_affect.datasets import make_dynamic_clips

TASKS = ("free", "talking", "reacting")
#: Faces are stored at half size, which is twice that of the network's input.
HALF = (48, 56)


def disturb(clip: NDArray[np.uint8], rng: np.random.RandomState) -> NDArray[np.uint8]:
    """Disturb an aligned face clip as a poor video of it would be."""
    n, height, width = clip.shape[:3]
    time = np.arange(n) / 25
    share, quality = rng.uniform(0.35, 1.0), rng.randint(20, 80)
    side, strength, period = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.25), rng.uniform(1, 5)
    level = rng.uniform(0.5, 1.1)
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None] - 0.5
    across = np.cos(side) * x + np.sin(side) * y
    # Errors of the alignment: slow ones, as if the head turned, and others from frame to frame.
    sway = rng.uniform(0, 1.2, 3) * np.sin(
        2 * np.pi * time[:, None] / rng.uniform(0.8, 3, 3) + rng.uniform(0, 2 * np.pi, 3)
    )
    sway += rng.uniform(0, 0.25) * rng.standard_normal((n, 3))
    out = np.empty_like(clip)
    for i, frame in enumerate(clip):
        angle, right, down = sway[i]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
        matrix[:, 2] += right / 2, down / 2
        moved = cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        wave = strength * np.sin(2 * np.pi * time[i] / period)
        light = level * (1 + wave + 0.6 * strength * across)
        moved = np.clip(moved * light[..., None], 0, 255).astype(np.uint8)
        small = cv2.resize(
            moved, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA
        )
        _, code = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
        out[i] = cv2.resize(cv2.imdecode(code, cv2.IMREAD_COLOR), (width, height))
    return out


def shrink(clip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([cv2.resize(face, HALF, interpolation=cv2.INTER_AREA) for face in clip])


def rendered(n_persons: int, seed: int, cache: Path) -> list[NDArray[np.uint8]]:
    path = cache / f"net{seed}_{n_persons}.npz"
    if path.exists():
        return list(np.load(path)["clips"])
    bunch = make_dynamic_clips(n_persons, 1, tasks=TASKS, random_state=7000 + seed)
    clips = [shrink(clip) for clip in bunch.data]
    np.savez(path, clips=np.stack(clips))
    return clips


def grid_clips() -> list[NDArray[np.uint8]]:
    folder = Path(os.environ["PERSONA_AFFECT_DATA"]) / "grid"
    paths = sorted(map(str, folder.glob("*.mpg")))
    return [shrink(clip) for clip in FaceAligner(rate=25, device="cpu").transform(paths)]


def halves_auc(encoder: PersonDynamicsEncoder, clips: list) -> float:
    """Tell the halves of one clip from halves of others, by cosine of standardised descriptors."""
    halves = [half for clip in clips for half in (clip[: len(clip) // 2], clip[len(clip) // 2 :])]
    rows = encoder.transform(halves)
    z = (rows - rows.mean(0)) / np.maximum(rows.std(0), 1e-12)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    owner = np.arange(len(halves)) // 2
    i, j = np.triu_indices(len(z), 1)
    return float(roc_auc_score(owner[i] == owner[j], (z @ z.T)[i, j]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--persons", type=int, default=80, help="of --varied")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--varied", action="store_true", help="three tasks, disturbed copies")
    parser.add_argument("--grid", action="store_true", help="also the clips of GRID")
    parser.add_argument("--leave", default="", help="clips of GRID to leave out, by number")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cache", type=Path, default=Path("dynamics-cache"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.RandomState(options.seed)
    real = grid_clips() if "PERSONA_AFFECT_DATA" in os.environ else []
    left_out = {int(i) for i in options.leave.split(",") if i}
    unseen = [clip for i, clip in enumerate(real) if i in left_out or not options.grid]
    options.cache.mkdir(exist_ok=True)
    if options.varied:
        clips = rendered(options.persons, options.seed, options.cache)
    else:
        clips = list(render("gen", options.seed, options.cache)["small"])
    if options.grid:
        seen = [clip for i, clip in enumerate(real) if i not in left_out]
        # Mirrored, too: they are few.
        clips = clips + [view for clip in seen for view in (clip, clip[:, :, ::-1].copy())] * 3
    settings = {"random_state": options.seed, "device": options.device}
    if options.varied:
        clips = clips + [disturb(clip, rng) for clip in clips]
        clips = [clips[i] for i in rng.permutation(len(clips))]
        settings["batch_size"] = 16
    encoder = PersonDynamicsEncoder(max_epochs=options.epochs, **settings).fit(clips)
    print(f"{len(clips)} clips, {encoder.n_iter_} epochs of {options.epochs}")
    print(encoder.history_.iloc[[-1]].to_string(index=False))
    if unseen:
        accuracy = encoder.ranking_accuracy(unseen)
        print("GRID, unseen: ranking", accuracy[:, 1:].mean(0).round(3), end=" ")
        print("lowest clip", accuracy[:, 1:].min(0).round(3))
        print(f"GRID, unseen: AUC of halves {halves_auc(encoder, unseen):.3f}")
    encoder.set_params(device="auto", verbose=0)
    notes = {
        "purpose": "Describes how a person moves (docs/dynamics_card.md); not to identify people.",
        "data": f"{len(clips)} clips of rendered persons, 25 frames a second"
        + (", and of GRID (Cooke et al. 2006, CC BY 4.0)" if options.grid else ""),
        "licence": "BSD-3-Clause, as the package"
        + ("; credit the GRID corpus (CC BY 4.0)" if options.grid else ""),
    }
    save_model(encoder, options.output, notes=notes)
    print(f"{options.output}: {options.output.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
