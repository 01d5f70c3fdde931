"""Trainings that can be interrupted: their state is written to disk after each epoch."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor

from persona_affect._arrays import add_to_digest
from persona_affect._files import atomic_write
from persona_affect._mapping import read_array
from persona_affect._random import OwnRandomness
from persona_affect._ranks import check_equal, rank
from persona_affect.exceptions import ModelFormatError

from ._batches import LabelledClips


class Checkpoint(Callback):
    """Writes the state of a training after each epoch, and restores it at the start.

    The rest of the training is then the same as without an interruption: weights, optimiser,
    learning rate, patience, history and random generators continue from their saved states.

    Parameters
    ----------
    path : path-like
        File of the state. If it exists, the training resumes from it.
    fingerprint : str
        Identifies this training; see `fingerprint`.
    rng : numpy.random.RandomState
        Generator of the batches.
    randomness : OwnRandomness
        Generators of all that torch draws.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        fingerprint: str,
        rng: np.random.RandomState,
        randomness: OwnRandomness,
    ) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.rng = rng
        self.randomness = randomness

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Resume if the file exists; the other callbacks have begun already."""
        if Path(self.path).exists():
            self._restore(net, self._read())
        check_equal(f"The epochs in checkpoint={str(self.path)!r}", len(net.history))

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Write the state that the next epochs depend on; it is the same on all ranks."""
        if rank():
            return
        callbacks = dict(net.callbacks_)
        stop, schedule = callbacks.get("stop"), callbacks.get("schedule")
        name, keys, *rest = self.rng.get_state()
        state = {
            "fingerprint": self.fingerprint,
            "module": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "schedule": None if schedule is None else schedule.lr_scheduler_.state_dict(),
            "history": json.dumps(list(net.history), default=lambda scalar: scalar.item()),
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
        content = io.BytesIO()
        torch.save(state, content)
        # Python's own file names the system's error when the disk is full; torch's does not.
        with atomic_write(self.path) as draft:
            draft.write_bytes(content.getbuffer())

    def _read(self) -> dict[str, Any]:
        content = io.BytesIO(Path(self.path).read_bytes())
        try:
            # Only tensors, numbers and strings: no code is run.
            state = torch.load(content, map_location="cpu", weights_only=True)
        except (EOFError, OSError, RuntimeError, UnpicklingError, ValueError) as error:
            raise ModelFormatError(
                f"checkpoint={str(self.path)!r} is damaged, or not a checkpoint: {error}. Remove "
                "it to train from the start."
            ) from error
        if not isinstance(state, dict) or "fingerprint" not in state:
            raise ModelFormatError(f"checkpoint={str(self.path)!r} is not a checkpoint.")
        if state["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"checkpoint={str(self.path)!r} is of another training: parameters, data or "
                "initial weights differ. Name another file, or remove it; each fit needs its own."
            )
        return state

    def _restore(self, net: NeuralNet, state: dict[str, Any]) -> None:
        callbacks = dict(net.callbacks_)
        net.module_.load_state_dict(state["module"])
        if "schedule" in callbacks:
            callbacks["schedule"].lr_scheduler_.load_state_dict(state["schedule"])
        net.optimizer_.load_state_dict(state["optimizer"])
        net.history.extend(json.loads(state["history"]))
        for name, value in (state["stop"] or {}).items():
            setattr(callbacks["stop"], name, value)
        self.randomness.set_state(state["torch"])
        name, keys, *rest = state["numpy"]
        self.rng.set_state((name, keys.numpy().astype(np.uint32), *rest))


def fingerprint(
    parameters: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    parts: Iterable[LabelledClips | None],
) -> str:
    """Compute a checksum of everything that decides the result of a training.

    Parameters
    ----------
    parameters : mapping of str to object
        Parameters of the estimator that change the result.
    weights : mapping of str to torch.Tensor
        Initial weights of the network.
    parts : iterable of LabelledClips or None
        Training data and held-out data.

    Returns
    -------
    str
        A SHA-256 checksum, in hexadecimal digits.
    """
    sum_ = hashlib.sha256(repr(sorted(parameters.items())).encode())
    for tensor in weights.values():
        add_to_digest(sum_, tensor.cpu().numpy())
    for part in parts:
        if part is not None:
            for labels in part.labels.values():
                add_to_digest(sum_, labels)
            for clip in part.clips:
                add_to_digest(sum_, read_array(clip))
    return sum_.hexdigest()
