"""Wall time of searches against the sum of bare fits, in one process and on two Dask workers.

    OMP_NUM_THREADS=1 python benchmarks/search.py

A bare fit is ``fit`` on a training fold and the score on its validation fold, without any search,
on the same workers, which all compute at the same time. The ratio is that of the wall time of the
search, times the number of workers, to the sum of its bare fits. The fit of the best candidate on
all data (``refit``) counts on both sides; one worker does it while the other waits.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import joblib
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV

from persona_affect import JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.metrics import SCORERS
from persona_affect.model_selection import AffectGroupKFold

WEIGHTS = ("lambda_emo", "lambda_coh", "lambda_ram")
SCORER = SCORERS["ccc"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--persons", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    faces = make_affect_faces(options.persons, n_faces_per_person=2, aligned=True, random_state=0)
    X = faces.data[:, ::8, ::8].reshape(len(faces.data), -1).astype(np.float32)
    data = X, faces.target, faces.groups
    model = JointAffectEstimator(
        adapter_rank=8, max_epochs=options.epochs, random_state=0, device="cpu"
    )
    searches: dict[str, Any] = {
        "GridSearchCV": GridSearchCV(
            model,
            {"lambda_emo": [0.3, 3.0], "lambda_coh": [0.05, 0.5], "lambda_ram": [0.2, 2.0]},
            scoring=SCORER,
            cv=AffectGroupKFold(3),
        ),
        "HalvingRandomSearchCV": HalvingRandomSearchCV(
            model,
            {name: loguniform(0.01, 10) for name in WEIGHTS},
            n_candidates=8,
            factor=2,
            resource="max_epochs",
            min_resources=max(1, options.epochs // 4),
            max_resources=options.epochs,
            scoring=SCORER,
            cv=AffectGroupKFold(3),
            random_state=0,
        ),
    }
    rows = []
    with (
        LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        for name, search in searches.items():
            fits = list_fits(search, data)
            for n_workers in (1, 2):
                # The first round starts the workers and is not counted.
                for i in range(options.rounds + 1):
                    wall, bare = measure(client, n_workers, search, fits, data)
                    if i:
                        rows.append((name, n_workers, len(fits), wall, bare))
    columns = ["search", "workers", "fits", "wall", "bare"]
    print("| search | workers | fits | wall | sum of bare fits | ratio (each round) |")
    print("|---|---|---|---|---|---|")
    for key, part in pd.DataFrame(rows, columns=columns).groupby(columns[:3], sort=False):
        ratios = (part["wall"] * part["workers"] / part["bare"]).tolist()
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        wall, bare = part["wall"].median(), part["bare"].median()
        shown = f"{statistics.median(ratios):.2f} ({each})"
        print(f"| {key[0]} | {key[1]} | {key[2]} | {wall:.1f} s | {bare:.1f} s | {shown} |")


Fit = tuple[dict[str, Any], np.ndarray, np.ndarray]


def list_fits(search: Any, data: tuple[Any, Any, Any]) -> list[Fit]:
    """List the fits of a search: parameters, training samples, and validation samples (or none)."""
    X, y, groups = data
    fitted = clone(search).fit(X, y, groups=groups)
    folds = list(AffectGroupKFold(3).split(X, y, groups))
    fits = [(params, *fold) for params in fitted.cv_results_["params"] for fold in folds]
    return [*fits, (fitted.best_params_, np.arange(len(X)), np.arange(0))]


def measure(
    client: Client, n_workers: int, search: Any, fits: Sequence[Fit], data: tuple[Any, Any, Any]
) -> tuple[float, float]:
    """Return the seconds of a search, and the sum of the seconds of its bare fits."""
    X, y, groups = data
    started = time.perf_counter()
    with joblib.parallel_config("dask" if n_workers > 1 else "sequential"):
        clone(search).fit(X, y, groups=groups)
    wall = time.perf_counter() - started
    model = search.estimator
    if n_workers == 1:
        return wall, fit_bare(model, fits, X, y)
    shared = client.scatter([X, y], broadcast=True)
    parts: list[Any] = []
    for i, worker in enumerate(client.scheduler_info()["workers"]):
        task: Callable[..., float] = fit_bare
        part = fits[i::n_workers]
        parts.append(client.submit(task, model, part, *shared, workers=[worker], pure=False))
    return wall, sum(client.gather(parts))


def fit_bare(model: Any, fits: Sequence[Fit], X: np.ndarray, y: pd.DataFrame) -> float:
    """Do fits one after the other, without a search, and return the seconds."""
    started = time.perf_counter()
    for params, train, test in fits:
        fitted = clone(model).set_params(**params).fit(X[train], y.iloc[train])
        if len(test):
            SCORER(fitted, X[test], y.iloc[test])
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
