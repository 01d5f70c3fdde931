"""Helpers of several packages for NumPy arrays and lists of names."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
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


def read_labels(y: Any, name: str = "y") -> NDArray[np.float64]:
    """Read labels as numbers, NaN where there is none.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_targets), Series or DataFrame
        Masked entries, None and pandas.NA count as missing.
    name : str
        Of `y` in messages.

    Returns
    -------
    ndarray of float64

    Raises
    ------
    ValueError
        If something is not a number: text, dates, complex numbers, records.
    """
    if isinstance(y, pd.DataFrame):
        columns = [read_labels(y.iloc[:, i], name) for i in range(y.shape[1])]
        return np.stack(columns, axis=1) if columns else np.empty(y.shape)
    if isinstance(y, list | tuple) and any(isinstance(row, np.ma.MaskedArray) for row in y):
        # Rows, or numbers of which some are numpy.ma.masked.
        y = np.array([np.ma.filled(np.ma.asarray(row, float), np.nan) for row in y])
    missing = np.ma.getmaskarray(y) if isinstance(y, np.ma.MaskedArray) else False
    try:
        values = np.asarray(y)
    except (TypeError, ValueError, RuntimeError) as error:
        # Rows of several lengths, tensors that record gradients.
        raise ValueError(f"{name}, a {type(y).__name__}, is no array: {error}") from error
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} is of {values.dtype}.")
    if values.ndim == 0 or values.dtype.kind not in "biufOUST":
        what = "not an array" if values.ndim == 0 else f"of {values.dtype}"
        raise ValueError(
            f"{name}, a {type(y).__name__}, is {what}: give an array or a DataFrame of numbers."
        )
    if values.dtype.kind == "O" or np.any(missing):
        values = np.where(missing | pd.isna(values), np.nan, values.astype(object))
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        at = next(at for at in np.ndindex(values.shape) if not _is_number(values[at]))
        label = repr(str(values[at])[:50])
        raise ValueError(
            f"{name} holds a label that is not a number, {label} (sample {at[0]}): "
            "targets are amounts, not classes. Give numbers, NaN where there is no label."
        ) from None


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True
