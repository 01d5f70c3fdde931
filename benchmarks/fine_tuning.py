"""Train the small networks of the bundled model end to end, and see what of it carries over.

    PERSONA_AFFECT_DATA=folder python benchmarks/fine_tuning.py expression [--epochs 8]

All layers of one network of face-api.js and a linear head on its embedding learn together, from the
head's ridge solution, in the five folds of ``omi_cross_validation.py``. Each face is shown as one
of `VIEWS`, chosen at random, then rotated, scaled, shifted, mirrored, and lit differently. Compared
are the frozen network and the trained one, with the same head before; and the predictions of the
bundled model with and without a share of what the training changed. London: the mean over the five
trained networks. Intervals are 95 %, by paired bootstrap over portraits or people. Figures are in
``results/real_people.md``.
"""

import argparse
import copy
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import Memory
from omi_cross_validation import (
    CEILING,
    CLEAN,
    EMOTION,
    PERSONALITY,
    disturb,
    hash_of,
    load_portraits,
    make_aligner,
)
from real_people import correlate, interval, load_london
from sklearn.linear_model import RidgeCV

from persona_affect.estimators._augmentation import vary
from persona_affect.networks import make_backbone

RESULTS = Path(__file__).parent / "results"
TARGETS = PERSONALITY + EMOTION
VIEWS = (CLEAN, "jpeg", "darker", "blur", "small")
#: As in the bundled model.
CROPS = {"expression": (0.77, 0.54), "age_gender": 0.77}
BATCH_SIZE, AVERAGE = 32, 0.02
#: Of what training changes, added to the bundled model's predictions; its network has other parts.
SHARE = 0.3


def see(photos, name=CLEAN):
    return np.concatenate(make_aligner().fit_transform(disturb(photos, name)))


class Network(torch.nn.Module):
    """A network, and a linear head that starts as ridge on its embeddings; predicts ratings."""

    def __init__(self, part, faces, y):
        super().__init__()
        self.see = make_backbone(f"faceapi_{part}", "pretrained", crops=CROPS[part])
        self.see = self.see.to(memory_format=torch.channels_last)
        X = self.embed(faces)
        self.mean, self.scale = X.mean(0), X.var(0).mean().sqrt()
        self.rated = torch.tensor(y.mean(0)).float(), torch.tensor(y.std(0)).float()
        ridge = RidgeCV(np.logspace(-2, 6, 33), alpha_per_target=True)
        ridge.fit(((X - self.mean) / self.scale).numpy(), self.standardize(y).numpy())
        self.head = torch.nn.Linear(X.shape[1], y.shape[1])
        self.head.weight.data = torch.from_numpy(ridge.coef_).float()
        self.head.bias.data = torch.from_numpy(ridge.intercept_).float()
        self.penalty = torch.from_numpy(ridge.alpha_ / len(y)).float()

    def standardize(self, y):
        """Ratings in standard deviations of those learnt from."""
        return (torch.tensor(y).float() - self.rated[0]) / self.rated[1]

    def forward(self, faces):
        """Predict standardised ratings."""
        return self.head((self.see(faces) - self.mean) / self.scale)

    @torch.no_grad()
    def embed(self, faces):
        """Average the embeddings of faces and of their mirror images."""
        batches = torch.from_numpy(faces).split(BATCH_SIZE)
        return torch.cat([(self.see(b) + self.see(b.flip(2))) / 2 for b in batches])

    @torch.no_grad()
    def predict(self, faces):
        """Predict ratings."""
        found = self.head((self.embed(faces) - self.mean) / self.scale)
        return (found * self.rated[1] + self.rated[0]).numpy()


