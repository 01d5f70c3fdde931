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
from distributed import Client, LocalCluster, get_task_stream
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
    parser.add_argument("--candidates", type=int, default=8, help="of HalvingRandomSearchCV")
    parser.add_argument("--workers", type=int, nargs="*", default=(1, 2), choices=(1, 2))
    parser.add_argument("--searches", nargs="*", help="only these")
    options = parser.parse_args()
    faces = make_affect_faces(options.persons, n_faces_per_person=2, aligned=True, random_state=0)
    X = faces.data[:, ::8, ::8].reshape(len(faces.data), -1).astype(np.float32)
    data = X, faces.target, faces.groups
    model = JointAffectEstimator(
        adapter_rank=8, max_epochs=options.epochs, random_state=0, device="cpu"
    )
    searches: dict[str, Any] = {
        "GridSearchCV": TimedGridSearch(
            model,
            {"lambda_emo": [0.3, 3.0], "lambda_coh": [0.05, 0.5], "lambda_ram": [0.2, 2.0]},
            scoring=SCORER,
            cv=AffectGroupKFold(3),
        ),
        "HalvingRandomSearchCV": TimedHalvingSearch(
            model,
            {name: loguniform(0.01, 10) for name in WEIGHTS},
            n_candidates=options.candidates,
            factor=2,
            resource="max_epochs",
            min_resources=max(1, options.epochs // 4),
            max_resources=options.epochs,
            scoring=SCORER,
            cv=AffectGroupKFold(3),
            random_state=0,
        ),
    }
    rows, places = [], []
    with (
        LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        start_workers(client, model, data)
        for name in options.searches or searches:
            for n_workers in options.workers:
                for _ in range(options.rounds):
                    measured = measure(client, n_workers, searches[name], data)
                    rows.append((name, n_workers, *measured[:3]))
                    places.append({"search": name, **measured[3]})
    columns = ["search", "workers", "fits", "wall", "bare"]
    print("| search | workers | fits | wall | sum of bare fits | ratio (each round) |")
    print("|---|---|---|---|---|---|")
    for key, part in pd.DataFrame(rows, columns=columns).groupby(columns[:3], sort=False):
        ratios = (part["wall"] * part["workers"] / part["bare"]).tolist()
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        wall, bare = part["wall"].median(), part["bare"].median()
        shown = f"{statistics.median(ratios):.2f} ({each})"
        print(f"| {key[0]} | {key[1]} | {key[2]} | {wall:.1f} s | {bare:.1f} s | {shown} |")
    print("Time of both workers, as a share of the bare fits:")
    print(pd.DataFrame(places).dropna().groupby("search", sort=False).median().round(3).T)


Fit = tuple[dict[str, Any], np.ndarray, np.ndarray]


def start_workers(client: Client, model: Any, data: tuple[Any, Any, Any]) -> None:
    """Import everything on each worker, and fit once, before anything is measured."""
    X, y, _ = data
    fit = (model.get_params(deep=False), np.arange(len(X)), np.arange(len(X)))
    client.gather(
        [
            client.submit(fit_bare, model, [fit], X, y, workers=[worker], pure=False)
            for worker in client.scheduler_info()["workers"]
        ]
    )


class _TimedRounds:
    """A search that keeps when each of its rounds began and ended."""

    def _run_search(
        self, evaluate_candidates: Callable[..., Any], callback_ctx: Any = None
    ) -> None:
        # Versions of scikit-learn before 1.9 do not know the context.
        options = {} if callback_ctx is None else {"callback_ctx": callback_ctx}
        self.rounds_: list[tuple[float, float]] = []

        def evaluate(*args: Any, **kwargs: Any) -> Any:
            started = time.time()
            results = evaluate_candidates(*args, **kwargs)
            self.rounds_.append((started, time.time()))
            return results

        super()._run_search(evaluate, **options)  # type: ignore[misc]


class TimedGridSearch(_TimedRounds, GridSearchCV):
    """With the times of its rounds."""


class TimedHalvingSearch(_TimedRounds, HalvingRandomSearchCV):
    """With the times of its rounds."""


def list_fits(fitted: Any, data: tuple[Any, Any, Any]) -> list[Fit]:
    """List the fits of a search: parameters, training samples, and validation samples (or none)."""
    X, y, groups = data
    folds = list(AffectGroupKFold(3).split(X, y, groups))
    fits = [(params, *fold) for params in fitted.cv_results_["params"] for fold in folds]
    return [*fits, (fitted.best_params_, np.arange(len(X)), np.arange(0))]


def measure(
    client: Client, n_workers: int, search: Any, data: tuple[Any, Any, Any]
) -> tuple[int, float, float, dict[str, float]]:
    """Return the number of fits, the seconds of the search and of its bare fits, and where they go.

    The last are shares of the bare fits, for two workers only.
    """
    X, y, groups = data
    search = clone(search)
    stream = get_task_stream(client)
    # Otherwise each round would send the data again.
    backend: dict[str, Any] = {"backend": "dask", "scatter": [X, y]}
    with stream, joblib.parallel_config(**backend if n_workers > 1 else {"backend": "sequential"}):
        started, used = time.perf_counter(), time.process_time()
        search.fit(X, y, groups=groups)
        wall, used = time.perf_counter() - started, time.process_time() - used
    model, fits = search.estimator, list_fits(search, data)
    if n_workers == 1:
        return len(fits), wall, fit_bare(model, fits, X, y), {}
    shared = client.scatter([X, y], broadcast=True)
    parts: list[Any] = []
    for i, worker in enumerate(client.scheduler_info()["workers"]):
        task: Callable[..., float] = fit_bare
        part = fits[i::n_workers]
        parts.append(client.submit(task, model, part, *shared, workers=[worker], pure=False))
    bare = sum(client.gather(parts))
    places = find_places(search, stream.data, n_workers, wall)
    places["processor time of client and scheduler"] = used - search.refit_time_
    return len(fits), wall, bare, {name: seconds / bare for name, seconds in places.items()}


def find_places(
    search: Any, tasks: Sequence[dict[str, Any]], n_workers: int, wall: float
) -> dict[str, float]:
    """Say where the seconds of the workers go; together they are `n_workers` times `wall`."""
    places = dict.fromkeys(["fits", "start of rounds", "end of rounds", "between tasks"], 0.0)
    for started, ended in search.rounds_:
        by_worker: dict[str, list[tuple[float, float]]] = {}
        for task in tasks:
            for part in task["startstops"]:
                if part["action"] == "compute" and started <= part["start"] <= ended:
                    by_worker.setdefault(task["worker"], []).append((part["start"], part["stop"]))
        for spans in by_worker.values():
            busy = sum(stop - start for start, stop in spans)
            first, last = min(spans)[0], max(stop for _, stop in spans)
            places["fits"] += busy
            places["start of rounds"] += first - started
            places["end of rounds"] += ended - last
            places["between tasks"] += last - first - busy
        # A worker without a task waits for the whole round.
        places["end of rounds"] += (n_workers - len(by_worker)) * (ended - started)
    in_rounds = sum(ended - started for started, ended in search.rounds_)
    return {
        **places,
        "fit of the best": search.refit_time_,
        "waiting for the fit of the best": (n_workers - 1) * search.refit_time_,
        "outside rounds": n_workers * (wall - in_rounds - search.refit_time_),
    }


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
