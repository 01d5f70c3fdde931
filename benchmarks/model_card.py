"""Make the card of the bundled model, ``docs/model_card.md``, and its audit as one web page.

    PERSONA_AFFECT_DATA=folder python benchmarks/model_card.py [--text] [--html audit.html]

Every figure of the card is computed here. Errors are those of ``results/bundled_model_folds.csv``,
predictions of the same recipe for portraits outside of its training folds, which
``train_bundled_model.py`` writes: after a change of the recipe, run that first. Intervals are from
the same errors, those of a fold's portraits from the other folds' errors. Two more files are
written by the bundled model itself: ``results/bundled_model_stability.csv``, how its predictions
move when 26 portraits of ``omi`` change a little; and ``results/bundled_model_london.csv``, its
predictions for the photographs of ``people/london``. With ``--text`` only the card is written, from
the three files. They hold predictions, and no ratings; those are read from the data folder.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from omi_cross_validation import CEILING, EMOTION, PERSONALITY, hash_of, load_portraits
from real_people import load_london, score_groups
from sklearn.preprocessing import FunctionTransformer

from persona_affect import ConformalAffect, load_model
from persona_affect.inspection import AUDIT_DISTURBANCES, audit, model_card

HERE = Path(__file__).parent
FOLDS = HERE / "results/bundled_model_folds.csv"
STABILITY = HERE / "results/bundled_model_stability.csv"
LONDON = HERE / "results/bundled_model_london.csv"
CARD = HERE.parent / "docs/model_card.md"
N_DISTURBED = 26
LEVELS = (0.8, 0.9, 0.95)

AUDITED_ON = """\
On One Million Impressions, by five-fold cross-validation of the same recipe: each prediction is
that of a model that was not trained on the portrait, whose fold is the CRC-32 of its stimulus
number modulo 5 (`benchmarks/omi_cross_validation.py`). Penalties were chosen inside the training
folds; the networks, the crops, the margin, the weights of the parts, the shrinkage, the copies and
the heads' learning rate were compared on these same folds: expect the figures to be optimistic by
a few thousandths. *gender*, *age* and *skin-color* are how raters saw the portraits, in thirds. The
intervals around the predictions of a fold are made of the errors in the other four. The table of
photos that change
a little is of the bundled model itself, on portraits that it was trained on; the aligned face is
changed, so that finding the face again plays no part.

{ceiling}"""
SECTIONS = {
    "What it is": """\
This is the model that `load_model()` returns, and that `persona-affect predict` uses by default.
Numbers are 0 to 100: how a face looks to raters, on average. They are not the Big Five: for
those, train on ChaLearn First Impressions (`persona-affect train`).

`FaceAligner` finds the largest face and aligns it with a margin of 0.3. Three `FaceEmbedder`
embed concentric crops of it and of its mirror image: the 8 x 8 maps of the 128-channel stage of
dlib's public-domain face recognition network, and the embeddings of two small networks of
face-api.js, one for expression, one for age and gender. `KernelFeatures` adds a Gaussian kernel
of the last two. On these, `JointAffectEstimator` has one linear head for the five traits (PAM),
one for *alert* and *happy* (EAM, in the places of arousal and valence), and the relationship
module (RAM). They learn from the mean embedding of three copies of each portrait: as it is,
compressed, and darker; portraits that look 18 to 55 years old count twice. `NuisanceShrinkage`
finds directions in which blur, few pixels, compression, exposure and mirror images move
embeddings, and shrinks them; it is part of the weights of kernel and heads, and takes no time.
Convolutions are stored in half precision.""",
    "What it is not for": """\
It is not for commercial use: see the licence. More: [responsible use](responsible_use.md).""",
    "Measured": """\
### Photographs of real people

{n_people} adults of the London set (studio light, neutral; CC BY 4.0), of which the model has seen
none: Pearson r of predicted *attractive* with the mean of 2,513 raters, with 95 % bootstrap
intervals over people, worst first. Gender, ethnicity and age are as the people stated them; groups
below 8 people are left out.

