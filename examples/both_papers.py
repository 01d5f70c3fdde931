"""Traits from what a face looks like, what it shows, and how it moves, in one pipeline.

    python examples/both_papers.py

All persons are rendered, and their traits are invented: they depend on the shape of the face, on
the emotion that it shows, and on the style of its movement, by stated weights. PersEmoN
(`JointAffectEstimator`) sees the first two; it also learns from photos of others, who are rated on
emotion only. So that this takes minutes, it learns from small pixels of the mean face, in place of
a network of its own. `PersonDynamicsEncoder` sees the third part; the one that comes with the
package needs no training. Persons whom neither was trained on then have three descriptions, which
`TaskFusion` fuses as it fuses tasks: early, late or stacked. Figures of five seeds are in
benchmarks/results/dynamics.md.
"""

import argparse

import cv2
import numpy as np
import pandas as pd
from scipy import stats
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict

from persona_affect import JointAffectEstimator, TaskFusion, load_model
from persona_affect.datasets import make_affect_faces, make_dynamic_clips
from persona_affect.metrics import PERSONALITY_NAMES, ccc_score

#: Shares of the variance of each trait; the rest, a tenth, is noise.
SHARES = {"looks": 0.4, "shows": 0.25, "moves": 0.25}


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


def train(n_persons, seed):
    """Train PersEmoN's modules on persons with traits, and on photos of others with emotions."""
    persons = render_persons(n_persons, seed)
    photos = make_affect_faces(
        n_persons, halves="emotion", domain_shift=0.0, aligned=True, random_state=seed + 1
    )
    faces = np.vstack([still(persons.data), still(photos.data[:, None])])
    # A row without a label on a target is NaN there.
    labels = pd.concat([persons.target, photos.target], ignore_index=True)[photos.target_names]
    settings = {"adapter_rank": 16, "embedding_scale": "common", "weight_decay": 1.0}
    joint = JointAffectEstimator(**settings, random_state=seed, device="cpu")
    return joint.fit(faces, labels)


def describe(joint, encoder, clips):
    """Describe each person by what it looks like (PAM), shows (EAM, RAM), and how it moves."""
    faces = still(clips)
    predicted = joint.predict(faces)
    traits, emotion = np.split(predicted, [len(PERSONALITY_NAMES)], axis=1)
    related = joint.predict_from_emotion(emotion)
    parts = {
        "looks": np.hstack([faces, traits]),
        "shows": np.hstack([emotion, emotion.prod(axis=1, keepdims=True), related]),
        "moves": encoder.transform(clips),
    }
    # One unit for a whole part: features that hardly vary must not count as much as the others.
    return {name: part / np.sqrt(part.var(axis=0).sum()) for name, part in parts.items()}


def fuse(parts, names, fusion, y):
    """Predict the traits of persons in five folds, from some of the parts."""
    regressor = RidgeCV(np.logspace(-4, 3, 15), alpha_per_target=True)
    cells = np.empty((len(y), len(names)), dtype=object)
    for j, name in enumerate(names):
        cells[:, j] = list(parts[name])
    return cross_val_predict(TaskFusion(None, regressor, fusion=fusion), cells, y, cv=KFold(5))


def compare(n_persons, seed):
    """Return the CCC of each part and of their fusions, and the shares of the parts."""
    joint, encoder = train(n_persons, 10 * seed), load_model("dynamics")
    others = render_persons(n_persons, 10 * seed + 2)
    parts, y = describe(joint, encoder, others.data), others.target.to_numpy()
    predicted = {name: fuse(parts, [name], "early", y) for name in parts}
    predicted["shows, looks: stacked"] = fuse(parts, ["shows", "looks"], "stacked", y)
    for fusion in ("early", "late", "stacked"):
        predicted[f"all: {fusion}"] = fuse(parts, list(parts), fusion, y)
    ccc = {name: float(ccc_score(y, found)) for name, found in predicted.items()}
    explained = {name: _explained(y, found) for name, found in predicted.items()}
    # The causes are independent: what a part adds to the others is its own.
    two = explained["shows, looks: stacked"]
    shares = {
        "shows": explained["shows"],
        "looks": two - explained["shows"],
        "moves": explained["all: stacked"] - two,
    }
    best = max(ccc[name] for name in parts)
    return (
        {f"CCC, {name}": value for name, value in ccc.items()}
        | {f"share of the variance, {name}": value for name, value in shares.items()}
        | {
            f"CCC, all: {fusion} - best part": ccc[f"all: {fusion}"] - best
            for fusion in ("early", "late", "stacked")
        }
    )


def _explained(y, predicted):
    """Return the mean over traits of the squared correlation."""
    pairs = zip(y.T, predicted.T, strict=True)
    return float(np.mean([np.corrcoef(true, found)[0, 1] ** 2 for true, found in pairs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    print("True shares of the variance:", SHARES)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        rows.append(compare(options.persons, seed))
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
