"""Cross-validate the recipe of the bundled model on faces that are not in its training folds.

    PERSONA_AFFECT_DATA=folder python benchmarks/omi_cross_validation.py [--only half]

Five-fold cross-validation over the 804 portraits of ``folder/omi`` (One Million Impressions,
Peterson et al., PNAS 2022); a portrait's fold is the CRC-32 of its stimulus number, modulo 5. The
penalties of the ridge at which the heads start are chosen by leave-one-out inside the training
folds. With ``half``, each training face keeps either its personality or its emotion columns, by
another CRC-32. Intervals are 95 %, by bootstrap over portraits.
"""

import argparse
import os
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from persona_affect import FaceAligner, FaceEmbedder, JointAffectEstimator, KernelFeatures

PERSONALITY = ["trustworthy", "outgoing", "dominant", "smart", "attractive"]
EMOTION = ["alert", "happy"]
#: Targets whose noise ceiling is known: square roots of the ratings' reliabilities.
CEILING = {
    "happy": 0.98**0.5,
    "alert": 0.84**0.5,
    "trustworthy": 0.92**0.5,
    "outgoing": 0.94**0.5,
    "dominant": 0.93**0.5,
    "smart": 0.86**0.5,
}


def load_portraits():
    """Read paths and ratings, by stimulus number."""
    folder = Path(os.environ["PERSONA_AFFECT_DATA"], "omi")
    ratings = pd.read_csv(folder / "ratings.csv", index_col="stimulus")
    return [folder / "images" / f"{stimulus}.jpg" for stimulus in ratings.index], ratings


def hash_of(stimuli, salt=""):
    return np.array([zlib.crc32(f"{salt}{stimulus}".encode()) for stimulus in stimuli])


def make_aligner():
    # The outline and the hair matter for impressions.
    return FaceAligner(template="resnet29", margin=0.3)


def make_embedders():
    """From aligned faces: maps of the recognition network, and what two small networks see."""
    # The smaller crops see eyes and mouth more finely.
    recognition = FaceEmbedder(backbone_params={"levels": "stage128", "crops": (1.0, 0.77, 0.54)})
    expression = FaceEmbedder("faceapi_expression", backbone_params={"crops": (0.77, 0.54)})
    age_gender = FaceEmbedder("faceapi_age_gender", backbone_params={"crops": 0.77})
    small = FeatureUnion(
        [("expression", expression), ("age_gender", age_gender)],
        # One crop beside two.
        transformer_weights={"age_gender": 1.4},
    )
    return recognition, small


def make_features(recognition, small):
    """Put a kernel beside what the small networks see, and both beside the maps."""
    kernel = KernelFeatures(weight=1.7, random_state=0)
    return FeatureUnion(
        [("recognition", recognition), ("small", make_pipeline(small, kernel))],
        # Three tenths of the variance of the maps, and half of it for the kernel.
        transformer_weights={"small": 30.0},
    )


def make_heads():
    return JointAffectEstimator(
        personality=PERSONALITY,
        emotion=EMOTION,
        embedding_scale="common",
        # With tens of thousands of features and few faces the ridge is all but the best there is.
        learning_rate=1e-7,
        max_epochs=5,
        random_state=0,
    )


def halve(ratings):
    """Keep the personality columns of one half and the emotion columns of the other."""
    half = hash_of(ratings.index, salt="half ") % 2
    return ratings.mask(
        np.where(ratings.columns.isin(PERSONALITY), half[:, None] == 1, half[:, None] == 0)
    )


def embed(photos):
    """Let the networks see once; return that with a model of it, whose kernel and heads learn."""
    faces = make_aligner().fit_transform(photos)
    recognition, small = (part.fit_transform(faces) for part in make_embedders())
    X, n = np.hstack([recognition, small]), recognition.shape[1]
    pick = [FunctionTransformer(lambda X, part=part: X[:, part]) for part in (np.s_[:n], np.s_[n:])]
    return X, make_pipeline(make_features(*pick), make_heads())


def cross_validate(model, X, ratings, prepare=lambda ratings: ratings):
    fold = hash_of(ratings.index) % 5
    predicted = pd.DataFrame(np.nan, ratings.index, ratings.columns)
    for k in range(5):
        model.fit(X[fold != k], prepare(ratings[fold != k]))
        predicted[fold == k] = model.predict(X[fold == k])
    return predicted


def correlations(rated, predicted):
    return np.array([np.corrcoef(rated[name], predicted[name])[0, 1] for name in CEILING])


def summarize(rated, predicted, n_draws=2000):
    """Pearson r by target, and their mean, with intervals."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(len(rated), size=len(rated)) for _ in range(n_draws)]
    drawn = np.array([correlations(rated.iloc[r], predicted.iloc[r]) for r in rows])
    r = correlations(rated, predicted)
    values, draws = np.append(r, r.mean()), np.column_stack([drawn, drawn.mean(1)])
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return pd.DataFrame({"r": values, "low": low, "high": high}, index=[*CEILING, "mean"])


def error_by_group(rated, predicted, ratings):
    """Mean absolute error and bias, in points of 100, over thirds of what the faces look like."""
    error = (predicted - rated)[list(CEILING)]
    rows = {}
    for name in ("gender", "age", "skin-color"):
        thirds = pd.qcut(ratings[name], 3, labels=["lowest", "middle", "highest"])
        for third in thirds.cat.categories:
            inside = error[thirds == third]
            rows[f"{name}, {third} third"] = {
                "faces": len(inside),
                "mean absolute error": inside.abs().to_numpy().mean(),
                **{f"bias, {target}": inside[target].mean() for target in CEILING},
            }
    return pd.DataFrame(rows).T


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["joint", "half", "baselines"])
    parser.add_argument(
        "--predictions", type=Path, help="a CSV file for the predictions of `joint`"
    )
    arguments = parser.parse_args()
    only = arguments.only
    photos, ratings = load_portraits()
    rated = ratings[PERSONALITY + EMOTION]
    X, model = embed(photos)
    if only in (None, "joint"):
        predicted = cross_validate(model, X, rated)
        if arguments.predictions is not None:
            predicted.round(3).to_csv(arguments.predictions)
        print("joint network\n", summarize(rated, predicted).round(3), "\n")
        print(error_by_group(rated, predicted, ratings).round(1).to_string(), "\n")
    if only in (None, "half"):
        predicted = cross_validate(model, X, rated, halve)
        print("joint network, half-labelled halves\n", summarize(rated, predicted).round(3), "\n")
    if only in (None, "baselines"):
        ridge = RidgeCV(np.logspace(-4, 4, 17), alpha_per_target=True)
        final = make_pipeline(FaceAligner(template="resnet29"), FaceEmbedder())
        predicted = cross_validate(ridge, final.fit_transform(photos), rated)
        print("ridge on the final embedding\n", summarize(rated, predicted).round(3), "\n")
    print("noise ceiling", pd.Series(CEILING).round(3).to_dict(), np.mean([*CEILING.values()]))


if __name__ == "__main__":
    main()
