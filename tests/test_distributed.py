"""Long jobs in chunks; and, on a real cluster, the same search and the same embeddings."""

import errno
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from persona_affect import FaceAligner, FaceEmbedder, JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.distributed import align_in_chunks, transform_in_chunks
from persona_affect.exceptions import OutputError, OutputPathError
from persona_affect.metrics import SCORERS
from persona_affect.model_selection import AffectGroupKFold
from persona_affect.networks import make_backbone

X = np.arange(22.0).reshape(11, 2)


class Doubler(TransformerMixin, BaseEstimator):
    """Doubles numbers, logs what it was asked for, and fails at 12 as long as a file is there."""

    def __init__(self, log=None, broken=None, n_jobs=None):
        self.log = log
        self.broken = broken
        self.n_jobs = n_jobs

    def fit(self, X=None, y=None):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def transform(self, X):
        X = np.asarray(X)
        if self.broken is not None and self.broken.exists() and 12.0 in X:
            raise OSError("unplugged")
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{X[0, 0]:.0f} ")
        return 2 * X


#: A module that workers can import, which this one is not.
DEADLY = '''
import os, pathlib, signal
from sklearn.base import BaseEstimator, TransformerMixin

class Deadly(TransformerMixin, BaseEstimator):
    """Passes samples on; the first process that does so dies."""

    def __init__(self, flag):
        self.flag = flag

    def transform(self, X):
        try:
            pathlib.Path(self.flag).touch(exist_ok=False)
        except FileExistsError:
            return X
        os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.mark.parametrize("chunk_size", [1, 4, 11, 100])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_chunks_are_the_whole(tmp_path, chunk_size, n_jobs):
    with joblib.parallel_config("threading"):
        rows = transform_in_chunks(
            Doubler(), X, tmp_path / "new" / "folder", chunk_size=chunk_size, n_jobs=n_jobs
        )
    np.testing.assert_array_equal(rows, 2 * X, strict=True)


def test_resumes_where_it_failed(tmp_path):
    log, broken = tmp_path / "log", tmp_path / "broken"
    broken.touch()
    with pytest.raises(OSError, match="unplugged") as caught:
        transform_in_chunks(Doubler(log, broken), X, tmp_path / "chunks", chunk_size=2)
    assert caught.value.__notes__ == ["In the chunk of the samples 6 to 7."]
    assert log.read_text() == "0 4 8 "
    broken.unlink()
    rows = transform_in_chunks(Doubler(log, broken), X, tmp_path / "chunks", chunk_size=2)
    assert log.read_text() == "0 4 8 12 16 20 "
    np.testing.assert_array_equal(rows, 2 * X)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"X": X + 1}, "samples"),
        ({"X": X[:5]}, "n_samples"),
        ({"chunk_size": 3}, "chunk_size"),
        ({"transformer": Doubler(log=Path("log"))}, "transformer"),
    ],
    ids=["samples", "fewer", "size", "transformer"],
)
def test_chunks_of_another_call_are_not_mixed_in(tmp_path, arguments, what):
    call = {"transformer": Doubler(), "X": X, "chunk_size": 4}
    transform_in_chunks(**call, folder=tmp_path)
    with pytest.raises(ValueError, match=f"another call.*{what}"):
        transform_in_chunks(**{**call, **arguments}, folder=tmp_path)


def test_how_it_works_may_differ(tmp_path):
    transform_in_chunks(Doubler(), X, tmp_path)
    rows = transform_in_chunks(Doubler(n_jobs=2), X, tmp_path)
    np.testing.assert_array_equal(rows, 2 * X)


def test_a_full_disk_loses_no_chunk_that_was_written(tmp_path, monkeypatch):
    log, save, n_saved = tmp_path / "log", np.save, []

    def full_at_the_third(file, rows, **options):
        n_saved.append(len(rows))
        if len(n_saved) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(file, rows, **options)

    monkeypatch.setattr(np, "save", full_at_the_third)
    with pytest.raises(OutputError, match=r"000000004\.npy cannot be written: No space left"):
        transform_in_chunks(Doubler(log), X, tmp_path / "chunks", chunk_size=2)
    rows = transform_in_chunks(Doubler(log), X, tmp_path / "chunks", chunk_size=2)
    np.testing.assert_array_equal(rows, 2 * X)
    assert log.read_text() == "0 4 8 8 12 16 20 "
    assert not list((tmp_path / "chunks").glob(".*"))


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputPathError, match=r"file is a file: name a folder"):
        transform_in_chunks(Doubler(), X, tmp_path / "file" / "chunks")


@pytest.mark.parametrize("name", ["000000000.npy", "manifest.json"])
def test_what_is_damaged_is_named(tmp_path, name):
    transform_in_chunks(Doubler(), X, tmp_path)
    (tmp_path / name).write_bytes(b"7")
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        transform_in_chunks(Doubler(), X, tmp_path)


def test_face_clips_are_not_rows(tmp_path):
    photos = np.zeros((2, 64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="end with a FaceEmbedder"):
        transform_in_chunks(FaceAligner(), photos, tmp_path)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers, each a process, started from the command line."""
    distributed = pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("cluster")
    where = [
        *("--scheduler-file", str(folder / "scheduler.json")),
        *("--host", "127.0.0.1", "--no-dashboard"),
    ]
    commands = [
        ["scheduler", "--port", "0", *where],
        *[["worker", "--nthreads", "1", "--local-directory", str(folder), *where]] * 2,
    ]
    (folder / "deadly.py").write_text(DEADLY)
    threads = str(torch.get_num_threads())
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": path}
    processes = []
    try:
        for command in commands:
            with (folder / f"{len(processes)}.log").open("w") as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "dask", *command],
                        stdout=log,
                        stderr=log,
                        env=environment,
                    )
                )
            deadline = time.monotonic() + 120
            while not (folder / "scheduler.json").exists():
                assert time.monotonic() < deadline, (folder / "0.log").read_text()
                time.sleep(0.1)
        with distributed.Client(scheduler_file=str(folder / "scheduler.json")) as client:
            client.wait_for_workers(2, timeout=120)
            yield client, folder
    finally:
        for process in reversed(processes):
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:  # a worker that is being restarted may not hear it
                process.kill()
                process.wait()


@pytest.mark.slow
def test_a_search_on_a_cluster_equals_the_local_one(cluster):
    faces = make_affect_faces(20, n_faces_per_person=2, aligned=True, random_state=0)
    X = faces.data[:, ::8, ::8].reshape(len(faces.data), -1).astype(np.float32)
    search = GridSearchCV(
        JointAffectEstimator(adapter_rank=4, max_epochs=3, random_state=0, device="cpu"),
        {"lambda_coh": [0.0, 0.1], "lambda_ram": [0.1, 0.4]},
        cv=AffectGroupKFold(3),
        scoring=SCORERS["ccc"],
    )
    # A worker has one thread; with more, sums are taken in another order.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            local = search.fit(X, faces.target, groups=faces.groups).cv_results_
    finally:
        torch.set_num_threads(threads)
    with joblib.parallel_config("dask"):
        remote = search.fit(X, faces.target, groups=faces.groups).cv_results_
    for name in ("mean_test_score", "std_test_score", "rank_test_score"):
        np.testing.assert_array_equal(remote[name], local[name])


@pytest.mark.slow
def test_embedding_on_a_cluster_survives_a_killed_worker(cluster, tmp_path, monkeypatch):
    _, folder = cluster
    monkeypatch.syspath_prepend(folder)
    deadly = importlib.import_module("deadly")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(make_backbone("sphereface4").state_dict(), tmp_path / "weights.pt")
    photos = make_affect_faces(6, halves="personality", random_state=0).data
    embedder = FaceEmbedder("sphereface4", weights=tmp_path / "weights.pt", device="cpu")
    steps = FaceAligner(), embedder
    expected = make_pipeline(*steps).fit(photos).transform(photos)
    pipeline = make_pipeline(deadly.Deadly(tmp_path / "killed"), *steps)
    pipeline.named_steps["faceembedder"].fit(FaceAligner().transform(photos))
    with joblib.parallel_config("dask"):
        rows = transform_in_chunks(pipeline, photos, tmp_path / "chunks", chunk_size=2)
    assert (tmp_path / "killed").exists()
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_faces_aligned_on_a_cluster_are_the_same(cluster, tmp_path):
    client, _ = cluster
    photos = list(make_affect_faces(6, halves="personality", random_state=0).data)
    far = FaceAligner(cache=tmp_path / "far")
    report = align_in_chunks(far, photos, chunk_size=2, client=client)
    assert report.n_frames.tolist() == [1] * 6
    near = FaceAligner(cache=tmp_path / "near").transform(photos)
    assert all(np.array_equal(a, b) for a, b in zip(far.transform(photos), near, strict=True))
