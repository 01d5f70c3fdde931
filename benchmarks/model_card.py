"""Make the card of the bundled model, ``docs/model_card.md``, and its audit as one web page.

    PERSONA_AFFECT_DATA=folder python benchmarks/model_card.py [--text] [--html audit.html]

Writes ``results/bundled_model_stability.csv``: how the bundled model's predictions move when
26 portraits of ``omi`` change a little. The errors are those of
``results/bundled_model_folds.csv``, predictions of the same recipe for portraits outside of its
training folds, which ``train_bundled_model.py`` writes: after a change of the recipe, run that
first. With ``--text`` only the card is written, from the two files.
They hold predictions, and no ratings; those are read from the data folder.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from omi_cross_validation import CEILING, EMOTION, PERSONALITY, load_portraits

from persona_affect import load_model
from persona_affect.inspection import AUDIT_DISTURBANCES, audit, model_card

HERE = Path(__file__).parent
FOLDS = HERE / "results/bundled_model_folds.csv"
STABILITY = HERE / "results/bundled_model_stability.csv"
CARD = HERE.parent / "docs/model_card.md"
N_DISTURBED = 26

AUDITED_ON = """\
On One Million Impressions, by five-fold cross-validation of the same recipe: each prediction is
that of a model that was not trained on the portrait, whose fold is the CRC-32 of its stimulus
number modulo 5 (`benchmarks/omi_cross_validation.py`). Penalties were chosen inside the training
folds; the networks, the crops, the margin, the weights of the parts, the shrinkage, the copies and
the heads' learning rate were compared on these same folds: expect the figures to be optimistic by
a few thousandths.
*gender*, *age* and *skin-color* are how raters saw the portraits. The table of photos that change
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

102 adults of the London set (studio light, neutral; CC BY 4.0), of which the model has seen none:
Pearson r of predicted *attractive* with the mean of 2,513 raters, with 95 % bootstrap intervals
over people, worst first. Gender, ethnicity and age are as the people stated them; groups below 8
people are left out.

| | people | r | 95 % |
|---|---|---|---|
| men | 53 | 0.52 | 0.31 to 0.69 |
| black | 13 | 0.55 | -0.13 to 0.89 |
| 24 to 29 years | 27 | 0.62 | 0.33 to 0.79 |
| 29 to 54 years | 31 | 0.67 | 0.45 to 0.82 |
| women | 49 | 0.71 | 0.55 to 0.82 |
| **all** | 102 | **0.72** | 0.63 to 0.80 |
| west Asian | 10 | 0.73 | 0.08 to 0.94 |
| white | 69 | 0.76 | 0.66 to 0.84 |
| 18 to 24 years | 42 | 0.76 | 0.64 to 0.87 |
| east Asian | 9 | 0.84 | 0.70 to 0.98 |

On synthetic portraits r is 0.8 to 0.97; on real people it is lower, and the order of two men is
predicted badly. Each of the 102 people is rated *happier* on their smiling photograph than on
their neutral one. For the other impressions, and for other light, we have no ratings of real
people.

Blur, few pixels, light, colour, compression, rotation, hair and background move predictions by
0.04 to 0.16 standard deviations of the ratings; a crop to the face by 0.19 to 0.29, and a crop that
cuts off a side by 0.29 to 0.35. All disturbances, and the two photographs of one person:
[real_people.md](../benchmarks/results/real_people.md).

Not measured: raters in other places. We looked at a few examples: for *happy*, a man got 84 when
he smiled, and 44 and 47 when he spoke and was serious. In a clip of a woman who looks sad, then
surprised, then smiles, sampled frames of the smile got 72 and more, all others 29 to 60.

Other recipes, half-labelled training and baselines:
[benchmarks/results/bundled_model.md](../benchmarks/results/bundled_model.md).""",
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


def measure_errors(photos, ratings, folds, seen):
    y = ratings[PERSONALITY + EMOTION].reset_index(drop=True)
    return audit(
        load_model(), photos, y, sensitive=seen, y_pred=folds[list(y)].to_numpy(), disturbances=[]
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


def make_card(errors, stability):
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
    card = model_card(
        audit=whole,
        audited_on=AUDITED_ON.format(ceiling=text),
        sections=SECTIONS,
        title="Model card: impressions of faces",
    )
    return card, whole


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", action="store_true")
    parser.add_argument("--html", type=Path)
    arguments = parser.parse_args()
    photos, ratings, folds, seen = load()
    if not arguments.text:
        measure_stability(photos, ratings, folds, list(AUDIT_DISTURBANCES)).round(4).to_csv(
            STABILITY, index=False
        )
    errors = measure_errors(photos, ratings, folds, seen)
    card, whole = make_card(errors, pd.read_csv(STABILITY))
    card.save(CARD)
    if arguments.html is not None:
        whole.save_html(arguments.html, title="Audit of the bundled model")


if __name__ == "__main__":
    main()
