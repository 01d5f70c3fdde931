"""Train the model that comes with the package, on all 804 portraits.

    PERSONA_AFFECT_DATA=folder python benchmarks/train_bundled_model.py [--jobs 4]

Writes ``persona_affect/models/impressions.safetensors``. ``omi_cross_validation.py`` measures the
same recipe on portraits that it was not trained on; ``docs/model_card.md`` has the figures.

The calibration of its intervals is in the same file. Its errors are those of the cross-validation:
each portrait's by a model that has not seen it. The predictions of the cross-validation are written
to ``results/bundled_model_folds.csv``, from which ``model_card.py`` makes the card.
"""

import argparse
from pathlib import Path

import numpy as np
from omi_cross_validation import (
    CLEAN,
    EMOTION,
    PERSONALITY,
    Recipe,
    cross_validate,
    embed_views,
    load_portraits,
    make_aligner,
    make_embedders,
    summarize,
    weigh,
)
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline

import persona_affect
from persona_affect import ConformalAffect, load_model, save_model

FOLDS = Path(__file__).parent / "results" / "bundled_model_folds.csv"
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


def assemble(model, photos):
    """Put aligner and networks before a fitted model of embeddings: a model of photographs.

    `photos` are two or more, to build the networks with.
    """
    aligner = make_aligner()
    recognition, small = make_embedders()
    faces = aligner.fit_transform(photos)
    features, heads = model
    kernel = features.transformer_list[1][1][-1]
    union = FeatureUnion(
        [
            ("recognition", recognition.fit(faces)),
            ("small", make_pipeline(small.fit(faces), kernel)),
        ],
        transformer_weights=features.transformer_weights,
    )
    names = "facealigner", "featureunion", "jointaffectestimator"
    return Pipeline(list(zip(names, (aligner, union, heads), strict=True)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, help="processes that embed portraits")
    photos, ratings = load_portraits()
    rated, numbers = ratings[PERSONALITY + EMOTION], np.arange(len(ratings))
    recipe = Recipe(embed_views(photos, parser.parse_args().jobs), weigh(ratings))
    predicted = cross_validate(recipe, numbers, rated)
    predicted.round(3).to_csv(FOLDS)
    print(summarize(rated, predicted).round(4))
    model = recipe.fit(numbers, rated).model_
    # 8.9 for 13 MB; no prediction of 160 portraits changes by more than 0.006 of 100 points.
    save_model(assemble(model, photos[:2]), TARGET, notes=NOTES, half=True)
    # Trained on all portraits it is the model of the file, but for the rounding of its weights.
    conformal = ConformalAffect(model, method="base", random_state=0)
    conformal.conformalize(recipe.views[CLEAN], rated, predicted=predicted)
    save_model(conformal.around(load_model(TARGET)), TARGET, notes=NOTES, half=True)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.1f} MB")
    print(load_model(TARGET, intervals=True).predict_table(photos[:1]).round(1).T)


if __name__ == "__main__":
    main()