{people}

On synthetic portraits r is {lowest:.2f} to {highest:.2f}. {happier} of the {n_people} people are
rated *happier* on their smiling photograph than on their neutral one. For the other impressions,
and for other light, we have no ratings of real people. How much predictions move when a photograph
is disturbed, and the two photographs of one person:
[real_people.md](../benchmarks/results/real_people.md).

Not measured: raters in other places. Other recipes, half-labelled training and baselines:
[benchmarks/results/bundled_model.md](../benchmarks/results/bundled_model.md).""",
    "Intervals": """\
Its errors are those of the five folds above. Around the predictions of a fold, made of the errors
in the other four, they hold these shares of the ratings; widths are in points of 100:

{intervals}

They hold for portraits like these. Blurred and small faces, photographs of real people, and other
raters: [intervals](intervals.md).""",
    "Data and licence": """\
The 804 portraits are synthetic (StyleGAN2, learnt from FFHQ), 256 pixels wide, with the mean
ratings of online raters. The model is trained on all of them by
`benchmarks/train_bundled_model.py`. Its licence is that of the ratings, with credit to their
paper (`persona_affect/models/LICENSE`).

The networks before the heads learnt from other faces: dlib's from about three million faces,
face-api.js's from public data sets and photographs of the web that their author does not list.
One of them was trained to predict age and gender, and its embedding is used: raters' impressions
depend on both, and the model repeats that. The convolutions alone are in the public domain (Davis
King, dlib) and under the MIT licence (Vincent Mühler and Vladimir Mandic, face-api.js). The
package's code is BSD-3-Clause and does not change this.""",
}


def load():
    """Read ratings, the predictions of the folds, and how raters saw the faces."""
    photos, ratings = load_portraits()
    folds = pd.read_csv(FOLDS, index_col="stimulus").loc[ratings.index]
    seen = ratings[["gender", "age", "skin-color"]].reset_index(drop=True)
    return np.array(list(map(str, photos))), ratings, folds, seen


def make_intervals(ratings, folds, alpha):
    """Put the errors of the other four folds around the predictions of each fold."""
    y, predicted = (table[PERSONALITY + EMOTION].to_numpy() for table in (ratings, folds))
    fold, bounds = hash_of(ratings.index) % 5, np.empty((*y.shape, 2))
    for k in range(5):
        # Its "predictions" are those that it is given.
        conformal = ConformalAffect(Given().fit(predicted))
        conformal.conformalize(predicted[fold != k], y[fold != k])
        bounds[fold == k] = conformal.predict_interval(predicted[fold == k], alpha)
    return bounds


class Given(FunctionTransformer):
    """A model whose inputs are its predictions."""

    def predict(self, X):
        """Return them."""
        return X


def measure_errors(photos, ratings, folds, seen):
    targets = PERSONALITY + EMOTION
    return audit(
        load_model(),
        photos,
        ratings[targets].reset_index(drop=True),
        sensitive=seen,
        y_pred=folds[targets].to_numpy(),
        intervals=make_intervals(ratings, folds, 0.1),
        alpha=0.1,
        disturbances=[],
    )


def measure_stability(photos, ratings, folds, disturbances):
    """Disturb evenly chosen portraits."""
    y = ratings[PERSONALITY + EMOTION].reset_index(drop=True)
    found = audit(
        load_model(),
        photos,
        y,
        y_pred=folds[list(y)].to_numpy(),
        disturbances=disturbances,
        max_disturbed=N_DISTURBED,
    )
    return found.stability


def predict_people(n_people=None):
    """Predict the neutral and the smiling photographs of the London set."""
    model, people = load_model(), load_london()[:n_people]
    tables = []
    for kind in ("neutral", "smiling"):
        values = model.predict([str(path) for path in people[kind]])
        table = pd.DataFrame(values, columns=model[-1].target_names_)
        table.insert(0, "photograph", kind)
        table.insert(0, "face_id", people["face_id"])
        tables.append(table)
    return pd.concat(tables, ignore_index=True).round(3)


