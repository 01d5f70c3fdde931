"""A training on disk, which goes on where it was interrupted."""

import hashlib
import shutil
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from persona_affect._files import named_write_errors, open_locked
from persona_affect._ranks import check_equal, n_ranks, rank, wait_for_all
from persona_affect.exceptions import ModelFormatError
from persona_affect.faces import FaceAligner

from ._files import load_model, read_model_info, save_model

_NOTE: Final = "training"
#: Parameters that do not change the model.
_WORKING: Final = {"cache", "callbacks", "checkpoint", "device", "n_jobs", "n_workers", "verbose"}


def identify_training(
    estimator: BaseEstimator,
    aligner: FaceAligner,
    samples: NDArray[np.object_],
    y: pd.DataFrame | None = None,
) -> str:
    """Return a checksum of what decides a model, before any file of a sample is read.

    Parameters
    ----------
    estimator : estimator
        Not fitted.
    aligner : FaceAligner
        What aligns the faces.
    samples : ndarray of shape (n_samples,)
        Paths, or sequences of them.
    y : DataFrame of shape (n_samples, n_targets), optional
        Labels, if there are any.

    Returns
    -------
    str
        A SHA-256 checksum, in hexadecimal digits.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from persona_affect import FaceAligner, JointAffectEstimator
    >>> from persona_affect.persistence import identify_training
    >>> samples, y = np.array(["ann.jpg"], object), pd.DataFrame({"warm": [5.2]})
    >>> len(identify_training(JointAffectEstimator(), FaceAligner(), samples, y))
    64
    """
    total = hashlib.sha256()
    for part, working in ((estimator, _WORKING), (aligner, {*_WORKING, "batch_size"})):
        for name, value in sorted(part.get_params().items()):
            if name not in working:
                total.update(f"{name}={getattr(value, '__qualname__', repr(value))}\0".encode())
    for sample in samples:
        total.update(repr(getattr(sample, "paths", sample)).encode())
    if y is not None:
        total.update(y.to_csv().encode())
    return total.hexdigest()


def align_together(
    aligner: FaceAligner, samples: NDArray[np.object_], faces: str | PathLike[str]
) -> NDArray[np.object_]:
    """Align faces, each by one of the processes that train together.

    Parameters
    ----------
    aligner : FaceAligner
        Fitted.
    samples : ndarray of shape (n_samples,)
        As :meth:`FaceAligner.transform` takes them.
    faces : path-like
        Folder of the aligned faces, if there are several processes and `aligner` has no ``cache``.

    Returns
    -------
    ndarray of shape (n_samples,)
        Face clips, as :meth:`FaceAligner.transform` returns them.

    Examples
    --------
    >>> import tempfile
    >>> from persona_affect import FaceAligner
    >>> from persona_affect.datasets import make_affect_faces
    >>> from persona_affect.persistence import align_together
    >>> photos = make_affect_faces(1, random_state=0).data[:1]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     align_together(FaceAligner().fit(), photos, folder)[0].shape
    (1, 112, 96, 3)
    """
    if n_ranks() > 1:
        if aligner.cache is None:
            aligner = clone(aligner).set_params(cache=fspath(faces)).fit()
        aligner.transform(samples[rank() :: n_ranks()])
        wait_for_all()
    found: NDArray[np.object_] = aligner.transform(samples)
    return found


class TrainingRun:
    """A training whose state is beside its model file, until the model is there.

    Used as a context: ``with TrainingRun("m.safetensors", identity) as run:``. The checkpoint is
    ``m.safetensors.checkpoint``; ``m.safetensors.run`` says which training it is of, and keeps
    other runs from the same output. Both are removed when the model is saved.

    Parameters
    ----------
    output : path-like
        The model file.
    identity : str
        As `identify_training` returns it.
    fresh : bool, default=False
        Start again: an unfinished training of this output is discarded.

    Attributes
    ----------
    checkpoint : str
        For ``checkpoint=`` of the estimator.
    faces : str
        For `align_together`: a folder that is removed with the checkpoint.

    Raises
    ------
    OutputError
        On entering, if another run has the output.
    ValueError
        On entering, if an unfinished training of other data or settings is there.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from persona_affect.persistence import TrainingRun
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with TrainingRun(Path(folder, "m.safetensors"), identity="1") as run:
    ...         Path(run.checkpoint).name
    'm.safetensors.checkpoint'
    """

    def __init__(self, output: str | PathLike[str], identity: str, fresh: bool = False) -> None:
        self.output = Path(output)
        self.identity = identity
        self.fresh = fresh
        self.checkpoint = f"{fspath(output)}.checkpoint"
        self.faces = f"{fspath(output)}.faces"
        self._record = Path(f"{fspath(output)}.run")
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        check_equal("Data or options", self.identity)
        if rank() == 0:
            self._file = open_locked(self._record)
            try:
                self._claim(self._file)
            except BaseException:
                self._file.close()
                raise
        wait_for_all()
        return self

    def _claim(self, file: BinaryIO) -> None:
        if self.fresh:
            Path(self.checkpoint).unlink(missing_ok=True)
        file.seek(0)
        found = file.read().decode(errors="replace")
        if Path(self.checkpoint).exists() and found != self.identity:
            raise ValueError(
                f"{self.checkpoint} is of an unfinished training with other data or options. "
                "Repeat those to go on with it, start again with fresh=True (--fresh), or choose "
                "another output."
            )
        with named_write_errors(self._record):
            file.truncate(0)
            file.write(self.identity.encode())
            file.flush()

    def finished(self) -> Any:
        """Return the model if this training has ended before, else None.

        Returns
        -------
        estimator or None
            As :func:`load_model` returns it.
        """
        if self.fresh or not self.output.exists():
            return None
        try:
            notes = read_model_info(self.output)["notes"]
        except ModelFormatError:  # some other file, which will be replaced
            return None
        return load_model(self.output) if notes.get(_NOTE) == self.identity else None

    def save(self, model: Any, notes: Mapping[str, str]) -> None:
        """Write the model, and remove the state of the training; on rank 0 only.

        Parameters
        ----------
        model : estimator
            The fitted model.
        notes : mapping of str to str
            As for :func:`save_model`.
        """
        if rank() == 0:
            save_model(model, self.output, notes={**notes, _NOTE: self.identity})
            Path(self.checkpoint).unlink(missing_ok=True)
            self._record.unlink(missing_ok=True)
            shutil.rmtree(self.faces, ignore_errors=True)
        wait_for_all()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            if not Path(self.checkpoint).exists():
                self._record.unlink(missing_ok=True)
