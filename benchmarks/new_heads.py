"""How many ratings of one's own are enough: new heads on the bundled model, on real photographs.

    PERSONA_AFFECT_DATA=folder python benchmarks/new_heads.py [--draws 20]

`persona_affect.protocols.train_heads` learns attractiveness from some neutral photographs of the
London set, and predicts the others. Beside it: the bundled model as it is, and a line from its
prediction to the ratings, fitted on the same photographs. Each row is a mean over random draws of
the photographs to learn from; in brackets the 5th and 95th percentile of the draws.
"""

import argparse

import numpy as np
import pandas as pd
from real_people import TARGETS, load_london
from sklearn.base import clone

from persona_affect import load_model

SIZES = (20, 50, 80)


def score(rated, predicted):
    return {
        # A constant has none.
        "r": np.corrcoef(rated, predicted)[0, 1] if np.ptp(predicted) > 0 else np.nan,
        "mean absolute error": np.abs(rated - predicted).mean(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    n_draws = parser.parse_args().draws
    people, model = load_london(), load_model()
    X = np.asarray(model[:-1].transform(people["neutral"].tolist()))
    rated = people[["attractive"]]
    plain = model[-1].predict(X)[:, TARGETS.index("attractive")]
    heads = clone(model[-1]).set_params(personality=["attractive"], emotion=())
    found = []
    for size in SIZES:
        for draw in range(n_draws):
            order = np.random.default_rng(1000 * size + draw).permutation(len(people))
            train, test = order[:size], order[size:]
            y, truth = rated.iloc[train], rated["attractive"].to_numpy()[test]
            slope, intercept = np.polyfit(plain[train], y["attractive"], 1)
            ways = {
                "bundled, a line": slope * plain[test] + intercept,
                "new heads": np.ravel(clone(heads).fit(X[train], y).predict(X[test])),
                "mean rating": np.full(len(test), y["attractive"].mean()),
            }
            for way, predicted in ways.items():
                found.append({"faces": size, "way": way, **score(truth, predicted)})
    table = pd.DataFrame(found).groupby(["way", "faces"])
    mean, low, high = table.mean(), table.quantile(0.05), table.quantile(0.95)
    for index in mean.index:
        cells = [
            f"{mean.loc[index, k]:.2f} ({low.loc[index, k]:.2f} to {high.loc[index, k]:.2f})"
            for k in mean
        ]
        print(f"| {index[0]} | {index[1]} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
