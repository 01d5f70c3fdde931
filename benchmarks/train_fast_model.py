"""Train the small, fast model of impressions that comes with the package, `load_model("fast")`.

    PERSONA_AFFECT_DATA=folder python benchmarks/train_fast_model.py [--folds] [--time] [--jobs 4]

Writes ``persona_affect/models/fast.safetensors``. The model has one network, which sees one view of
a face: the first stages of dlib's recognition network, and linear heads. The recipe of the large
model teaches it (`omi_cross_validation.py`): the small one learns what the large one predicts from
the OMI portraits, from their mirror images, as JPEG and darker, from rendered faces, and from the
photographs of the London set, whose ratings are not used.

``--folds`` cross-validates other ways to learn too, and writes no model. In each fold, teacher and
student have learnt from the other four folds alone: no portrait of the fold is shown to either.
``--time`` compares only the time of the two bundled models, in alternating rounds of one run.
``--cache`` is a folder that keeps embeddings for the next run. Figures are in
``results/fast_model.md``.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Memory
from omi_cross_validation import (
    CLEAN,
    EMOTION,
    PERSONALITY,
    Recipe,
    cross_validate,
    disturb,
    embed,
    embed_views,
    load_portraits,
    make_aligner,
    make_heads,
    summarize,
    weigh,
)
from real_people import correlate, load_london
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline
from train_bundled_model import NOTES

import persona_affect
from persona_affect import ConformalAffect, FaceEmbedder, load_model, save_model
from persona_affect.datasets import make_affect_faces
from persona_affect.media import open_photo

TARGET = Path(persona_affect.__file__).parent / "models" / "fast.safetensors"
TARGETS = PERSONALITY + EMOTION
TEACHER = (
    "the recipe of the large bundled model, for the portraits, for rendered faces, and for the "
    "photographs of the Face Research Lab London Set (CC BY 4.0), without their ratings"
)
#: What the student sees of each portrait: a disturbance, and whether it is mirrored.
SEEN = ((CLEAN, False), (CLEAN, True), ("jpeg", False), ("darker", True))
#: Rendered persons that the teacher predicts for the student, a face each.
N_RENDERED = 100
#: The calibration keeps features of its portraits; those of every third one fit into the file.
CALIBRATED = 3


def make_embedder():
    # The crop with the best r of the three of the large model, each with a ridge of its own.
    return FaceEmbedder(backbone_params={"levels": "stage128", "crops": 0.77}, mirror=False)


def look(photos, name=CLEAN, mirrored=False):
    """Embed photographs as the student does."""
    faces = np.concatenate(make_aligner().fit_transform(disturb(photos, name)))
    return make_embedder().fit_transform(faces[:, :, ::-1] if mirrored else faces)


@torch.no_grad()
def round_weights(embedder, bits=8):
    """Round the weights of a network to some significant bits: the package is compressed better."""
    for weight in embedder.network_.parameters():
        fraction, exponent = torch.frexp(weight)
        weight.copy_(torch.ldexp((fraction * 2**bits).round() / 2**bits, exponent))
    return embedder


def load_unrated():
    """Read what only the teacher rates: photographs of London, and rendered faces."""
    people = load_london()
    rendered = make_affect_faces(
        N_RENDERED, halves="personality", image_size=256, random_state=0
    ).data
    return [*people["neutral"], *people["smiling"], *rendered]


class Student(BaseEstimator):
    """The recipe of the fast model, from embeddings on; samples are numbers of portraits.

    Parameters
    ----------
    recipe : Recipe
        The teacher; a clone of it learns from the same portraits as the student.
    seen : dict of (str, bool) to ndarray of shape (n_portraits, n_features)
        What the student sees of the portraits, by `SEEN`.
    unrated : list of pairs of ndarray
        Of further faces, what the student sees of them, and what the teacher sees.
    taught : bool
        False learns the ratings themselves, without a teacher.
    """

    def __init__(self, recipe, seen, unrated=(), taught=True):
        self.recipe = recipe
        self.seen = seen
        self.unrated = unrated
        self.taught = taught

    def __sklearn_clone__(self):
        return type(self)(self.recipe, self.seen, self.unrated, self.taught)

    def fit(self, numbers, y):
        """Learn from these portraits, and from the faces that nobody rated."""
        rows = np.ravel(numbers)
        X, told = [own[rows] for own in self.seen.values()], [np.asarray(y)] * len(self.seen)
        if self.taught:
            teacher = clone(self.recipe).fit(numbers, y)
            # The teacher sees the portrait as it is: its student need not imitate what a
            # disturbance does to it.
            told = [teacher.predict(numbers)] * len(self.seen)
            for own, shown in self.unrated:
                X.append(own)
                told.append(teacher.model_.predict(shown))
        y = pd.DataFrame(np.concatenate(told), columns=list(y.columns))
        self.model_ = make_heads().fit(np.concatenate(X), y)
        return self

    def predict(self, numbers):
        """Predict from one view of each portrait."""
        return self.model_.predict(self.seen[CLEAN, False][np.ravel(numbers)])


def describe_london(model, photos):
    """Pearson's r of predicted and rated attractiveness: all, women, men; people who smile more."""
    people = load_london()
    predicted, smiling = np.split(model.predict(photos), 2)
    women = (people["face_gender"] == "female").to_numpy()
    said, rated = predicted[:, TARGETS.index("attractive")], people["attractive"].to_numpy()
    groups = {"all": np.ones(len(people), bool), "women": women, "men": ~women}
    found = {f"London, {name}": correlate(said[i], rated[i]) for name, i in groups.items()}
    happy = TARGETS.index("happy")
    return {**found, "happier smiling": int((smiling[:, happy] > predicted[:, happy]).sum())}


