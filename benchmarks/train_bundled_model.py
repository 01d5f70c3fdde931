"""Train the model that comes with the package, on all 804 portraits.

    PERSONA_AFFECT_DATA=folder python benchmarks/train_bundled_model.py

Writes ``persona_affect/models/impressions.safetensors``. ``omi_cross_validation.py`` measures the
same recipe on portraits that it was not trained on; ``docs/model_card.md`` has the figures.
"""

from pathlib import Path

from omi_cross_validation import (
    EMOTION,
    PERSONALITY,
    load_portraits,
    make_aligner,
    make_embedders,
    make_features,
    make_heads,
)
from sklearn.pipeline import make_pipeline

import persona_affect
from persona_affect import load_model, save_model

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


def main():
    photos, ratings = load_portraits()
    model = make_pipeline(make_aligner(), make_features(*make_embedders()), make_heads())
    model.fit(photos, ratings[PERSONALITY + EMOTION])
    TARGET.parent.mkdir(exist_ok=True)
    # 10.1 for 18.9 MB; no prediction of 160 portraits changes by more than 0.006 of 100 points.
    save_model(model, TARGET, notes=NOTES, half=True)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.1f} MB")
    first = load_model(TARGET).predict(photos[:1])[0]
    print(photos[0].name, dict(zip(model[-1].target_names_, first.round(1).tolist(), strict=True)))


if __name__ == "__main__":
    main()
