"""Measure the bundled model on photographs of real people.

    PERSONA_AFFECT_DATA=folder python benchmarks/real_people.py [MODEL] [--jobs 4] [--faces 102]

The photographs are those of ``folder/people`` (Face Research Lab London Set, DeBruine and Jones:
102 adults, neutral and smiling, with the mean attractiveness of each by 2,513 raters). The model
learns nothing from them here. Measured are Pearson's r of predicted and rated attractiveness, by
group; whether a smile is seen; what is predicted from two photographs of one person; and how much
predictions move when a photograph is disturbed, on ``--faces`` photographs of London and as many
OMI portraits. Intervals are 95 %, by bootstrap over people. Writes the figures at the front of
``results/real_people.md``; what is said about them stays.
"""

import argparse
import os
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from omi_cross_validation import load_portraits

from persona_affect import load_model
from persona_affect.inspection import DISTURBANCES
from persona_affect.media import open_photo

RESULTS = Path(__file__).parent / "results" / "real_people.md"
CLEAN = "clean"
TARGETS = ["trustworthy", "outgoing", "dominant", "smart", "attractive", "alert", "happy"]
#: Where the part that is written by hand begins.
SAID = "## What it says"
#: No group smaller than this gets a row.
SMALLEST = 8


def load_london():
    """Read the London set: a row a person, with the paths of the two photographs."""
    folder = Path(os.environ["PERSONA_AFFECT_DATA"], "people")
    people = pd.read_csv(folder / "london.csv", dtype={"face_id": str})
    for kind in ("neutral", "smiling"):
        people[kind] = [folder / "london" / kind / f"{face}.jpg" for face in people["face_id"]]
    return people


def disturb_photos(photos, name, aligner):
    """Disturb whole photographs; one without a face stays as it is."""
    if name == CLEAN:
        return list(photos)
    change, images = DISTURBANCES[name], [open_photo(photo) for photo in photos]
    if not change.needs_landmarks:
        return [change.apply(image) for image in images]
    pairs = zip(images, aligner.detect(images), strict=True)
    return [change.apply(i, found.landmarks[0]) if len(found) else i for i, found in pairs]


def predict_view(path, photos, name=CLEAN):
    """Predict `TARGETS` from disturbed photographs; NaN where no face is found any more."""
    model = load_model(path)
    model[0].set_params(on_error="warn")
    order = [list(model[-1].target_names_).index(target) for target in TARGETS]
    return model.predict(disturb_photos(photos, name, model[0]))[:, order]


