"""Learn your own targets from few faces: how accuracy grows with the number of faces.

    PERSONA_AFFECT_DATA=folder python examples/finetune_on_your_faces.py [CURVE.png]

The feature extractor of the bundled model is not changed. Only the heads are trained, on 50, 200
and 600 portraits in ``folder/omi``, for four attributes that the bundled model does not predict.
They are compared with a ridge on pixels, on faces that are in no training set. To use your own
faces, let `read` return paths of photos and a DataFrame of ratings. It takes two minutes on one
core.
"""

import os
import sys
from pathlib import Path

import cv2
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV

from persona_affect import JointAffectEstimator, load_model
from persona_affect.media import open_photo
from persona_affect.metrics import pearson_score

TARGETS = ["smug", "dorky", "cute", "well-groomed"]
SIZES = [50, 200, 600]


def read():
    folder = Path(os.environ["PERSONA_AFFECT_DATA"], "omi")
    ratings = pd.read_csv(folder / "ratings.csv", index_col="stimulus")[TARGETS]
    return [folder / "images" / f"{stimulus}.jpg" for stimulus in ratings.index], ratings


def shrink(photo):
    """Turn a photo into 20x20 grey values."""
    grey = cv2.cvtColor(open_photo(photo), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (20, 20), interpolation=cv2.INTER_AREA).ravel() / 255.0


def main():
    photos, ratings = read()
    # Computed once: only the heads are trained.
    features = load_model()[:-1].transform(photos)
    pixels = np.array([shrink(photo) for photo in photos])
    order = np.random.default_rng(0).permutation(len(photos))
    train, test = order[: max(SIZES)], order[max(SIZES) :]
    ours = JointAffectEstimator(
        personality=TARGETS,
        embedding_scale="common",
        learning_rate=1e-7,
        max_epochs=5,
        random_state=0,
    )
    ridge = RidgeCV(np.logspace(-3, 5, 17), alpha_per_target=True)
    curve = {}
    for size in SIZES:
        few = train[:size]
        for name, model, X in (("bundled FEM", ours, features), ("pixels, ridge", ridge, pixels)):
            predicted = model.fit(X[few], ratings.iloc[few]).predict(X[test])
            curve.setdefault(name, []).append(pearson_score(ratings.iloc[test], predicted))
    table = pd.DataFrame(curve, index=pd.Index(SIZES, name="faces"))
    print(f"Pearson r, mean of {', '.join(TARGETS)}, on {len(test)} other faces\n{table.round(3)}")

    figure, axes = plt.subplots(layout="constrained")
    table.plot(ax=axes, marker="o", logx=True, ylim=(0, 1))
    axes.set(xlabel="Rated faces to learn from", ylabel="Pearson r on other faces")
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "learning_curve.png")
    figure.savefig(target, dpi=150)
    print(f"Plotted in {target}")


if __name__ == "__main__":
    main()
