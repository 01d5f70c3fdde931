"""Cross-validate the recipe of the bundled model on faces that are not in its training folds.

    PERSONA_AFFECT_DATA=folder python benchmarks/omi_cross_validation.py [--only half] [--jobs 4]

Five-fold cross-validation over the 804 portraits of ``folder/omi`` (One Million Impressions,
Peterson et al., PNAS 2022); a portrait's fold is the CRC-32 of its stimulus number, modulo 5. The
penalties of the ridge at which the heads start are chosen by leave-one-out inside the training
folds. With ``half``, each training face keeps either its personality or its emotion columns, by
another CRC-32. Intervals are 95 %, by bootstrap over portraits.
"""

import argparse
import operator
import os
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Memory, Parallel, delayed
from sklearn.base import BaseEstimator
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from persona_affect import (
    FaceAligner,
    FaceEmbedder,
    JointAffectEstimator,
    KernelFeatures,
    NuisanceShrinkage,
)
from persona_affect.inspection import DISTURBANCES
from persona_affect.media import open_photo

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
#: Features of the recognition network: 128 maps of 8 x 8 of each of three crops.
N_MAPS = 3 * 128 * 8 * 8
CLEAN = "clean"
#: The heads learn from the mean of these views of a portrait, see `DISTURBANCES`.
LEARNT = (CLEAN, "jpeg", "darker")
#: What these change in embeddings is shrunk, and what differs between a face and its mirror image.
SHRUNK = ("blur", "small", "jpeg", "darker")
#: The portrait alone, without its mirror image.
ALONE = "alone"
#: Every so many portraits are embedded to find directions, which need fewer faces than ratings do.
EVERY = 4
#: Portraits that look this old, in years, count twice: photographs are mostly of adults.
ADULT = (18, 55)


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


def make_embedders(mirror=True):
    """From aligned faces: maps of the recognition network, and what two small networks see."""
    see = partial(FaceEmbedder, mirror=mirror)
    # The smaller crops see eyes and mouth more finely.
    recognition = see(backbone_params={"levels": "stage128", "crops": (1.0, 0.77, 0.54)})
    expression = see("faceapi_expression", backbone_params={"crops": (0.77, 0.54)})
    age_gender = see("faceapi_age_gender", backbone_params={"crops": 0.77})
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


def split(n_maps):
    """Return where the maps are in embeddings, and where what the small networks see."""
    return np.s_[:n_maps], np.s_[n_maps:]


def disturb(photos, name):
    """Disturb photographs as a whole; all must show a face. Other names change nothing."""
    if name not in DISTURBANCES:
        return photos
    change, images = DISTURBANCES[name], [open_photo(photo) for photo in photos]
    if not change.needs_landmarks:
        return [change.apply(image) for image in images]
    found = make_aligner().detect(images)
    return [change.apply(i, faces.landmarks[0]) for i, faces in zip(images, found, strict=True)]


def embed(photos, name=CLEAN):
    """Disturb photographs as a whole, find the faces in them, and embed these."""
    faces = make_aligner().fit_transform(disturb(photos, name))
    parts = make_embedders(mirror=name != ALONE)
    return np.hstack([part.fit_transform(faces) for part in parts])


def embed_views(photos, n_jobs=None, cache=None):
    """Embed each view that `Recipe` learns from; returns embeddings by name of the view."""
    see = Memory(cache, verbose=0).cache(embed)
    names = dict.fromkeys((*LEARNT, *SHRUNK, ALONE))
    shown = [photos[:: 1 if name in LEARNT else EVERY] for name in names]
    found = Parallel(n_jobs)(map(delayed(see), shown, names))
    return dict(zip(names, found, strict=True))


def weigh(ratings):
    """Return the weight of each portrait, by how old it looks."""
    return np.where(ratings["age"].between(*ADULT), 2.0, 1.0)


