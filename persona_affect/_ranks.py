"""The processes (ranks) that train together, as `torch.distributed` knows them."""

import atexit
import os
from datetime import timedelta
from typing import Any, Final

import numpy as np
import sklearn.utils
import torch
import torch.distributed as dist

#: How long a rank waits for the others. One may have more faces to align than another; if one ends,
#: its launcher ends the others at once.
_PATIENCE: Final = timedelta(days=1)


def join() -> None:
    """Join the processes that one launcher started, if there are several and none has joined."""
    if not dist.is_available() or dist.is_initialized():
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        own_gpu = int(os.environ.get("LOCAL_RANK", "0"))
        on_gpus = own_gpu < torch.cuda.device_count()
        if on_gpus:
            torch.cuda.set_device(own_gpu)
        dist.init_process_group("nccl" if on_gpus else "gloo", timeout=_PATIENCE)
        atexit.register(dist.destroy_process_group)


def n_ranks() -> int:
    """Return the number of processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process among them, from 0."""
    return dist.get_rank() if n_ranks() > 1 else 0


def check_random_state(seed: int | np.random.RandomState | None) -> np.random.RandomState:
    """Make a generator as scikit-learn does; on every rank in the state that it has on rank 0."""
    rng = sklearn.utils.check_random_state(seed)
    if n_ranks() > 1:
        states = [rng.get_state()]
        dist.broadcast_object_list(states)
        rng.set_state(states[0])
    return rng


def check_equal(what: str, value: Any) -> None:
    """Check that all ranks have the same value, such as a checksum of their data.

    Raises
    ------
    ValueError
        On every rank, if a value differs.
    """
    if n_ranks() > 1:
        values: list[Any] = [None] * n_ranks()
        dist.all_gather_object(values, value)
        if any(other != values[0] for other in values):
            raise ValueError(
                f"{what} differ between the processes that train together. Call fit with the same "
                "parameters and data in each."
            )


def wait_for_all() -> None:
    """Wait until every rank has come here."""
    if n_ranks() > 1:
        dist.barrier()