def compare(student, photos, ratings, look):
    """Cross-validate the recipe, and recipes that leave something out."""
    numbers, rated = np.arange(len(ratings)), ratings[TARGETS]
    recipe, seen = student.recipe, student.seen
    both = {key: seen[key] for key in SEEN[:2]}
    ways = {
        "the large model": recipe,
        "the ratings, one view": Student(recipe, {SEEN[0]: seen[SEEN[0]]}, taught=False),
        "the ratings, and mirror images": Student(recipe, both, taught=False),
        "taught, and mirror images": Student(recipe, both),
        "taught, and disturbed views": Student(recipe, seen),
        "taught, disturbed, rendered and London": student,
    }
    pixels = np.stack([open_photo(photo)[::6, ::6].ravel() / 255.0 for photo in photos])
    ridge = RidgeCV(np.logspace(-2, 6, 17), alpha_per_target=True)
    rows = {"ridge on pixels": summarize(rated, cross_validate(ridge, pixels, rated))}
    for name, way in ways.items():
        rows[name] = summarize(rated, cross_validate(way, numbers, rated))
        print(name, rows[name].loc["mean"].round(4).to_dict(), flush=True)
    london = {}
    for name, way in list(ways.items())[1:]:
        london[name] = describe_london(way.fit(numbers, rated).model_, look)
    table = pd.DataFrame({name: found["r"] for name, found in rows.items()}).T
    last = pd.DataFrame({name: found.loc["mean"] for name, found in rows.items()}).T
    table = table.join(last[["low", "high"]]).join(pd.DataFrame(london).T)
    print(table.round(4).to_string())


def time_models(rounds=15):
    """Milliseconds of an aligned face: the two models in alternating rounds, one thread."""
    torch.set_num_threads(1)
    models = {"the large model": load_model()[1:], "fast": load_model("fast")[1:]}
    for n in (1, 16):
        faces = np.random.default_rng(0).integers(0, 256, (n, 150, 150, 3), dtype=np.uint8)
        took = {name: [] for name in models}
        for _ in range(rounds + 1):
            for name, model in models.items():
                start = time.process_time()
                model.predict(faces)
                took[name].append(1000 * (time.process_time() - start) / n)
        ms = {name: float(np.median(own[1:])) for name, own in took.items()}
        ratio = np.median(np.divide(took["fast"], took["the large model"])[1:])
        print(f"{n} at once, CPU ms a face: {ms}; fast / large {ratio:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", action="store_true", help="compare ways to learn")
    parser.add_argument("--time", action="store_true", help="compare the time of the models")
    parser.add_argument("--jobs", type=int, help="processes that embed portraits")
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings")
    given = parser.parse_args()
    if given.time:
        time_models()
        return
    see, teach = (Memory(given.cache, verbose=0).cache(function) for function in (look, embed))
    photos, ratings = load_portraits()
    recipe = Recipe(embed_views(photos, given.jobs, given.cache), weigh(ratings))
    further = load_unrated()
    shown = teach(further)
    unrated = [(see(further, CLEAN, mirrored), shown) for mirrored in (False, True)]
    student = Student(recipe, {key: see(photos, *key) for key in SEEN}, unrated)
    n_people = len(further) - N_RENDERED
    london = unrated[0][0][:n_people]
    if given.folds:
        compare(student, photos, ratings, london)
        return
    numbers, rated = np.arange(len(ratings)), ratings[TARGETS]
    predicted = cross_validate(student, numbers, rated)
    print(summarize(rated, predicted).round(4))
    heads = student.fit(numbers, rated).model_
    aligner = make_aligner()
    embedder = round_weights(make_embedder().fit(aligner.fit_transform(photos[:2])))
    names = "facealigner", "faceembedder", "jointaffectestimator"
    model = Pipeline(list(zip(names, (aligner, embedder, heads), strict=True)))
    notes = {**NOTES, "teacher": TEACHER}
    save_model(model, TARGET, notes=notes, half=True)
    # The errors are those of the cross-validation, as for the large model.
    conformal = ConformalAffect(heads, method="base", random_state=0)
    some = slice(None, None, CALIBRATED)
    conformal.conformalize(
        student.seen[CLEAN, False][some], rated.iloc[some], predicted=predicted.iloc[some]
    )
    save_model(conformal.around(load_model(TARGET)), TARGET, notes=notes, half=True)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB", describe_london(heads, london))
    print(load_model(TARGET, intervals=True).predict_table(photos[:1]).round(1).T)


if __name__ == "__main__":
    main()
