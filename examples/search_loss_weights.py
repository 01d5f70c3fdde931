"""Search the weights of the joint loss, and plot the validation scores.

    python examples/search_loss_weights.py [PICTURE.png]

It needs no data: 800 faces are rendered. Half of them are rated on the Big Five; the other half,
other persons with another camera, on arousal and valence. The features need the extra
``pretrained``.

A pipeline's ``memory=`` caches the results of `fit_transform` on training folds, but not those of
`transform` on validation folds, which every candidate computes again. The aligner and the embedder
learn nothing from the data. Therefore they run once, before the search, and the search is cheap: 27
combinations of weights in 3 folds, then a random search that gives most candidates few epochs.
"""

import sys
import tempfile
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from joblib import Memory
from scipy.stats import loguniform
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV
from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner, FaceEmbedder, JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.metrics import SCORERS
from persona_affect.model_selection import AffectGroupKFold

GRID = {
    "lambda_emo": [0.3, 1.0, 3.0],
    "lambda_coh": [0.0, 0.05, 0.5],
    "lambda_ram": [0.0, 0.2, 2.0],
}


def main() -> None:
    faces = make_affect_faces(n_persons=200, n_faces_per_person=2, random_state=0)
    front = make_pipeline(
        FaceAligner(template="resnet29", min_face_size=40),
        FaceEmbedder(backbone_params={"levels": "pooled"}),
    )
    started = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        embeddings = Memory(folder, verbose=0).cache(front.fit_transform)(faces.data)
    print(f"{len(embeddings)} faces embedded in {perf_counter() - started:.0f} s")

    # Only the adapter can change the features; without it, coherence would have no effect.
    model = JointAffectEstimator(adapter_rank=8, max_epochs=10, random_state=0)
    # Persons stay in one fold, and both kinds of label are in every fold.
    folds = AffectGroupKFold(3)

    started = perf_counter()
    search = GridSearchCV(model, GRID, scoring=SCORERS["ccc"], cv=folds, n_jobs=-1)
    search.fit(embeddings, faces.target, groups=faces.groups)
    print(f"27 combinations in 3 folds searched in {perf_counter() - started:.0f} s")
    print(f"best CCC {search.best_score_:.3f} with {search.best_params_}")

    started = perf_counter()
    halving = HalvingRandomSearchCV(
        model.set_params(max_epochs=1),
        {name: loguniform(0.01, 10) for name in GRID},
        n_candidates=9,
        resource="max_epochs",
        min_resources=3,
        max_resources=27,
        scoring=SCORERS["ccc"],
        cv=folds,
        n_jobs=-1,
        random_state=0,
    )
    halving.fit(embeddings, faces.target, groups=faces.groups)
    print(f"9 random candidates halved in {perf_counter() - started:.0f} s")
    best = {k: round(float(v), 3) for k, v in halving.best_params_.items()}
    print(f"best CCC {halving.best_score_:.3f} with {best}")

    figure = draw(pd.DataFrame(search.cv_results_))
    figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "search_loss_weights.png", dpi=80)


def draw(results: pd.DataFrame) -> plt.Figure:
    """Draw the mean validation CCC over two weights, one panel for each value of the third."""
    low, high = results["mean_test_score"].min(), results["mean_test_score"].max()
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True, layout="constrained")
    for ax, (weight, panel) in zip(axes, results.groupby("param_lambda_emo"), strict=True):
        surface = panel.pivot(
            index="param_lambda_coh", columns="param_lambda_ram", values="mean_test_score"
        )
        image = ax.imshow(surface.to_numpy(float), vmin=low, vmax=high, origin="lower")
        for (row, column), score in np.ndenumerate(surface.to_numpy(float)):
            shade = "black" if score > (low + high) / 2 else "white"
            ax.text(column, row, f"{score:.3f}", ha="center", va="center", color=shade)
        ax.set_xticks(range(3), surface.columns)
        ax.set_yticks(range(3), surface.index)
        ax.set(title=f"lambda_emo = {weight}", xlabel="lambda_ram")
    axes[0].set_ylabel("lambda_coh")
    figure.colorbar(image, ax=axes, label="CCC, mean of 3 folds")
    return figure


if __name__ == "__main__":
    main()