def tune(network, views, y, epochs, rate):
    """Train a copy of the network on these views of some portraits; returns a moving average."""
    network = copy.deepcopy(network)
    average = copy.deepcopy(network)
    wanted, draw = network.standardize(y), torch.Generator().manual_seed(0)
    uniform = partial(torch.rand, generator=draw)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(y), generator=draw).split(BATCH_SIZE):
            view = torch.randint(len(views), (len(rows),), generator=draw)
            faces = torch.from_numpy(views[view.numpy(), rows.numpy()])
            error = network(vary(faces, partial(uniform, len(rows)))) - wanted[rows]
            squares = (network.head.weight**2).sum(1)
            loss = (error.square().mean(0) + network.penalty * squares).sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            for mean, own in zip(average.parameters(), network.parameters(), strict=True):
                mean.data.lerp_(own.data, AVERAGE)
        schedule.step()
    return average


def mean_r(rated, predicted, rows):
    columns = [TARGETS.index(name) for name in CEILING]
    return np.mean([correlate(predicted[rows, j], rated[rows, j]) for j in columns])


def group_r(rated, said, i, rows):
    return correlate(said[i][rows], rated[rows])


def compare(score, n):
    """Describe a score of two predictions, and their paired difference."""
    every = np.arange(n)
    before, after = score(0, every), score(1, every)
    low, high = interval(lambda rows: score(1, rows) - score(0, rows), n, 2000)
    return f"{before:.4f} to {after:.4f}: {after - before:+.4f} ({low:+.4f} to {high:+.4f})"


def report(rated, portraits, people, london):
    """Print what training changed: `portraits` and `london` are predictions before and after."""
    print("  OMI", compare(lambda i, rows: mean_r(rated, portraits[i], rows), len(rated)))
    alert, attractive = TARGETS.index("alert"), TARGETS.index("attractive")
    said, wanted = [own[:, alert] for own in portraits], rated[:, alert]
    print("  OMI, alert", compare(partial(group_r, wanted, said), len(rated)))
    women = (people["face_gender"] == "female").to_numpy()
    for name, group in {"all": np.ones(len(people), bool), "women": women, "men": ~women}.items():
        wanted = people["attractive"].to_numpy()[group]
        said = [own[group, attractive] for own in london]
        score = partial(group_r, wanted, said)
        print(f"  London, {name}", compare(score, len(wanted)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=list(CROPS))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--folds", type=int, default=5, help="of the five, the first so many")
    parser.add_argument("--cache", type=Path, help="folder that keeps aligned faces")
    given = parser.parse_args()
    torch.manual_seed(0)
    look = Memory(given.cache, verbose=0).cache(see)
    photos, ratings = load_portraits()
    people, rated = load_london(), ratings[TARGETS].to_numpy()
    views, neutral = np.stack([look(photos, name) for name in VIEWS]), look([*people["neutral"]])
    fold = hash_of(ratings.index) % 5
    portraits, london = np.full((2, *rated.shape), np.nan), []
    for k in range(given.folds):
        inside = np.flatnonzero(fold != k)
        before = Network(given.part, views[0, inside], rated[inside])
        after = tune(before, views[:, inside], rated[inside], given.epochs, given.rate)
        for i, network in enumerate((before, after)):
            portraits[i, fold == k] = network.predict(views[0, fold == k])
        london.append([network.predict(neutral) for network in (before, after)])
        scores = [mean_r(rated, own, np.flatnonzero(fold == k)) for own in portraits]
        print(f"fold {k}: {scores[0]:.4f} to {scores[1]:.4f}", flush=True)
    done, london = fold < given.folds, np.mean(london, axis=0)
    print("the network alone")
    report(rated[done], portraits[:, done], people, london)
    folds = pd.read_csv(RESULTS / "bundled_model_folds.csv", index_col="stimulus")
    bundled = folds.loc[ratings.index][TARGETS].to_numpy()[done]
    table = pd.read_csv(RESULTS / "bundled_model_london.csv", dtype={"face_id": str})
    table = table[table["photograph"] == "neutral"].set_index("face_id")
    real = table.loc[people["face_id"]][TARGETS].to_numpy()
    change, changed = (SHARE * (own[1] - own[0]) for own in (portraits[:, done], london))
    print(f"the bundled model, and a share of {SHARE} of the change")
    report(rated[done], (bundled, bundled + change), people, (real, real + changed))


if __name__ == "__main__":
    main()
