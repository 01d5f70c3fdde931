"""Trainings that can be interrupted: their state is written to disk after each epoch."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from numbers import Integral
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor

from persona_affect._arrays import add_to_digest
from persona_affect._files import atomic_write, check_output
from persona_affect._random import OwnRandomness
from persona_affect._ranks import check_equal, rank
from persona_affect.exceptions import ModelFormatError


class StateFile:
    """The file with the state of a training, of which rank 0 writes and every rank reads.

    Parameters
    ----------
    path : path-like
    fingerprint : str
        Identifies this training; see `fingerprint`.
    """

    def __init__(self, path: str | PathLike[str], fingerprint: str) -> None:
        self.path = Path(path)
        self.fingerprint = fingerprint

    def write(self, state: Mapping[str, Any]) -> None:
        """Write tensors, numbers and strings; the file is always a complete one.

        Raises
        ------
        OutputError
            If it cannot be written; the state before is unchanged.
        """
        if rank():
            return
        content = io.BytesIO()
        torch.save({**state, "fingerprint": self.fingerprint}, content)
        # Python's own file names the system's error when the disk is full; torch's does not.
        with atomic_write(self.path) as draft:
            draft.write_bytes(content.getbuffer())

    def read(self) -> dict[str, Any] | None:
        """Return what was written, on the CPU; None if there is no file.

        Raises
        ------
        ModelFormatError
            If the file is damaged, or not a checkpoint.
        ValueError
            If it is of another training, or differs between the ranks.
        """
        state = self._load() if self.path.exists() else None
        check_equal(f"The epochs in {self}", len(state["history"]) if state else 0)
        return state

    def __str__(self) -> str:
        return f"checkpoint={str(self.path)!r}"

    def _load(self) -> dict[str, Any]:
        content = io.BytesIO(self.path.read_bytes())
        try:
            # Only tensors, numbers and strings: no code is run.
            state = torch.load(content, map_location="cpu", weights_only=True)
        except (EOFError, OSError, RuntimeError, UnpicklingError, ValueError) as error:
            raise ModelFormatError(
                f"{self} is damaged, or not a checkpoint: {error}. Remove it to train from the "
                "start."
            ) from error
        if not isinstance(state, dict) or "fingerprint" not in state:
            raise ModelFormatError(f"{self} is not a checkpoint.")
        if state["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"{self} is of another training: parameters, data or initial weights differ. Name "
                "another file, or remove it; each fit needs its own."
            )
        return state


class Checkpoint(Callback):
    """Writes the state of a training after each epoch, and restores it at the start.

    The rest of the training is then the same as without an interruption: weights, optimiser,
    learning rate, patience, history and random generators continue from their saved states.

    Parameters
    ----------
    file : StateFile
        If it exists, the training resumes from it.
    rng : numpy.random.RandomState
        Generator of the batches.
    randomness : OwnRandomness
        Generators of all that torch draws.
    """

    def __init__(
        self, file: StateFile, rng: np.random.RandomState, randomness: OwnRandomness
    ) -> None:
        self.file = file
        self.rng = rng
        self.randomness = randomness

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Resume if the file exists; the other callbacks have begun already."""
        state = self.file.read()
        if state is not None:
            self._restore(net, state)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Write the state that the next epochs depend on; it is the same on all ranks."""
        callbacks = dict(net.callbacks_)
        stop, schedule = callbacks.get("stop"), callbacks.get("schedule")
        name, keys, *rest = self.rng.get_state()
        state = {
            "module": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "schedule": None if schedule is None else schedule.lr_scheduler_.state_dict(),
            # By way of JSON: skorch's rows have a class of their own, and numbers of NumPy.
            "history": json.loads(
                json.dumps(list(net.history), default=lambda scalar: scalar.item())
            ),
            "stop": None
            if stop is None
            else {
                "misses_": stop.misses_,
                "dynamic_threshold_": float(stop.dynamic_threshold_),
                "best_epoch_": stop.best_epoch_,
                "best_model_weights_": stop.best_model_weights_,
            },
            "torch": self.randomness.get_state(),
            "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        }
        self.file.write(state)

    def _restore(self, net: NeuralNet, state: dict[str, Any]) -> None:
        callbacks = dict(net.callbacks_)
        net.module_.load_state_dict(state["module"])
        if "schedule" in callbacks:
            callbacks["schedule"].lr_scheduler_.load_state_dict(state["schedule"])
        net.optimizer_.load_state_dict(state["optimizer"])
        net.history.extend(state["history"])
        for name, value in (state["stop"] or {}).items():
            setattr(callbacks["stop"], name, value)
        self.randomness.set_state(state["torch"])
        name, keys, *rest = state["numpy"]
        self.rng.set_state((name, keys.numpy().astype(np.uint32), *rest))


def check_checkpoint(path: str | PathLike[str] | None, random_state: Any) -> None:
    """Check that a training can write a checkpoint, and resume from it.

    Raises
    ------
    ValueError
        If the seed is not a number.
    OutputPathError
        If the file cannot be written.
    """
    if path is None:
        return
    if not isinstance(random_state, Integral):
        raise ValueError(
            f"checkpoint= needs an integer random_state, not {random_state!r}: to resume, the same "
            "random numbers must be drawn again before the first epoch."
        )
    check_output(path)


def fingerprint(
    parameters: Mapping[str, Any], weights: Mapping[str, Tensor], data: Iterable[NDArray[Any]]
) -> str:
    """Compute a checksum of everything that decides the result of a training.

    Parameters
    ----------
    parameters : mapping of str to object
        Parameters of the estimator that change the result.
    weights : mapping of str to torch.Tensor
        Initial weights of the network.
    data : iterable of ndarray
        Training data and held-out data.

    Returns
    -------
    str
        A SHA-256 checksum, in hexadecimal digits.
    """
    sum_ = hashlib.sha256(repr(sorted(parameters.items())).encode())
    for tensor in weights.values():
        add_to_digest(sum_, tensor.cpu().numpy())
    for array in data:
        add_to_digest(sum_, array)
    return sum_.hexdigest()
