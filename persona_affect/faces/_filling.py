"""Filling a face store from several processes or machines."""

import atexit
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ._aligner import FaceAligner
from ._caching import fill_store
from ._settings import FaceSettings
from ._store import FaceStore


class StoredFaces(NamedTuple):
    """What the store has of a sample.

    Attributes
    ----------
    n_frames : int
        Number of frames with a face.
    remarks : list of str
        What is wrong with it; empty if all is well.

    Examples
    --------
    >>> from persona_affect.faces import StoredFaces
    >>> StoredFaces(n_frames=0, remarks=["no face found"]).n_frames
    0
    """

    n_frames: int
    remarks: list[str]


def store_faces(aligner: FaceAligner, samples: Sequence[Any]) -> list[StoredFaces]:
    """Fill the store of ``FaceAligner(cache=...)``, without reading the faces from it.

    For long lists that several processes or machines work on: a process keeps its file in the store
    open from call to call, and does not align what others have stored meanwhile.

    Parameters
    ----------
    aligner : FaceAligner
        With a `cache`. Samples that cannot be used have a remark, whatever `on_error` says.
    samples : sequence
        As :meth:`FaceAligner.transform` takes them.

    Returns
    -------
    list of StoredFaces
        One for each sample.

    Raises
    ------
    FaceStoreError
        If the store cannot be written to; what was stored before is kept.
    ValueError
        If `aligner` has no `cache`.

    Examples
    --------
    >>> import tempfile
    >>> from persona_affect import FaceAligner
    >>> from persona_affect.datasets import make_affect_faces
    >>> from persona_affect.faces import store_faces
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     aligner = FaceAligner(cache=folder).fit()
    ...     store_faces(aligner, list(make_affect_faces(1, random_state=0).data[:1]))
    [StoredFaces(n_frames=1, remarks=[])]
    """
    if aligner.cache is None:
        raise ValueError("The aligner has no cache to fill: give it one, FaceAligner(cache=...).")
    settings = replace(aligner._settings(), on_error="warn")
    store = _open_store(os.path.abspath(aligner.cache), settings)
    store.refresh()
    keys, fresh = fill_store(store, settings, samples, aligner.n_jobs, aligner.verbose)
    return [
        StoredFaces(len(fresh[key].found), fresh[key].remarks)
        if key in fresh
        else StoredFaces(*store.describe(str(key)))
        for key in keys
    ]


#: The store that this process fills, by folder and settings; one at a time.
_open: dict[tuple[str, FaceSettings], FaceStore] = {}


def _open_store(folder: str, settings: FaceSettings) -> FaceStore:
    if (folder, settings) not in _open:
        _close_store()
        _open[folder, settings] = FaceStore(folder, settings.identity(), settings.size)
    return _open[folder, settings]


@atexit.register
def _close_store() -> None:
    while _open:
        _open.popitem()[1].close()
