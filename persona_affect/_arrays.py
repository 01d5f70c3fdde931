"""What several packages do with NumPy arrays."""

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
