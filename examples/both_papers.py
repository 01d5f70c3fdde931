"""Traits from what a face looks like, what it shows, and how it moves, in one pipeline.

    python examples/both_papers.py

All persons are rendered, and their traits are invented: they depend on the shape of the face, on
the emotion that it shows, and on the style of its movement, by stated weights. PersEmoN
(`JointAffectEstimator`) learns from photos of others: half of them are rated on traits, half on
emotion. So that this takes minutes, it learns from small pixels, in place of a network of its own.
`PersonDynamicsEncoder` sees the movement; the one that comes with the package needs no training.
Their outputs are one table for a ridge regression, whose folds are persons that neither model has
seen. benchmarks/results/dynamics.md has the figures of
`--persons 300 --photos 2000 --seeds 5`.
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
from sklearn.preprocessing import FunctionTransformer
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
    joint = JointAffectEstimator(**settings, random_state=seed, device="cpu", verbose=1)
    return joint.fit(still(photos.data[:, None]), photos.target).set_params(verbose=0)


def make_model(joint, encoder):
    """Return the pipeline: what both papers' models say of clips, then a regression."""

    def looks(clips):
        return joint.predict(still(clips))[:, : len(PERSONALITY_NAMES)]

    def shows(clips):
        emotion = joint.predict(still(clips))[:, len(PERSONALITY_NAMES) :]
        product = emotion.prod(axis=1, keepdims=True)
        return np.hstack([emotion, product, joint.predict_from_emotion(emotion)])

    union = FeatureUnion(
        [
            ("looks", FunctionTransformer(looks)),
            ("shows", FunctionTransformer(shows)),
            ("moves", FrozenEstimator(encoder)),
        ],
        # One penalty for all columns: so those of movement, 14,848 of about one unit each, count
        # together as much as one of the others does.
        transformer_weights={"looks": 10, "shows": 10, "moves": 0.01},
    )
    return make_pipeline(union, RidgeCV(np.logspace(-4, 4, 17), alpha_per_target=True))


def compare(n_persons, n_photos, seed):
    """Return the CCC of each set of parts, what a union adds, and the share of each part."""
    print(f"Seed {seed}: train PersEmoN on {2 * n_photos} photos", flush=True)
    joint = train(n_photos, 10 * seed)
    union, regressor = make_model(joint, load_model("dynamics").set_params(verbose=1))
    print(f"Seed {seed}: render and describe {n_persons} persons", flush=True)
    persons = render_persons(n_persons, 10 * seed + 2)
    # The models of the union are fitted already, so that all folds share one description.
    table = union.fit_transform(persons.data)
    ends = np.cumsum([len(PERSONALITY_NAMES), 3 + len(PERSONALITY_NAMES)])
    blocks = dict(zip(CAUSES, np.split(table, ends, axis=1), strict=True))

    def predict_others(columns, target):
        return cross_val_predict(regressor, columns, target, cv=KFold(5))

    traits = persons.target.to_numpy()
    sets = [names for n in (1, 2, 3) for names in combinations(CAUSES, n)]
    ccc, explained = {}, {}
    for names in tqdm(sets, desc=f"Seed {seed}, sets of parts"):
        found = predict_others(np.hstack([blocks[name] for name in names]), traits)
        ccc[" + ".join(names)] = float(ccc_score(traits, found))
        explained[frozenset(names)] = _r2(traits, found)
    causes = {name: persons.parts[cause].to_numpy() for name, cause in CAUSES.items()}
    read = {name: predict_others(table, cause) for name, cause in causes.items()}
    return tabulate(ccc, explained, causes, read, recover_shares(read, causes, traits))


def recover_shares(read, causes, traits):
    """Find the share of the traits' variance of each cause from what is read of the causes.

    What is read of a cause is weak, and mixed with the others. So how it goes together with the
    traits is compared with how it goes together with the true causes, which only rendered persons
    have: cov(read, traits) = cov(read, causes) @ weights, the correction for unreliability.
    """

    def flatten(values):
        return (values - values.mean(axis=0)).ravel()

    seen, true = (np.stack([flatten(v) for v in parts.values()]) for parts in (read, causes))
    weights = np.linalg.solve(seen @ true.T, seen @ flatten(traits))
    shares = weights**2 * true.var(axis=1) / flatten(traits).var()
    return dict(zip(causes, shares, strict=True))


def tabulate(ccc, explained, causes, read, shares):
    """Return the figures by name."""
    everything = " + ".join(CAUSES)
    figures = {f"CCC, {name}": value for name, value in ccc.items()}
    figures["CCC, all - best part"] = ccc[everything] - max(ccc[name] for name in CAUSES)
    figures["CCC, all - looks + shows"] = ccc[everything] - ccc["looks + shows"]
    known = frozenset()
    for name in ("shows", "looks", "moves"):
        before, known = known, known | {name}
        added = explained[known] - explained.get(before, 0)
        figures |= {
            f"{name}: read, r2 with the true part": _r2(causes[name], read[name]),
            f"{name}: adds to the r2 of traits": added,
            f"{name}: share recovered (true: {SHARES[name]})": shares[name],
        }
    return figures


def _r2(true, predicted):
    """Return the mean over traits of the squared correlation."""
    pairs = zip(true.T, predicted.T, strict=True)
    return float(np.mean([np.corrcoef(t, p)[0, 1] ** 2 for t, p in pairs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=200, help="whose traits are predicted")
    parser.add_argument("--photos", type=int, default=1000, help="of each kind, for PersEmoN")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
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