class Recipe(BaseEstimator):
    """The recipe of the bundled model, from embeddings on; samples are numbers of portraits.

    Parameters
    ----------
    views : dict of str to ndarray of shape (n_portraits, n_features)
        From `embed_views`.
    weight : ndarray of shape (n_portraits,)
    n_maps : int
        Number of features, at the front, of the recognition network.

    Attributes
    ----------
    model_ : Pipeline
        Fitted model of embeddings.
    """

    def __init__(self, views, weight, n_maps=N_MAPS):
        self.views = views
        self.weight = weight
        self.n_maps = n_maps

    def __sklearn_clone__(self):
        return type(self)(self.views, self.weight, self.n_maps)

    def fit(self, numbers, y):
        """Learn from these portraits alone."""
        rows, weight = np.ravel(numbers), self.weight[np.ravel(numbers)]
        X, parts = np.mean([self.views[name][rows] for name in LEARNT], axis=0), split(self.n_maps)
        calm = [self._find_calm(rows, part) for part in parts]
        shrunk = [step.transform(X[:, part]) for step, part in zip(calm, parts, strict=True)]
        pick = [FunctionTransformer(operator.itemgetter((slice(None), part))) for part in parts]
        self.model_ = make_pipeline(make_features(*pick), make_heads())
        self.model_.fit(np.hstack(shrunk), y, jointaffectestimator__sample_weight=weight)
        self._fold_in(calm, X, weight)
        return self

    def _find_calm(self, rows, part):
        """Find what disturbances change in one part, and what mirror images do."""
        rows = np.sort(rows[rows % EVERY == 0])
        clean, alone, *rest = (
            self.views[name][rows if name in LEARNT else rows // EVERY, part]
            for name in (CLEAN, ALONE, *SHRUNK)
        )
        # Embeddings are means over mirror images: the last is the mirror image alone.
        sets = [clean, *rest, alone, 2 * clean - alone]
        calm = NuisanceShrinkage(32, strength=20.0, random_state=0)
        return calm.fit(np.concatenate(sets), groups=np.tile(rows, len(sets)))

    @torch.no_grad()
    def _fold_in(self, calm, X, weight):
        """Move the shrinkage into the kernel and the heads: both are linear in what they read.

        The model then takes embeddings as they are, and predicts what it predicted from shrunk
        ones, at no cost.
        """
        features, heads = self.model_
        kernel, network = features.transformer_list[1][1][-1], heads.net_.module_
        kernel.components_ = calm[1].transform(kernel.components_)
        kernel.mean_ = X[:, self.n_maps :].mean(0)
        network.fem.mean.copy_(
            torch.from_numpy(np.average(features.transform(X), axis=0, weights=weight))
        )
        for head in (network.pam, network.eam):
            read = head[0].weight[:, : X.shape[1]]
            for step, part in zip(calm, split(self.n_maps), strict=True):
                read[:, part] = torch.from_numpy(step.transform(read[:, part].numpy()))

    def transform(self, numbers):
        """Return what the heads read."""
        return self.model_[:-1].transform(self.views[CLEAN][np.ravel(numbers)])

    def predict(self, numbers):
        """Predict from the embeddings of the photographs as they are."""
        return self.model_.predict(self.views[CLEAN][np.ravel(numbers)])


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
    parser.add_argument("--jobs", type=int, help="processes that embed portraits")
    arguments = parser.parse_args()
    only = arguments.only
    photos, ratings = load_portraits()
    rated, numbers = ratings[PERSONALITY + EMOTION], np.arange(len(ratings))
    if only != "baselines":
        recipe = Recipe(embed_views(photos, arguments.jobs), weigh(ratings))
    if only in (None, "joint"):
        predicted = cross_validate(recipe, numbers, rated)
        if arguments.predictions is not None:
            predicted.round(3).to_csv(arguments.predictions)
        print("joint network\n", summarize(rated, predicted).round(3), "\n")
        print(error_by_group(rated, predicted, ratings).round(1).to_string(), "\n")
    if only in (None, "half"):
        predicted = cross_validate(recipe, numbers, rated, halve)
        print("joint network, half-labelled halves\n", summarize(rated, predicted).round(3), "\n")
    if only in (None, "baselines"):
        ridge = RidgeCV(np.logspace(-4, 4, 17), alpha_per_target=True)
        final = make_pipeline(FaceAligner(template="resnet29"), FaceEmbedder())
        predicted = cross_validate(ridge, final.fit_transform(photos), rated)
        print("ridge on the final embedding\n", summarize(rated, predicted).round(3), "\n")
    print("noise ceiling", pd.Series(CEILING).round(3).to_dict(), np.mean([*CEILING.values()]))


if __name__ == "__main__":
    main()
