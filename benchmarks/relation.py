"""Traits over emotion: the relationship module, a linear and a monotone model, cross-validated.

    PERSONA_AFFECT_DATA=folder python benchmarks/relation.py [--figure relation.png]

Ratings of the 804 portraits of ``omi``: five traits from *alert* and *happy*. Pearson r and R2 of
predictions for portraits outside of the training folds (five folds, three shuffles); then the
module inside the bundled model, which was trained on these portraits. With `--figure FILE`, the
surfaces of all. Results: ``benchmarks/results/relation.md``.
"""

import argparse
from pathlib import Path

import pandas as pd
from omi_cross_validation import EMOTION, PERSONALITY, load_portraits

from persona_affect import load_model
from persona_affect.inspection import RelationDisplay


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path)
    figure = parser.parse_args().figure
    _, ratings = load_portraits()
    emotion, traits = ratings[EMOTION], ratings[PERSONALITY]
    displays = [
        RelationDisplay.from_data(emotion, traits, random_state=seed, plot=False)
        for seed in range(3)
    ]
    scores = pd.concat([display.scores for display in displays])
    for measure in ("pearson", "r2"):
        table = scores.pivot_table(index="trait", columns="model", values=measure, sort=False)
        spread = scores.pivot_table(index="trait", columns="model", values=measure, aggfunc="std")
        print(measure, table.round(3).to_string(), sep="\n")
        print("largest standard deviation over shuffles", spread.to_numpy().max().round(4), "\n")
    own = RelationDisplay.from_estimator(load_model(), emotion, traits, models={}, plot=False)
    print("inside the bundled model", own.scores.round(3).to_string(index=False), sep="\n")
    if figure is not None:
        surfaces = displays[0].surfaces | own.surfaces
        both = pd.concat([displays[0].scores, own.scores])
        first = displays[0]
        RelationDisplay(
            surfaces, first.grid, first.emotion, emotion_names=first.emotion_names, scores=both
        ).plot().figure_.savefig(figure, dpi=110)


if __name__ == "__main__":
    main()
