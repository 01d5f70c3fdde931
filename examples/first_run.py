"""Train on two half-labelled sets, compare with a baseline; then ask the bundled model.

    python examples/first_run.py [PHOTO]

Training needs no data: persons are rendered. One half is clips rated on the Big Five, the other
half photos of other persons, with another camera, rated on arousal and valence. One ``fit`` takes
both; it takes about three minutes on two cores. Then the model that comes with the package, trained
on ratings of 804 portraits, predicts your photo, or scikit-image's portrait of an astronaut.
"""

import sys

from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner, JointAffectEstimator, load_model
from persona_affect.datasets import make_affect_clips
from persona_affect.metrics import affect_report


def astronaut():
    from skimage import data  # the extra examples

    return data.astronaut(), "scikit-image's portrait of the astronaut Eileen Collins"


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

    print(
        "(These persons are rendered and their traits invented: the table shows that the method\n"
        "works, and says nothing about anybody. The next model was trained on real ratings.)"
    )

    photo, name = astronaut() if len(sys.argv) == 1 else (sys.argv[1], sys.argv[1])
    impressions = load_model()
    print(f"\nHow raters would see the face in {name}, from 0 to 100:\n")
    for target, value in zip(
        impressions[-1].target_names_, impressions.predict([photo])[0], strict=True
    ):
        print(f"  {target:12s} {value:5.1f}")
    print("\nThese are impressions that faces make on raters, not what people are.")


if __name__ == "__main__":
    main()
