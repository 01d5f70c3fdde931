"""Train on two half-labelled sets, compare with a baseline, and predict a photo.

    python examples/first_run.py [PHOTO]

Needs no data: persons are rendered. One half are clips rated on the Big Five, the other half
photos of other persons rated on arousal and valence, seen by another camera. One ``fit`` takes
both. About three minutes on two cores.
"""

import sys

from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner, JointAffectEstimator
from persona_affect.datasets import make_affect_clips
from persona_affect.metrics import affect_report


def main() -> None:
    people = make_affect_clips(n_persons=80, random_state=0)
    others = make_affect_clips(n_persons=60, random_state=1)

    model = make_pipeline(
        FaceAligner(), JointAffectEstimator(max_epochs=40, random_state=0, verbose=1)
    )
    model.fit(people.data, people.target)

    print("\nNew persons, each half rated on what it was trained for:\n")
    report = affect_report(others.target, model.predict(others.data), baseline=people.target.mean())
    columns = ["ccc", "pearson", "accuracy_mae", "baseline_accuracy_mae"]
    print(report[columns].round(3).to_string())
    print("(The baseline is the mean label, whose CCC and Pearson r are 0.)")

    if len(sys.argv) > 1:
        photo, name = sys.argv[1], sys.argv[1]
    else:
        photo, name = others.data[-1], "a rendered photo"
    print(f"\nApparent traits (0 to 1) and emotion (-1 to 1) in {name}:\n")
    for target, value in zip(people.target, model.predict([photo])[0], strict=True):
        print(f"  {target:18s} {value:5.2f}")
    print(
        "\nThese are impressions that faces make, learnt from rendered persons with made-up\n"
        "traits: they show that the machinery works, and say nothing about who anybody is."
    )


if __name__ == "__main__":
    main()
