"""Train the model that comes with the package, on all 804 portraits.

    PERSONA_AFFECT_DATA=folder python benchmarks/train_bundled_model.py [--calibrate-only]

Writes ``persona_affect/models/impressions.safetensors``. ``omi_cross_validation.py`` measures the
same recipe on portraits that it was not trained on; ``docs/model_card.md`` has the figures.

The calibration of its intervals is in the same file. Its errors are those of the cross-validation:
each portrait's by a model that has not seen it. ``--calibrate-only`` computes it for the model that
is there, whose predictions stay equal to the bit.
"""

import argparse
from pathlib import Path

from omi_cross_validation import (
    EMOTION,
    PERSONALITY,
    cross_validate,
    embed,
    load_portraits,
    make_aligner,
    make_embedders,
    make_features,
    make_heads,
)
from sklearn.pipeline import make_pipeline

import persona_affect
from persona_affect import ConformalAffect, load_model, save_model
from persona_affect.persistence import read_model_info

TARGET = Path(persona_affect.__file__).parent / "models" / "impressions.safetensors"
NOTES = {
    "data": (
        "One Million Impressions: 804 synthetic portraits with mean ratings of 0..100; Peterson, "
        "Uddenberg, Griffiths, Todorov, Suchow, PNAS 2022"
    ),
    "licence": "CC BY-NC-SA 4.0, as the ratings; see persona_affect/models/LICENSE",
    "meaning": (
        "impressions that faces make on raters, not what people are; never for hiring, screening "
        "or any decision on a person"
    ),
}


def calibrate(path, ratings, X, model, out_of_fold):
    """Put the calibration of intervals into the file of a model."""
    # Trained on all portraits it is the model of the file, but for the rounding of its weights.
    conformal = ConformalAffect(model.fit(X, ratings), method="base", random_state=0)
    conformal.conformalize(X, ratings, predicted=out_of_fold)
    notes = read_model_info(path)["notes"]
    save_model(conformal.around(load_model(path)), path, notes=notes, half=True)


def train(photos, ratings):
    model = make_pipeline(make_aligner(), make_features(*make_embedders()), make_heads())
    model.fit(photos, ratings)
    TARGET.parent.mkdir(exist_ok=True)
    # 10.1 for 18.9 MB; no prediction of 160 portraits changes by more than 0.006 of 100 points.
    save_model(model, TARGET, notes=NOTES, half=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibrate-only", action="store_true")
    photos, ratings = load_portraits()
    ratings = ratings[PERSONALITY + EMOTION]
    if not parser.parse_args().calibrate_only:
        train(photos, ratings)
    X, model = embed(photos)
    calibrate(TARGET, ratings, X, model, cross_validate(model, X, ratings))
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.1f} MB")
    print(load_model(TARGET, intervals=True).predict_table(photos[:1]).round(1).T)


if __name__ == "__main__":
    main()