def correlate(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def interval(statistic, n, n_draws=4000):
    """Return 95 % bounds of a statistic of row numbers, by bootstrap."""
    rng = np.random.default_rng(0)
    drawn = [statistic(rng.integers(n, size=n)) for _ in range(n_draws)]
    return [float(bound) for bound in np.nanpercentile(drawn, [2.5, 97.5])]


def list_groups(people):
    """Name groups of people: all, women and men, ethnicities and thirds of age."""
    yield "all", np.ones(len(people), bool)
    for column, text in (("face_gender", "gender"), ("face_eth", "ethnicity")):
        for value in sorted(people[column].unique()):
            yield f"{text}: {value.replace('_', ' ')}", (people[column] == value).to_numpy()
    thirds = pd.qcut(people["face_age"], 3)
    for third in thirds.cat.categories:
        yield f"age: {third.left:.0f} to {third.right:.0f}", (thirds == third).to_numpy()


def score_groups(people, predicted):
    """Pearson's r with rated attractiveness in each group, worst first."""
    rows = []
    for name, inside in list_groups(people):
        rated, said = people["attractive"].to_numpy()[inside], predicted[inside]
        n = int(inside.sum())
        if n < SMALLEST:
            continue
        low, high = interval(lambda i, r=rated, s=said: correlate(r[i], s[i]), n)
        rows.append(
            {"group": name, "people": n, "r": correlate(rated, said), "low": low, "high": high}
        )
    return sorted(rows, key=lambda row: row["r"])


def compare_photographs(neutral, smiling):
    """Agreement of the two photographs of one person, plain and with *happy* held constant."""
    happy = TARGETS.index("happy")
    both = np.vstack([neutral, smiling])
    design = np.column_stack([np.ones(len(both)), both[:, happy]])
    rest = both - design @ np.linalg.lstsq(design, both, rcond=None)[0]
    a, b = np.split(rest, 2)
    rows = []
    for j, name in enumerate(TARGETS):
        row = {"target": name, "r": correlate(neutral[:, j], smiling[:, j])}
        if j != happy:
            row["partial"] = correlate(a[:, j], b[:, j])
            row["low"], row["high"] = interval(
                lambda i, j=j: correlate(a[i, j], b[i, j]), len(a), 1000
            )
        rows.append(row)
    return rows


def list_movements(clean, disturbed, spread):
    """Mean absolute change of predictions under each disturbance, in SD of the ratings."""
    rows = []
    for name, after in disturbed.items():
        change = np.abs(after - clean) / spread
        found = ~np.isnan(change).any(1)
        each = change[found].mean(0)
        rows.append(
            {
                "disturbance": name,
                "text": DISTURBANCES[name].text,
                "faces": int(found.sum()),
                "lost": int((~found).sum()),
                "mean": float(each.mean()),
                "worst": float(each.max()),
                "worst target": TARGETS[int(each.argmax())],
            }
        )
    return rows


def measure(predict, n_faces, n_jobs=None):
    """Measure a model, given as the function of photographs and a disturbance that predicts."""
    people, (photos, ratings) = load_london(), load_portraits()
    neutral, smiling = people["neutral"].tolist(), people["smiling"].tolist()
    shown = np.linspace(0, len(people) - 1, min(n_faces, len(people))).astype(int)
    some = [neutral[i] for i in shown]
    portraits = [photos[i] for i in np.linspace(0, len(photos) - 1, n_faces).astype(int)]
    tasks = [(smiling, CLEAN), (neutral, CLEAN), (portraits, CLEAN)]
    tasks += [(photos, name) for name in DISTURBANCES for photos in (some, portraits)]
    found = Parallel(n_jobs=n_jobs)(delayed(predict)(*task) for task in tasks)
    after, before, clean, *rest = found
    london, omi = (dict(zip(DISTURBANCES, rest[i::2], strict=True)) for i in (0, 1))
    spread = ratings[TARGETS].std().to_numpy()
    happy = TARGETS.index("happy")
    rise = after[:, happy] - before[:, happy]
    return {
        "attractive": score_groups(people, before[:, TARGETS.index("attractive")]),
        "smiles": {
            "happier": int((rise > 0).sum()),
            "people": len(rise),
            "mean rise": float(rise.mean()),
            "least rise": float(rise.min()),
        },
        "two photographs": compare_photographs(before, after),
        "movement, London": list_movements(before[shown], london, spread),
        "movement, OMI": list_movements(clean, omi, spread),
    }


def to_table(rows, columns):
    """Write rows as a Markdown table."""
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [row.get(key, "") for key in columns]
        texts = [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines)


REPORT = """# The bundled model on photographs of real people

Face Research Lab London Set (DeBruine and Jones, figshare 5047666, CC BY 4.0): 102 adults, a
neutral and a smiling photograph of each, neutral studio light; mean attractiveness by 2,513 raters
(reliability 0.999). The model did not learn from them. `benchmarks/real_people.py`; intervals are
95 %, by bootstrap over people.

## Attractiveness: Pearson's r with the mean rating, worst group first

{groups}

## Smiles

{happier} of {people} people are rated happier on the smiling photograph: by {mean:.0f} of 100
points on average, by {least:.0f} at least.

## Two photographs of one person

Pearson's r, over people, of what is predicted from the neutral photograph and from the smiling one;
partial: with *happy* held constant.

{photographs}

## How much predictions move

Mean absolute change of a prediction when the photograph is disturbed, in standard deviations of the
ratings: the mean over the seven targets, and that of the target that moves most. The whole
photograph is disturbed, then the face is found in it again. London: {n_london} neutral photographs;
OMI: {n_omi} portraits, which the model learnt from.

{moved}
"""


def describe(found):
    """Turn the figures into the parts of the report."""
    for row in [*found["attractive"], *found["two photographs"]]:
        row["95 %"] = f"{row['low']:.2f} to {row['high']:.2f}" if "low" in row else ""
    omi = {row["disturbance"]: row for row in found["movement, OMI"]}
    london = sorted(found["movement, London"], key=lambda row: -row["mean"])
    for row in london:
        own = omi[row["disturbance"]]
        row |= {"omi": own["mean"], "omi worst": own["worst"], "omi target": own["worst target"]}
    smiles, both = found["smiles"], [*london, *omi.values()]
    columns = {
        "disturbance": "disturbance",
        "text": "what",
        "mean": "London",
        "worst": "most",
        "worst target": "target",
        "omi": "OMI",
        "omi worst": "most",
        "omi target": "target",
        "lost": "faces lost",
    }
    shown = ("group", "people", "r", "95 %"), ("target", "r", "partial", "95 %")
    groups, photographs = ({name: name for name in names} for names in shown)
    return {
        "groups": to_table(found["attractive"], groups),
        "happier": smiles["happier"],
        "people": smiles["people"],
        "mean": smiles["mean rise"],
        "least": smiles["least rise"],
        "photographs": to_table(found["two photographs"], photographs),
        "n_london": london[0]["faces"],
        "n_omi": both[-1]["faces"],
        "moved": to_table(london, columns),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", help="a saved model; by default the bundled one")
    parser.add_argument("--jobs", type=int, help="processes that predict")
    parser.add_argument("--faces", type=int, default=102, help="faces that are disturbed, each set")
    given = parser.parse_args()
    found = measure(partial(predict_view, given.model), given.faces, given.jobs)
    text = REPORT.format(**describe(found))
    said = RESULTS.read_text().partition(SAID)[2]
    RESULTS.write_text(f"{text}\n{SAID}{said}")
    print(text)


if __name__ == "__main__":
    main()
