"""Helpers of several packages for NumPy arrays and lists of names."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Digest(Protocol):
    """A checksum of :mod:`hashlib` that is being computed."""

    def update(self, data: Any, /) -> None:
        """Add bytes."""


def object_array(items: Sequence[Any]) -> NDArray[np.object_]:
    """Return a one-dimensional array of the items, also if they are arrays of one shape."""
    array = np.empty(len(items), dtype=object)
    # Element by element: NumPy would make arrays of one shape into further dimensions.
    for i, item in enumerate(items):
        array[i] = item
    return array


def add_to_digest(digest: Digest, array: NDArray[Any]) -> None:
    """Add the type, shape and content of an array to a checksum."""
    digest.update(f"{array.dtype} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)


def check_names(names: Any) -> list[str]:
    """Return `names` if it is a list of strings; otherwise raise a TypeError."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"{names!r} is not a list of names")
    return names
