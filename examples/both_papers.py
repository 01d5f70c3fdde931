"""Traits from what a face looks like, what it shows, and how it moves, in one pipeline.

    python examples/both_papers.py

All persons are rendered, and their traits are invented: they depend on the shape of the face, on
the emotion that it shows, and on the style of its movement, by stated weights. PersEmoN
(`JointAffectEstimator`) learns from photos of others: half of them are rated on traits, half on
emotion. So that this takes minutes, it learns from small pixels, in place of a network of its own.
`PersonDynamicsEncoder` sees the movement; the one that comes with the package needs no training.
Their outputs are one table for a ridge regression, whose folds are persons that neither model has
seen. Figures of five seeds are in benchmarks/results/dynamics.md.
"""

import argparse
from itertools import combinations

import cv2
import numpy as np
import pandas as pd
from scipy import stats
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from tqdm import tqdm

from persona_affect import JointAffectEstimator, load_model
from persona_affect.datasets import make_affect_faces, make_dynamic_clips
from persona_affect.metrics import PERSONALITY_NAMES, ccc_score

#: Shares of the variance of each trait; the rest, a tenth, is noise.
SHARES = {"looks": 0.4, "shows": 0.25, "moves": 0.25}
#: The parts of the data's recipe that these depend on.
CAUSES = {"looks": "static", "shows": "emotion", "moves": "movement"}


def render_persons(n_persons, seed):
    """Render a clip of each person, whose traits have the shares above."""
    return make_dynamic_clips(
        n_persons,
        1,
        n_frames=60,
        session_jitter=0.0,
        # Relative to the weight of movement, which is 1.
        static_weight=np.sqrt(SHARES["looks"] / SHARES["moves"]),
        emotion_weight=np.sqrt(SHARES["shows"] / SHARES["moves"]),
        noise_weight=np.sqrt((1 - sum(SHARES.values())) / SHARES["moves"]),
        random_state=seed,
    )


def still(clips):
    """Return the mean face of each clip as a row of small pixels, in [0, 1]."""
    faces = [np.asarray(clip.mean(axis=0), np.float32) for clip in clips]
    small = [cv2.resize(face, (24, 28), interpolation=cv2.INTER_AREA) for face in faces]
    return np.stack(small).reshape(len(faces), -1) / 255


def train(n_photos, seed):
    """Train PersEmoN's modules on photos of two kinds, rated on traits or on emotion."""
    photos = make_affect_faces(n_photos, domain_shift=0.0, aligned=True, random_state=seed)
    settings = {"adapter_rank": 16, "embedding_scale": "common", "weight_decay": 1.0}
    joint = JointAffectEstimator(**settings, random_state=seed, device="cpu")
    return joint.fit(still(photos.data[:, None]), photos.target)


def make_union(joint, encoder):
    """Describe clips by what both papers' models say, one block of columns for each part."""

    def looks(clips):
        return joint.predict(still(clips))[:, : len(PERSONALITY_NAMES)]

    def shows(clips):
        emotion = joint.predict(still(clips))[:, len(PERSONALITY_NAMES) :]
        product = emotion.prod(axis=1, keepdims=True)
        return np.hstack([emotion, product, joint.predict_from_emotion(emotion)])

    return FeatureUnion(
        [
            ("looks", make_pipeline(FunctionTransformer(looks), StandardScaler())),
            ("shows", make_pipeline(FunctionTransformer(shows), StandardScaler())),
            ("moves", FrozenEstimator(encoder)),
        ],
        # 14,848 numbers of about one unit each: together they count as one column does.
        transformer_weights={"moves": 0.01},
    )


def make_regressor():
    """Return a ridge regression that chooses its penalty for each trait."""
    return RidgeCV(np.logspace(-4, 4, 17), alpha_per_target=True)


def compare(n_persons, n_photos, seed):
    """Return the CCC of each set of parts, what a union adds, and the shares that it recovers."""
    union = make_union(train(n_photos, 10 * seed), load_model("dynamics"))
    persons = render_persons(n_persons, 10 * seed + 2)
    y = persons.target.to_numpy()
    # The models are fitted already. So persons are described once, for all sets and folds; the
    # whole model for new persons is make_pipeline(union, make_regressor()).
    table = union.fit_transform(persons.data)
    ends = np.cumsum([len(PERSONALITY_NAMES), 3 + len(PERSONALITY_NAMES)])
    blocks = dict(zip(CAUSES, np.split(table, ends, axis=1), strict=True))

    def predict(names, target):
        columns = np.hstack([blocks[name] for name in names])
        return cross_val_predict(make_regressor(), columns, target, cv=KFold(5))

    sets = [names for n in (1, 2, 3) for names in combinations(CAUSES, n)]
    ccc = {
        " + ".join(names): float(ccc_score(y, predict(names, y)))
        for names in tqdm(sets, desc=f"Seed {seed}, sets of parts")
    }
    causes = {name: persons.parts[cause].to_numpy() for name, cause in CAUSES.items()}
    found = {name: predict(tuple(CAUSES), cause) for name, cause in causes.items()}
    best = max(ccc[name] for name in CAUSES)
    return (
        {f"CCC, {name}": value for name, value in ccc.items()}
        | {
            "CCC, all - best part": ccc[" + ".join(CAUSES)] - best,
            "CCC, all - looks + shows": ccc[" + ".join(CAUSES)] - ccc["looks + shows"],
        }
        | {f"share recovered, {k}": v for k, v in recover_shares(y, found, causes).items()}
    )


def recover_shares(y, found, causes):
    """Regress the traits on what the union reads of each cause; return shares of their variance.

    `found` are predictions for persons that the regression of the cause was not fitted to. Such a
    prediction varies less than the cause, and the weight of the cause in the traits is its own.
    """
    columns = np.column_stack([_centre(found[name]) for name in causes])
    weights, *_ = np.linalg.lstsq(columns, _centre(y))
    return {
        name: float(weight**2 * _centre(causes[name]).var() / _centre(y).var())
        for name, weight in zip(causes, weights, strict=True)
    }


def _centre(values):
    """Subtract the mean of each trait; the traits one after the other."""
    return (values - values.mean(axis=0)).T.ravel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=300, help="whose traits are predicted")
    parser.add_argument("--photos", type=int, default=2000, help="of each kind, for PersEmoN")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    print("True shares of the variance:", SHARES)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        rows.append(compare(options.persons, options.photos, seed))
        print(pd.Series(rows[-1]).round(3).to_string(), flush=True)
    if options.seeds > 1:
        table = pd.DataFrame(rows)
        half = stats.t.ppf(0.975, len(table) - 1) * table.std() / np.sqrt(len(table))
        means = table.mean()
        summary = pd.DataFrame({"mean": means, "low": means - half, "high": means + half})
        print(f"{len(table)} seeds, 95 % intervals")
        print(summary.round(3).to_string())


if __name__ == "__main__":
    main()
