"""Long lists of photos and clips, transformed in chunks by many processes or machines.

Searches do not need this module: ``joblib.parallel_config("dask")`` distributes scikit-learn's own.
"""

import hashlib
import json
import os
import pickle
import random
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from persona_affect._arrays import Digest, add_to_digest
from persona_affect._files import atomic_write, check_output_folder
from persona_affect._progress import tqdm
from persona_affect.faces import FaceAligner, StoredFaces, store_faces
from persona_affect.media import describe

__all__ = ["align_in_chunks", "join_processes", "transform_in_chunks"]

#: Parameters that do not change the result.
_WORKING: Final = {"batch_size", "cache", "device", "memory", "n_jobs", "verbose"}

#: How often workers may die without one finishing a chunk.
_DEATHS: Final = 3


def transform_in_chunks(
    transformer: BaseEstimator,
    X: Sequence[Any],
    folder: str | PathLike[str],
    *,
    chunk_size: int = 64,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> NDArray[np.floating]:
    """Transform samples in chunks, and write each chunk to disk when it is done.

    After an interruption, call it again: it does the chunks that are missing. The backend is
    joblib's: processes on this machine, or a cluster with ``joblib.parallel_config("dask")``. If
    a worker of the cluster dies, another one does its chunk.

    Parameters
    ----------
    transformer : fitted transformer, of a class that workers can import
        Returns one row of numbers for each sample, such as
        ``make_pipeline(FaceAligner(), FaceEmbedder())``.
    X : sequence of samples
        Photos and clips as :class:`persona_affect.FaceAligner` takes them. Paths are best: workers
        open the files, and nothing else has to be sent.
    folder : path-like
        Folder for the chunks; it is created if it does not exist. All workers must reach it under
        this name. Make sure that nobody else can write there: workers unpickle the transformer
        from it.
    chunk_size : int, default=64
        Samples in a chunk: the most that is lost if a worker dies.
    n_jobs : int or None, default=None
        Workers, as in scikit-learn.
    verbose : int, default=0
        As in :class:`joblib.Parallel`; 10 reports each chunk.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Rows in the order of `X`.

    Raises
    ------
    ValueError
        If `folder` holds chunks of other samples, of another transformer or of another size, or
        damaged ones, or the transformer does not return one row for each sample.
    OutputError
        If nothing can be written to `folder`, or its disk is full. The chunks before are kept.

    Notes
    -----
    Errors and warnings of the transformer count samples within their chunk; a note on the
    exception says which chunk it is.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn.preprocessing import StandardScaler
    >>> from persona_affect.distributed import transform_in_chunks
    >>> X = np.arange(10.0).reshape(5, 2)
    >>> scaler = StandardScaler().fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = transform_in_chunks(scaler, X, folder, chunk_size=2)
    >>> np.array_equal(rows, scaler.transform(X))
    True
    """
    if chunk_size < 1 or not len(X):
        raise ValueError(f"chunk_size={chunk_size} and the {len(X)} samples must be 1 or more.")
    folder = check_output_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, _manifest(transformer, X, chunk_size))
    starts = range(0, len(X), chunk_size)
    chunks = {folder / f"{start:09d}.npy": slice(start, start + chunk_size) for start in starts}
    # The transformer may have 100 MB: it goes through the folder once, not with every chunk.
    # joblib's Dask backend could also send it once, but if a worker dies, the data is lost and the
    # call fails. The same happens with samples in an array; therefore they are sent as lists.
    stored, content = folder / "transformer.pickle", pickle.dumps(transformer)
    with atomic_write(stored) as draft:
        draft.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    Parallel(n_jobs=n_jobs, verbose=verbose)(
        delayed(_transform_chunk)(stored, digest, list(X[samples]), path, samples.start)
        for path, samples in chunks.items()
        if not path.exists()
    )
    return np.concatenate([_load_chunk(path) for path in chunks])


