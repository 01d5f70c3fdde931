"""Saliency of the bundled model: sanity checks, and deletion compared with random orders.

    PERSONA_AFFECT_DATA=folder python benchmarks/saliency.py [TARGETS] [--faces 30] [--of london]

Maps by integrated gradients (8 steps from grey) or by occlusion (patches of a fifth of the face,
grey), for all seven targets or those that are named, on `--faces` portraits of ``omi`` or
photographs of ``people/london``, evenly chosen. Gains are areas in 6 steps, compared with 2 random
orders, in standard deviations of the ratings, with 95 % bootstrap intervals over faces. With
`--checks`, the two sanity checks of Adebayo et al. instead, by integrated gradients on `--faces`
faces: weights randomised layer after layer, and heads that were trained on permuted labels of
`--portraits` portraits; for *dominant* and *happy*, if no targets are named. With `--figure FILE`,
a picture of the mean maps.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from persona_affect import load_model
from persona_affect.inspection import (
    SaliencyDisplay,
    check_saliency_labels,
    check_saliency_weights,
    explain_faces,
    score_saliency,
)


def choose_photos(folder, of, n_faces):
    if of == "omi":
        photos = sorted((folder / "omi/images").glob("*.jpg"), key=lambda path: int(path.stem))
    else:
        photos = sorted((folder / "people/london/neutral").glob("*.jpg"))
    return [str(photos[i]) for i in np.linspace(0, len(photos) - 1, n_faces).round().astype(int)]


def interval(values, n_draws=2000):
    """Mean with a 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (n_draws, len(values))).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{np.mean(values):+.3f} ({low:+.3f} to {high:+.3f})"


def measure_gains(model, faces, method, figure, targets):
    stds = dict(zip(model[-1].target_names_, model[-1].target_stds_, strict=True))
    rows, displays = [], []
    patch = 0.2 if method == "occlusion" else 0.1
    for name in targets or stds:
        std = stds[name]
        maps = explain_faces(model, faces, name, method=method, n_steps=8, patch=patch)
        scores = score_saliency(
            model, faces, maps, name, patch=patch, n_steps=6, n_random=2, random_state=0
        )
        rows.append(
            {"target": name}
            | {kind: interval(scores[f"{kind}_gain"] / std) for kind in ("deletion", "insertion")}
            | {"faces with a gain in deletion": f"{(scores['deletion_gain'] > 0).mean():.0%}"}
        )
        print(rows[-1], flush=True)
        displays.append((maps, name))
        if figure:
            plot(displays, faces, figure)
    print(pd.DataFrame(rows).to_string(index=False))


def plot(displays, faces, file):
    import matplotlib.pyplot as plt

    pictures = [clip[0] for clip in faces]
    figure, axes = plt.subplots(1, len(displays), figsize=(2.2 * len(displays), 2.6), squeeze=False)
    for (maps, name), ax in zip(displays, axes[0], strict=True):
        SaliencyDisplay(maps, pictures, target=name).plot(ax=ax)
        ax.set_title(name)
    figure.savefig(file, dpi=110, bbox_inches="tight")
    plt.close(figure)


def check(model, faces, photos, folder, targets, n_portraits):
    names = model[-1].target_names_
    for name in targets:
        table = check_saliency_weights(model, faces, name, n_steps=8, n_stages=6, random_state=0)
        print(name, table.round(3).to_string(), sep="\n", flush=True)
    ratings = pd.read_csv(folder / "omi/ratings.csv", index_col="stimulus")[names]
    ratings = ratings.sample(min(n_portraits, len(ratings)), random_state=0)
    paths = [str(folder / "omi/images" / f"{i}.jpg") for i in ratings.index]
    aligned = photos.transform(paths)
    for name in targets:
        heads = make_pipeline(*(clone(step) for step in model))
        found = check_saliency_labels(
            heads, aligned, ratings, name, X_explain=faces, n_steps=8, random_state=0
        )
        print(name, "labels permuted", found.round(3).to_dict(), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGETS")
    parser.add_argument("--faces", type=int, default=30)
    parser.add_argument("--of", choices=["omi", "london"], default="omi")
    parser.add_argument(
        "--method", choices=["integrated_gradients", "occlusion"], default="integrated_gradients"
    )
    parser.add_argument("--checks", action="store_true")
    parser.add_argument("--portraits", type=int, default=804)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    folder = Path(os.environ["PERSONA_AFFECT_DATA"])
    model = load_model()
    faces = model[0].transform(choose_photos(folder, arguments.of, arguments.faces))
    if arguments.checks:
        targets = arguments.targets or ["dominant", "happy"]
        check(model[1:], faces, model[0], folder, targets, arguments.portraits)
    else:
        measure_gains(model[1:], faces, arguments.method, arguments.figure, arguments.targets)


if __name__ == "__main__":
    main()
