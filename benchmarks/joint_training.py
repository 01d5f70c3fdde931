"""Compare the joint network with each half alone, with and without coherence, and the RAM.

    python benchmarks/joint_training.py --seeds 5 --jobs 1

Renders a personality half (clips) and an emotion half (photos) with a known domain shift, trains
every variant on the same faces with the same seed, and measures CCC on new persons of both halves.
A seed decides the training persons, the test persons, the initialisation and the batches.
Differences are paired by seed; intervals are 95 %, Student's t.
"""

import argparse
import multiprocessing
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
import pandas as pd
import torch
from scipy import stats

from persona_affect import JointAffectEstimator
from persona_affect.datasets import make_affect_clips
from persona_affect.metrics import ccc_score

ALONE = {"lambda_coh": 0.0, "lambda_ram": 0.0}
VARIANTS = {
    "joint": {},
    "joint, no coherence": {"lambda_coh": 0.0},
    "personality alone": {"lambda_emo": 0.0, **ALONE},
    "emotion alone": {"lambda_per": 0.0, **ALONE},
}
HALVES = {0: "personality half", 1: "emotion half"}
DIFFERENCES = [
    ("joint", "personality alone", "traits on the personality half"),
    ("joint", "personality alone", "traits on the emotion half"),
    ("joint", "emotion alone", "emotion on the emotion half"),
    ("joint", "emotion alone", "emotion on the personality half"),
    ("joint", "joint, no coherence", "traits on the emotion half"),
    ("joint", "joint, no coherence", "emotion on the personality half"),
]


def train_and_measure(job: tuple[int, float, str, argparse.Namespace]) -> dict[str, object]:
    """Train one variant on one draw, and measure it on new persons."""
    seed, shift, variant, options = job
    torch.set_num_threads(options.threads)
    train = make_affect_clips(options.persons, domain_shift=shift, aligned=True, random_state=seed)
    test = make_affect_clips(
        options.test_persons, domain_shift=shift, aligned=True, random_state=10_000 + seed
    )
    started = time.perf_counter()
    model = JointAffectEstimator(
        max_epochs=options.epochs, random_state=seed, **VARIANTS[variant]
    ).fit(train.data, train.target, groups=train.groups)
    row: dict[str, object] = {"seed": seed, "shift": shift, "variant": variant}
    row["seconds"] = time.perf_counter() - started
    predicted = model.predict(test.data)
    for domain, half in HALVES.items():
        rows = test.domain == domain
        truth = test.truth[rows]
        ccc = ccc_score(truth, predicted[rows], multioutput="raw_values")
        if variant != "emotion alone":
            row[f"traits on the {half}"] = ccc[:5].mean()
        if variant != "personality alone":
            row[f"emotion on the {half}"] = ccc[5:].mean()
        if model.net_.module_.ram is not None:
            ceiling = test.noise_ceiling.loc[half.split()[0], "ccc_from_emotion"].dropna().mean()
            for source, emotion in (
                ("its own EAM", predicted[rows][:, 5:]),
                ("the shown emotion", truth.iloc[:, 5:]),
            ):
                traits = model.predict_from_emotion(emotion)
                score = np.mean(ccc_score(truth.iloc[:, :5], traits, multioutput="raw_values"))
                row[f"RAM on the {half}, from {source}, of best achievable"] = score / ceiling
    return row


def interval(values: pd.Series) -> str:
    """Mean and half-width of its 95 % interval."""
    half_width = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{values.mean():.3f} ± {half_width:.3f}"


def report(results: pd.DataFrame) -> str:
    """Write the tables as Markdown."""
    measures = [c for c in results if c not in ("seed", "shift", "variant", "seconds")]
    parts = []
    for shift, rows in results.groupby("shift"):
        table = pd.DataFrame(
            {
                variant: {
                    m: "" if own[m].isna().any() else interval(own[m].astype(float))
                    for m in measures
                }
                for variant, own in rows.groupby("variant", sort=False)
            }
        )
        seconds = rows.groupby("variant", sort=False)["seconds"].mean()
        table.loc["seconds of training"] = [f"{seconds[v]:.0f}" for v in table]
        parts.append(f"### Domain shift {shift:g}: mean CCC\n\n{table.to_markdown()}\n")
        by_seed = rows.set_index(["variant", "seed"])
        lines = []
        for a, b, m in DIFFERENCES:
            if {a, b} <= set(rows.variant) and not by_seed.loc[b, m].isna().any():
                difference = (by_seed.loc[a, m] - by_seed.loc[b, m]).astype(float)
                lines.append(f"| {a} - {b} | {m} | {interval(difference)} |")
        head = "| paired difference | CCC of | mean ± 95 % |\n|---|---|---|\n"
        parts.append(head + "\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--persons", type=int, default=150, help="in each half, for training")
    parser.add_argument("--test-persons", type=int, default=150, help="in each half")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--shifts", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    options = parser.parse_args()
    jobs = [
        (seed, shift, variant, options)
        for shift, variant, seed in product(options.shifts, options.variants, range(options.seeds))
    ]
    context = multiprocessing.get_context("spawn")
    rows = []
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        for row in pool.map(train_and_measure, jobs):
            rows.append(row)
            print(
                {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True
            )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor()
    print(
        f"\n{options.seeds} seeds, {options.persons} persons in each half, {options.test_persons} "
        f"others for the test, {options.epochs} epochs; torch {torch.__version__}, {device}\n"
    )
    print(report(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