def align_in_chunks(
    aligner: FaceAligner,
    X: Sequence[Any],
    *,
    chunk_size: int = 16,
    n_jobs: int | None = None,
    client: Any = None,
    verbose: bool = False,
) -> pd.DataFrame:
    """Fill the store of ``FaceAligner(cache=...)`` with many processes or machines.

    Chunks are aligned in an order of chance, and what is stored already is skipped. So several
    machines may fill one folder at the same time, and after an interruption the same call does the
    rest. The stored pixels are the same, to the bit, whoever made them. If a worker dies, another
    one does its chunk.

    Parameters
    ----------
    aligner : FaceAligner
        With a `cache` that all workers can reach.
    X : sequence of samples
        As :meth:`persona_affect.FaceAligner.transform` takes them. Paths are best.
    chunk_size : int, default=16
        Samples that a worker takes at a time.
    n_jobs : int or None, default=None
        Processes on this machine, as in scikit-learn.
    client : distributed.Client, optional
        A Dask cluster to use instead.
    verbose : bool, default=False
        Show a progress bar with the rate and the time left.

    Returns
    -------
    DataFrame of n_samples rows
        ``sample`` (the path, or the kind), ``n_frames`` (frames with a face) and ``remark`` (why it
        could not be read, or what looks wrong). A sample of 0 frames and no remark has no face.

    Raises
    ------
    FaceStoreError
        If the store cannot be written to.
    RuntimeError
        If workers die again and again.
    ValueError
        If `chunk_size` is less than 1, or the aligner has no `cache`.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from persona_affect import FaceAligner
    >>> from persona_affect.distributed import align_in_chunks
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = align_in_chunks(FaceAligner(cache=folder), [np.zeros((90, 90, 3), np.uint8)])
    >>> report.n_frames.tolist()
    [0]
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size={chunk_size} must be 1 or more.")
    working = clone(aligner).set_params(n_jobs=None, verbose=False).fit()
    starts = list(range(0, len(X), chunk_size))
    random.shuffle(starts)
    rows: list[StoredFaces | None] = [None] * len(X)
    chunks = [(start, list(X[start : start + chunk_size])) for start in starts]
    run = _run_on_cluster(client) if client is not None else _run_here(n_jobs)
    with tqdm(total=len(X), desc="aligning", unit=" samples", disable=not verbose) as bar:
        for start, found in run(partial(_align_chunk, working), chunks):
            rows[start : start + len(found)] = found
            bar.update(len(found))
    stored = [row for row in rows if row is not None]
    return pd.DataFrame(
        {
            "sample": [describe(sample) for sample in X],
            "n_frames": [row.n_frames for row in stored],
            "remark": [" ".join(row.remarks) for row in stored],
        }
    )


_Chunk: TypeAlias = tuple[int, list[Any]]
_Aligned: TypeAlias = tuple[int, list[StoredFaces]]
_Run: TypeAlias = Callable[[Callable[[_Chunk], _Aligned], list[_Chunk]], Iterator[_Aligned]]


def _align_chunk(aligner: FaceAligner, chunk: _Chunk) -> _Aligned:
    start, samples = chunk
    return start, store_faces(aligner, samples)


def _run_here(n_jobs: int | None) -> _Run:
    """Run chunks in processes of this machine; if one dies, start others for what is left."""

    def run(work: Callable[[_Chunk], _Aligned], chunks: list[_Chunk]) -> Iterator[_Aligned]:
        left = dict(chunks)
        deaths = 0
        while left:
            results = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
                delayed(work)(chunk) for chunk in list(left.items())
            )
            try:
                for start, found in results:
                    deaths = 0
                    yield start, found
                    del left[start]
            except TerminatedWorkerError as error:
                deaths += 1
                if deaths == _DEATHS:
                    raise RuntimeError(
                        f"Workers died {_DEATHS} times without finishing a chunk; {len(left)} are "
                        "left. The memory may be too small for so many: lower n_jobs."
                    ) from error

    return run


def _run_on_cluster(client: Any) -> _Run:
    """Run chunks on a Dask cluster, which does the chunk of a dead worker again."""

    def run(work: Callable[[_Chunk], _Aligned], chunks: list[_Chunk]) -> Iterator[_Aligned]:
        from distributed import as_completed

        futures = client.map(work, chunks, pure=False)
        try:
            for _, result in as_completed(futures, with_results=True):
                yield result
        finally:
            client.cancel(futures)

    return run


def join_processes() -> int:
    """Make the processes that one launcher started train together.

    Call it at the start of a script, and run the script with ``torchrun --nproc-per-node N`` or
    ``accelerate launch``. :class:`persona_affect.JointAffectEstimator` then shares each batch out:
    ``batch_size`` is that of all processes together, and the model is that of one process. Only the
    first process (rank 0) writes checkpoints and shows progress. Processes use NCCL where each has
    a GPU, else Gloo. Without a launcher, or after
    :func:`torch.distributed.init_process_group`, nothing is done.

    Returns
    -------
    int
        The number of this process, from 0. Let only 0 write files.

    Raises
    ------
    RuntimeError
        If the other processes cannot be reached.

    Notes
    -----
    Processes that a search starts by itself (``n_jobs=``) do not join: they fit alone.

    Examples
    --------
    >>> from persona_affect.distributed import join_processes
    >>> join_processes()
    0
    """
    from persona_affect import _ranks

    _ranks.join()
    return _ranks.rank()


def _transform_chunk(stored: Path, digest: str, samples: list[Any], path: Path, start: int) -> None:
    transformer = _load(stored, digest)
    try:
        # A chunk is one task: jobs inside it could wait for workers that all wait for their jobs.
        with parallel_config("sequential"):
            rows = np.asarray(transformer.transform(samples))
        if rows.ndim != 2 or len(rows) != len(samples) or rows.dtype == object:
            raise ValueError(
                f"{type(transformer).__name__} returned {rows.dtype} of shape {rows.shape} for "
                f"{len(samples)} samples, not one row of numbers for each; end with a FaceEmbedder."
            )
    except Exception as error:
        error.add_note(f"In the chunk of the samples {start} to {start + len(samples) - 1}.")
        raise
    with atomic_write(path) as draft, draft.open("wb") as file:
        np.save(file, rows, allow_pickle=False)


def _load_chunk(path: Path) -> NDArray[np.floating]:
    try:
        rows: NDArray[np.floating] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): remove it, and the same call makes it again."
        ) from error
    return rows


@lru_cache(maxsize=1)
def _load(stored: Path, digest: str) -> BaseEstimator:
    """Unpickle what this call of `transform_in_chunks` stored, once in each process."""
    content = stored.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(
            f"{stored} was changed by another call; use one folder for one call at a time."
        )
    return pickle.loads(content)


def _claim(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of the chunks, or check that the folder has the same one."""
    path = folder / "manifest.json"
    if not path.exists():
        with atomic_write(path) as draft:
            draft.write_text(json.dumps(manifest, indent=1))
        return
    try:
        found = dict(json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: name another folder, or remove it.") from error
    differing = [name for name in manifest if found.get(name) != manifest[name]]
    if differing:
        raise ValueError(
            f"{folder} holds chunks of another call: {', '.join(differing)} differ. Name another "
            "folder, or remove it."
        )


def _manifest(transformer: BaseEstimator, X: Sequence[Any], chunk_size: int) -> dict[str, Any]:
    samples = hashlib.sha256()
    for sample in X:
        _add_sample(samples, sample)
    return {
        "samples": samples.hexdigest(),
        "n_samples": len(X),
        "chunk_size": chunk_size,
        "transformer": _settings(transformer),
    }


def _add_sample(digest: Digest, sample: Any) -> None:
    """Add what identifies a sample: the name of a path, the content of everything else."""
    if isinstance(sample, str | os.PathLike):
        digest.update(b"path " + os.fsencode(sample) + b"\0")
    elif isinstance(sample, bytes):
        digest.update(b"%d bytes " % len(sample) + sample)
    else:
        add_to_digest(digest, np.asarray(sample))


def _settings(transformer: BaseEstimator) -> dict[str, str]:
    """Describe a transformer by its class and the parameters that change its result."""
    settings = {"": type(transformer).__qualname__}
    for name, value in transformer.get_params(deep=True).items():
        if name.rpartition("__")[2] in _WORKING or name == "steps":
            continue
        is_object = hasattr(value, "get_params") or callable(value)
        # The repr of these is truncated, or contains an address.
        settings[name] = (
            getattr(value, "__qualname__", type(value).__qualname__) if is_object else repr(value)
        )
    return settings