def describe_people(predicted):
    """Compare predictions with the ratings of real people."""
    people = load_london()
    neutral, smiling = (
        predicted[predicted["photograph"] == kind].set_index("face_id").loc[people["face_id"]]
        for kind in ("neutral", "smiling")
    )
    rows = ["| | people | r | 95 % |", "|---|---|---|---|"]
    for row in score_groups(people, neutral["attractive"].to_numpy()):
        name = f"**{row['group']}**" if row["group"] == "all" else row["group"]
        ends = f"{row['low']:.2f} to {row['high']:.2f}"
        rows.append(f"| {name} | {row['people']} | {row['r']:.2f} | {ends} |")
    happier = int((smiling["happy"] > neutral["happy"]).sum())
    return {"n_people": len(people), "people": "\n".join(rows), "happier": happier}


def describe_intervals(ratings, folds):
    """Table coverage and width by target and level."""
    targets = PERSONALITY + EMOTION
    y, columns = ratings[targets].to_numpy(), {}
    for level in LEVELS:
        low, high = np.moveaxis(make_intervals(ratings, folds, 1 - level), -1, 0)
        columns[f"{level:.0%}".replace("%", " %")] = ((low <= y) & (y <= high)).mean(axis=0)
        columns[f"width, {level:.0%}".replace("%", " %")] = (high - low).mean(axis=0)
    table = pd.DataFrame(columns, index=targets)
    table.loc["mean"] = table.mean()
    lines = ["| | " + " | ".join(table) + " |", "|" + "---|" * (1 + table.shape[1])]
    for name, row in table.iterrows():
        cells = [f"{v:.1f}" if "width" in column else f"{v:.3f}" for column, v in row.items()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def make_card(errors, stability, people, intervals):
    whole = replace(
        errors, stability=stability, settings={**errors.settings, "n_disturbed": N_DISTURBED}
    )
    r = errors.overall["pearson"]
    text = (
        "The mean r over the six targets whose ceiling is known is "
        f"**{r[list(CEILING)].mean():.3f}**; the mean ceiling is "
        f"{np.mean([*CEILING.values()]):.3f}. The ceiling is the square root of the ratings' "
        "reliability, the highest r that any predictor can reach: "
        + ", ".join(f"*{name}* {value:.3f}" for name, value in CEILING.items())
        + ". That of *attractive* is not known to us."
    )
    sections = dict(SECTIONS)
    sections["Measured"] = sections["Measured"].format(**people, lowest=r.min(), highest=r.max())
    sections["Intervals"] = sections["Intervals"].format(intervals=intervals)
    card = model_card(
        audit=whole,
        audited_on=AUDITED_ON.format(ceiling=text),
        sections=sections,
        title="Model card: impressions of faces",
    )
    return card, whole


def measure():
    """Compute the card from the recorded predictions."""
    photos, ratings, folds, seen = load()
    people = describe_people(pd.read_csv(LONDON, dtype={"face_id": str}))
    errors = measure_errors(photos, ratings, folds, seen)
    return make_card(errors, pd.read_csv(STABILITY), people, describe_intervals(ratings, folds))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", action="store_true")
    parser.add_argument("--html", type=Path)
    arguments = parser.parse_args()
    if not arguments.text:
        photos, ratings, folds, _ = load()
        stability = measure_stability(photos, ratings, folds, list(AUDIT_DISTURBANCES))
        stability.round(4).to_csv(STABILITY, index=False)
        predict_people().to_csv(LONDON, index=False)
    card, whole = measure()
    card.save(CARD)
    if arguments.html is not None:
        whole.save_html(arguments.html, title="Audit of the bundled model")


if __name__ == "__main__":
    main()
