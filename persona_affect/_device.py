"""Where networks compute: one policy for every part of the package."""

import copy
import os
import threading
import weakref
from typing import TypeVar

import torch
from torch import nn

from ._warnings import warn_user

Network = TypeVar("Network", bound=nn.Module)

_copies: "weakref.WeakKeyDictionary[nn.Module, dict[str, nn.Module]]" = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def _start_as_a_child() -> None:
    """Make torch usable in a process that was forked from one that used it."""
    global _lock
    # A fork copies no threads but the caller's. Torch's pool would still wait for those that the
    # parent had; with one thread it uses no pool. Nor would anyone release a lock held by another.
    torch.set_num_threads(1)
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_start_as_a_child)


def resolve_device(device: str) -> str:
    """Turn ``"auto"`` into a GPU if there is one, else the CPU, and check any other name.

    Parameters
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, ...

    Returns
    -------
    str
        A name that torch takes.

    Raises
    ------
    ValueError
        If torch does not know the device, or this machine does not have it.
    """
    if device == "auto":
        return _own_gpu() if torch.cuda.is_available() else "cpu"
    try:
        asked = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f'device={device!r} is no device: give "auto", "cpu" or "cuda".'
        ) from error
    if asked.type == "cpu":
        return device
    if asked.type == "cuda" and (asked.index or 0) < torch.cuda.device_count():
        return device
    if asked.type == "mps" and torch.backends.mps.is_available():
        return device
    raise ValueError(f'device={device!r} is not on this machine: give "auto" or "cpu".')


def _own_gpu() -> str:
    """Return the GPU of this process: its own, where several processes train together."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if together else "cuda"


def resolve_loaded_device(device: str) -> str:
    """Return the device of a model that may come from another machine, or the CPU if it lacks here.

    Returns
    -------
    str
        `device` itself, also ``"auto"``, or ``"cpu"``.

    Warns
    -----
    UserWarning
        If the device is not on this machine.
    """
    try:
        resolve_device(device)
    except ValueError:
        warn_user(
            f"The model was fitted with device={device!r}, which is not here; it predicts on the "
            "CPU.",
            UserWarning,
        )
        return "cpu"
    return device


def network_on(network: Network, device: str) -> Network:
    """Return the network itself if it is on `device`, else a copy there that is made once.

    A fitted network is never moved: several threads may predict with it at the same time.

    Parameters
    ----------
    network : torch.nn.Module
        With at least one parameter or buffer.
    device : str
        As of `resolve_device`.

    Returns
    -------
    torch.nn.Module
        To be read, not trained.
    """
    wanted = torch.device(device)
    home = next(network.parameters(), next(network.buffers(), None))
    if home is None or home.device == wanted:
        return network
    with _lock:
        copies = _copies.setdefault(network, {})
        if device not in copies:
            copies[device] = copy.deepcopy(network).to(wanted)
        found: Network = copies[device]  # type: ignore[assignment]
    return found
