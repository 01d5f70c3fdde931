"""Describe persons by how they move: all stages, with pictures.

    python examples/person_dynamics.py --persons 60 --out dynamics.png

How people move contains information that no single frame has. A network learns from unlabelled
clips to find the order of frames in time. Then filters are inserted into it and learn from the
clips of one person; their weights describe how that person moves. All persons here are rendered,
and the traits are invented: each follows one style of movement, none the look of the face. It takes
a few minutes on two cores. With fewer persons, the regression has too little training data.
"""

import argparse
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from persona_affect import PersonDynamicsEncoder
from persona_affect.datasets import make_dynamic_clips
from persona_affect.metrics import ccc_score


def main() -> None:
    parser = argparse.ArgumentParser(description="Person-specific facial dynamics")
    parser.add_argument("--persons", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--out", default="person_dynamics.png")
    options = parser.parse_args()

    # %%
    # Persons who differ in how they move: two clips of each, aligned faces as FaceAligner gives.
    strangers = make_dynamic_clips(options.persons, 2, random_state=0)
    persons = make_dynamic_clips(options.persons, 2, random_state=1)
    print(f"{len(persons.data)} clips of {persons.data[0].shape[0]} frames")

    # %%
    # Stage 1: a generic U-net learns the order of frames from unlabelled clips of strangers. At
    # scale k it ranks the 2k + 1 frames around a face; the accuracy ignores the input frames.
    encoder = PersonDynamicsEncoder(max_epochs=options.epochs, random_state=0, verbose=1)
    encoder.fit(strangers.data)
    accuracy = encoder.ranking_accuracy(persons.data[:20]).mean(axis=0)
    # At scale 1 all ranked frames are input frames.
    for scale, share in list(zip(encoder.scales, accuracy, strict=True))[1:]:
        print(f"scale {scale}: {share:.2f} of the pairs of unseen frames in order")

    # %%
    # Stage 2: the network is frozen, and filters learn one person at a time, without any label.
    start = time.perf_counter()
    descriptors = encoder.transform(persons.data)
    seconds = (time.perf_counter() - start) / len(descriptors)
    print(f"descriptors {descriptors.shape}, {seconds:.2f} s a clip")

    # %%
    # Downstream: any regressor, in folds by person. Whitened descriptors need no standardising.
    predicted = cross_val_predict(
        RidgeCV(np.logspace(-2, 6, 17), alpha_per_target=True),
        descriptors,
        persons.target,
        groups=persons.groups,
        cv=GroupKFold(5),
    )
    scores = ccc_score(persons.target, predicted, multioutput="raw_values")
    for trait, style, score in zip(persons.target_names, persons.styles, scores, strict=True):
        print(f"{trait:<18} ({style}): CCC {score:.2f}")

    figure = draw(encoder, persons, descriptors, predicted)
    figure.savefig(options.out, dpi=120)
    print(f"pictures in {options.out}")


def draw(encoder, persons, descriptors, predicted):
    """Dynamic maps of one frame, the space of descriptors, and the best predicted trait."""
    clip = persons.data[0]
    maps, centres = encoder.dynamic_maps(clip)
    moving = int(np.argmax(np.abs(maps).mean(axis=(1, 2, 3, 4))))
    figure, axes = plt.subplots(2, 4, figsize=(12, 7), layout="constrained")
    top, bottom = axes
    top[0].imshow(clip[centres[moving]])
    top[0].set_title(f"frame {centres[moving]}")
    for ax, k in zip(top[1:], (0, 2, 3), strict=True):
        grey = maps[moving, k].mean(axis=-1)
        limit = np.abs(grey).max()
        ax.imshow(grey, cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set_title(f"dynamic map, scale {encoder.scales[k]}")
    for ax in top:
        ax.set_axis_off()

    space = make_pipeline(PCA(2)).fit_transform(descriptors)
    for ax, trait in zip(bottom[:3], ("extraversion", "neuroticism", "openness"), strict=True):
        points = ax.scatter(*space.T, c=persons.target[trait], s=14, cmap="viridis")
        figure.colorbar(points, ax=ax, shrink=0.7)
        style = persons.styles.columns[persons.target_names.index(trait)]
        ax.set_title(f"descriptors by {trait}\n({style})")
        ax.set_xlabel("first component")
    bottom[0].set_ylabel("second component")
    bottom[3].scatter(persons.target["extraversion"], predicted[:, 0], s=14)
    bottom[3].set_title("extraversion, new persons")
    bottom[3].set_xlabel("true")
    bottom[3].set_ylabel("predicted")
    return figure


if __name__ == "__main__":
    main()
