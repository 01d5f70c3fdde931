"""Time the bundled model with each engine, and cross-validate its recipe in the fast path.

    python benchmarks/engines.py speed
    PERSONA_AFFECT_DATA=folder python benchmarks/engines.py folds

``speed`` predicts faces with torch and with each engine in alternating rounds of one run; ratios
are of medians, against the model as it was loaded. ``threads`` compares one caller and two, with an
engine of one thread or two. ``folds`` is the cross-validation of ``omi_cross_validation.py``: the
model of each fold learns from torch's embeddings over both mirror images, as the bundled model did,
and predicts the faces of the fold from the embeddings of an engine. ``--cache`` stores aligned
faces, ``--only`` leaves out the other engines.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import torch
from omi_cross_validation import (
    CEILING,
    CLEAN,
    EMOTION,
    PERSONALITY,
    Recipe,
    correlations,
    embed_views,
    hash_of,
    load_portraits,
    make_aligner,
    make_embedders,
    summarize,
    weigh,
)

from persona_affect import load_model
from persona_affect.engines import compile, get_report

SETTINGS = [
    ("torch", "float32"),
    ("torch", "bfloat16"),
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
]


def draw_faces(n):
    """Draw noise; the time does not depend on the pixels."""
    return np.random.default_rng(0).integers(0, 256, (n, 150, 150, 3), dtype=np.uint8)


def time_calls(calls, rounds):
    """Median milliseconds of each call, in alternating rounds."""
    seconds = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    # The first round compiles for the size of the batch.
    return {name: 1000 * float(np.median(own[1:])) for name, own in seconds.items()}


def compile_all(model, **options):
    found = {}
    for engine, precision in SETTINGS:
        for mirror in (True, False):
            start = time.perf_counter()
            compiled = compile(model, engine, precision, mirror=mirror, **options)
            name = f"{engine} {precision}, {'two views' if mirror else 'one view'}"
            print(
                f"{name}: compiled in {time.perf_counter() - start:.1f} s, differs by "
                f"{max(get_report(compiled).errors.values()):.1e}",
                flush=True,
            )
            found[name] = compiled
    return found


def speed(rounds):
    model = load_model()[1:]
    models = {"as loaded": model, **compile_all(model)}
    print(f"{torch.get_num_threads()} threads")
    table = {}
    for n in (1, 4, 16):
        faces = draw_faces(n)
        took = time_calls({k: partial(m.predict, faces) for k, m in models.items()}, rounds)
        for name, ms in took.items():
            row = table.setdefault(name, {})
            row[f"ms a face, {n}"], row[f"ratio, {n}"] = ms / n, took["as loaded"] / ms
    print(pd.DataFrame(table).T.round(2).to_string())


def threads(rounds):
    """Two callers with an engine of one thread each, or sharing one of two threads."""
    model, faces = load_model()[1:], draw_faces(1)
    shared = compile(model, "openvino", "float32", mirror=False, n_threads=2)
    single = compile(model, "openvino", "float32", mirror=False, n_threads=1)

    def calls(model, n_callers):
        def run():
            with ThreadPoolExecutor(n_callers) as pool:
                list(pool.map(lambda _: model.predict(faces), range(8)))

        return run

    took = time_calls(
        {
            "one caller, engine of two threads": calls(shared, 1),
            "two callers, engine of two threads": calls(shared, 2),
            "one caller, engine of one thread": calls(single, 1),
            "two callers, engine of one thread": calls(single, 2),
        },
        rounds,
    )
    for name, ms in took.items():
        print(f"{name}: {ms / 8:.1f} ms a face")


def folds(cache, only):
    photos, ratings = load_portraits()
    rated = ratings[PERSONALITY + EMOTION]
    faces = make_aligner().set_params(cache=cache).fit_transform(photos)
    parts = [part.fit(faces) for part in make_embedders()]
    recipe = Recipe(embed_views(photos), weigh(ratings))
    seen = {"torch float32, two views": recipe.views[CLEAN]}
    for engine, precision, mirror in [
        ("torch", "float32", False),
        ("openvino", "float32", False),
        ("openvino", "bfloat16", False),
        ("openvino", "bfloat16", True),
    ]:
        name = f"{engine} {precision}, {'two views' if mirror else 'one view'}"
        if only and name != only:
            continue
        fast = [compile(part, engine, precision, mirror=mirror) for part in parts]
        seen[name] = np.hstack([part.transform(faces) for part in fast])
    fold = hash_of(ratings.index) % 5
    predicted = {name: pd.DataFrame(np.nan, rated.index, rated.columns) for name in seen}
    for k in range(5):
        model = recipe.fit(np.flatnonzero(fold != k), rated[fold != k]).model_
        for name, X in seen.items():
            predicted[name][fold == k] = model.predict(X[fold == k])
    rows = {}
    for name, values in predicted.items():
        interval = summarize(rated, values).loc["mean"]
        rows[name] = dict(zip(CEILING, correlations(rated, values), strict=True)) | {
            "mean": interval["r"],
            "low": interval["low"],
            "high": interval["high"],
        }
    print(pd.DataFrame(rows).T.round(4).to_string())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["speed", "threads", "folds"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cache")
    parser.add_argument("--only", help="folds: one of its rows, such as 'torch float32, one view'")
    arguments = parser.parse_args()
    if arguments.part == "folds":
        folds(arguments.cache, arguments.only)
    else:
        {"speed": speed, "threads": threads}[arguments.part](arguments.rounds)


if __name__ == "__main__":
    main()
