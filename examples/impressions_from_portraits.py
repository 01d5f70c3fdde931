"""Impressions from portraits, with real ratings, learned from two half-labelled sets.

    PERSONA_AFFECT_DATA=folder python examples/impressions_from_portraits.py [MODEL.joblib]

Reads the One Million Impressions portraits from ``folder/omi``. Half of the training faces keep
only their personality columns, the other half only their emotion columns. Trains for about eight
minutes on two cores, compares with baselines on a fixed held-out fifth, and saves the model. If
MODEL.joblib exists already, it is loaded instead of trained.

Peterson, Uddenberg, Griffiths, Todorov, Suchow, "Deep models of superficial face judgments", PNAS
2022. The ratings are impressions that faces make on raters, not what people are.
"""

import os
import sys
import zlib
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from persona_affect import FaceAligner, JointAffectEstimator
from persona_affect.media import open_photo
from persona_affect.metrics import affect_report

PERSONALITY = ["trustworthy", "outgoing", "dominant", "smart"]
EMOTION = {"alert": "arousal", "happy": "valence"}


def shrink(photos):
    """Turn photos into vectors of 40x40 pixels."""
    import cv2

    small = [cv2.resize(p, (40, 40), interpolation=cv2.INTER_AREA).ravel() for p in photos]
    return np.array(small, dtype=np.float32)


def ridge_on_pixels(train, y, test):
    """Predict each target from 40x40 pixels, by a ridge on the faces that were rated on it."""
    predicted = np.empty((len(test), y.shape[1]))
    for j, name in enumerate(y):
        rated = y[name].notna().to_numpy()
        ridge = make_pipeline(
            FunctionTransformer(shrink), StandardScaler(), RidgeCV(np.logspace(1, 6, 11))
        )
        ridge.fit([train[i] for i in np.flatnonzero(rated)], y.loc[rated, name])
        predicted[:, j] = ridge.predict(test)
    return predicted


def load(folder):
    """Return paths of portraits, ratings in [0, 1], and a hash of each stimulus' name."""
    ratings = pd.read_csv(folder / "ratings.csv", index_col="stimulus")
    paths = [str(folder / "images" / f"{stimulus}.jpg") for stimulus in ratings.index]
    draw = np.array([zlib.crc32(str(stimulus).encode()) for stimulus in ratings.index])
    y = ratings[[*PERSONALITY, *EMOTION]].div(100).rename(columns=EMOTION)
    return np.array(paths), y.reset_index(drop=True), draw


def main() -> None:
    if "PERSONA_AFFECT_DATA" not in os.environ:
        sys.exit("Set PERSONA_AFFECT_DATA to the folder that holds omi/ratings.csv.")
    paths, y, draw = load(Path(os.environ["PERSONA_AFFECT_DATA"]) / "omi")
    held_out = draw % 5 == 0
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "impressions.joblib")

    half_rated = y[~held_out].copy()
    keeps_personality = draw[~held_out] // 5 % 2 == 0
    half_rated.loc[keeps_personality, list(EMOTION.values())] = np.nan
    half_rated.loc[~keeps_personality, PERSONALITY] = np.nan

    if file.exists():
        print(f"Loaded {file}.")
        model = joblib.load(file)
    else:
        model = make_pipeline(
            FaceAligner(verbose=1),
            JointAffectEstimator(
                personality=PERSONALITY,
                emotion=list(EMOTION.values()),
                random_state=0,
                verbose=1,
            ),
        )
        model.fit(paths[~held_out], half_rated)
        joblib.dump(model, file)
        print(f"Saved {file}.")

    aligner = model[0]
    portraits = [open_photo(path) for path in paths]
    # A photo without a face would be an error here: all models are compared on the same faces.
    faces = [clip[0] for clip in aligner.transform(paths)]
    rows, others = np.flatnonzero(held_out), np.flatnonzero(~held_out)
    predictions = {
        "joint network": model.predict(paths[held_out]),
        "ridge on 40x40 pixels of the aligned face": ridge_on_pixels(
            [faces[i] for i in others], half_rated, [faces[i] for i in rows]
        ),
        "ridge on 40x40 pixels of the portrait": ridge_on_pixels(
            [portraits[i] for i in others], half_rated, [portraits[i] for i in rows]
        ),
        "constant mean": np.tile(half_rated.mean(), (len(rows), 1)),
    }
    print(f"{half_rated.notna().sum().to_dict()} labels; {len(rows)} held-out faces")
    groups = {"personality": PERSONALITY, "emotion": list(EMOTION.values())}
    for name, predicted in predictions.items():
        report = affect_report(y[held_out], predicted, groups=groups)
        print(f"\n{name}:\n{report[['pearson', 'ccc', 'accuracy_mae']].round(3).to_string()}")
    print("\nImpressions that faces make on raters, not what people are.")


if __name__ == "__main__":
    main()
