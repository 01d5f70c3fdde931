"""Search the weights of the joint loss with the workers of a Dask cluster.

    python examples/search_on_a_cluster.py    # two workers here
    python examples/search_on_a_cluster.py --scheduler-file /shared/scheduler.json --folder /shared

It needs no data: 240 faces are rendered. Each is aligned and embedded once, by all workers in
chunks, into a folder that all machines can read: the searches then train heads only. They need the
extras ``distributed`` and ``pretrained``. Two of scikit-learn's searches follow: one gives most
candidates few samples, the other few epochs.
"""

import argparse
import tempfile
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter

import joblib
import numpy as np
from distributed import Client, LocalCluster
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import loguniform
from sklearn.base import TransformerMixin
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingRandomSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import Bunch

from persona_affect import FaceAligner, FaceEmbedder, JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.distributed import transform_in_chunks
from persona_affect.metrics import SCORERS
from persona_affect.model_selection import AffectGroupKFold

WEIGHTS = {
    "lambda_emo": loguniform(0.1, 10),
    "lambda_coh": loguniform(0.005, 5),
    "lambda_ram": loguniform(0.02, 20),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--scheduler-file", help="of a cluster; default: two workers here")
    parser.add_argument("--folder", help="that all workers can write to, for faces and embeddings")
    options = parser.parse_args()
    place = nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory()
    with place as folder, start_client(options.scheduler_file) as client:
        print(f"{len(client.scheduler_info()['workers'])} workers")
        faces = make_affect_faces(n_persons=60, n_faces_per_person=2, random_state=0)
        front = make_pipeline(
            FaceAligner(template="resnet29", min_face_size=40, cache=Path(folder) / "faces"),
            FaceEmbedder(backbone_params={"levels": "pooled"}),
        )
        started = perf_counter()
        embeddings = embed(front, faces.data, Path(folder))
        print(f"{len(embeddings)} faces embedded in {perf_counter() - started:.0f} s")
        for resource in ("n_samples", "max_epochs"):
            started = perf_counter()
            search = search_weights(embeddings, faces, resource)
            best = {name: round(float(value), 3) for name, value in search.best_params_.items()}
            print(
                f"{resource} {search.n_resources_}, candidates {search.n_candidates_}: best CCC "
                f"{search.best_score_:.3f} with {best}, in {perf_counter() - started:.0f} s"
            )


def start_client(scheduler_file: str | None) -> Client:
    """Connect to a cluster; without one, start two workers on this machine."""
    if scheduler_file is not None:
        return Client(scheduler_file=scheduler_file)
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    return Client(cluster)


def embed(front: TransformerMixin, photos: NDArray[np.uint8], folder: Path) -> NDArray[np.floating]:
    """Embed photos on all workers, by way of files, which all machines can read."""
    paths = [folder / f"{i:06d}.png" for i in range(len(photos))]
    for path, photo in zip(paths, photos, strict=True):
        Image.fromarray(photo).save(path)
    with joblib.parallel_config("dask"):
        return transform_in_chunks(front.fit(paths[:1]), paths, folder / "chunks", chunk_size=16)


def search_weights(
    embeddings: NDArray[np.floating], faces: Bunch, resource: str, n_candidates: int = 9
) -> HalvingRandomSearchCV:
    """Search on all workers, with little of `resource` for most candidates."""
    # Only the adapter can change the features; without it, coherence would have no effect.
    model = JointAffectEstimator(adapter_rank=8, max_epochs=9, random_state=0)
    limits = {
        "n_samples": {"min_resources": len(embeddings) // 3, "max_resources": len(embeddings)},
        "max_epochs": {"min_resources": 3, "max_resources": 9},
    }
    search = HalvingRandomSearchCV(
        model,
        WEIGHTS,
        n_candidates=n_candidates,
        resource=resource,
        **limits[resource],
        scoring=SCORERS["ccc"],
        # Persons stay in one fold, and both kinds of label are in every fold.
        cv=AffectGroupKFold(3),
        random_state=0,
    )
    # Sent to the workers once; otherwise each round of the search would send them again.
    with joblib.parallel_config("dask", scatter=[embeddings, faces.target]):
        return search.fit(embeddings, faces.target, groups=faces.groups)


if __name__ == "__main__":
    main()
