"""Reading ratings from Python-2 pickles without unpickling.

A pickle is a program, and `pickle.load` runs it. Ratings need only a few instructions: strings,
numbers, dictionaries, and the way in which numpy stores a float. This reader knows only these, and
executes them itself: a file cannot make it import, look up or call anything.
"""

import pickle
import struct
import warnings
from collections.abc import Callable, Mapping
from itertools import chain, repeat
from os import PathLike
from pathlib import Path
from pickletools import genops
from typing import Any, Final

from persona_affect.exceptions import DatasetFormatError, UnsafePickleError

#: Several times as much as the published files have: one megabyte, 400,000 instructions, of which
#: 180,000 store a value for later, 2,000 values on the stack, and no tuple in a tuple.
_MAX_BYTES: Final = 2**24
_MAX_INSTRUCTIONS: Final = 4_000_000
_MAX_STORED: Final = 1_000_000
_MAX_STACK: Final = 100_000
_MAX_NESTED: Final = 500_000

_IGNORED: Final = {"PROTO", "FRAME"}
_VALUES: Final = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_MARK: Final = object()


def read_ratings(path: str | PathLike[str]) -> dict[str, dict[str, float]]:
    """Read a pickled dictionary of ratings, ``{trait: {clip: rating}}``.

    Parameters
    ----------
    path : path-like
        A pickle of any protocol, as Python 2 or 3 writes it.

    Returns
    -------
    dict of str to dict of str to float

    Raises
    ------
    UnsafePickleError
        If the file contains anything other than plain data. Nothing in it was run.
    DatasetFormatError
        If the file is missing, damaged, or holds something else.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DatasetFormatError(f"{path} has more than {_MAX_BYTES:,} bytes: no annotation.")
        content = path.read_bytes()
        with warnings.catch_warnings():
            # Damaged text may have escapes that future versions of Python refuse.
            warnings.simplefilter("ignore", DeprecationWarning)
            return _check(_Reader().read(content), path)
    except UnsafePickleError as error:
        raise UnsafePickleError(
            f"{path}: {error} It was refused, and nothing in it was run. Get the file from the "
            "data set's authors again."
        ) from None
    except DatasetFormatError:
        raise
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, struct.error) as error:
        raise DatasetFormatError(f"{path} is no readable pickle: {error}.") from error


def _check(ratings: Any, path: Path) -> dict[str, dict[str, float]]:
    if not isinstance(ratings, dict) or not ratings:
        raise DatasetFormatError(f"{path} holds no dictionary of traits.")
    checked: dict[str, dict[str, float]] = {}
    for trait, values in ratings.items():
        if not isinstance(values, dict):
            raise DatasetFormatError(f"{path}: {trait!r} is no dictionary of clips.")
        for clip, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                what = type(value).__name__
                raise DatasetFormatError(f"{path}: {trait!r} of {clip!r} is {what}, no number.")
        checked[trait] = {clip: float(value) for clip, value in values.items()}
    return checked


class _Dtype:
    """Replaces ``numpy.dtype``: how the bytes of one number are read."""

    def __init__(self, kind: Any, *_: Any) -> None:
        kinds = {"f8": "d", "f4": "f", "i8": "q", "i4": "i"}
        if not isinstance(kind, str) or kind not in kinds:
            raise UnsafePickleError("it holds numbers of an unknown type.")
        self.format, self.order = kinds[kind], "<"

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ["<", ">", "=", "|"]:
            raise ValueError("a number of unknown byte order")
        self.order = ">" if state[1] == ">" else "<"


def _scalar(dtype: Any, content: Any) -> float:
    if not isinstance(dtype, _Dtype):
        raise ValueError("a number without a type")
    content = content.encode("latin1") if isinstance(content, str) else content
    value: float = struct.unpack(dtype.order + dtype.format, content)[0]
    return value


def _encode(text: str, encoding: str) -> str:
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("text in an unknown encoding")
    return text


#: All names that a file may use, and what is called instead.
_GLOBALS: Final[dict[str, Callable[..., Any]]] = {
    "numpy dtype": _Dtype,
    "numpy.core.multiarray scalar": _scalar,
    "numpy._core.multiarray scalar": _scalar,
    "_codecs encode": _encode,
}


class _Reader:
    """Executes the instructions of a pickle that build plain data."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.n_nested = 0

    def read(self, content: bytes) -> Any:
        for place, (code, argument, _) in enumerate(genops(content)):
            if code.name == "STOP":
                return self.stack.pop()
            self._step(code.name, argument)
            if (
                place >= _MAX_INSTRUCTIONS
                or len(self.stack) > _MAX_STACK
                or len(self.memo) > _MAX_STORED
                or self.n_nested > _MAX_NESTED
            ):
                raise ValueError("it is longer, or nested deeper, than ratings can be")
        raise ValueError("it breaks off")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _IGNORED:
            return
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "DICT":
            items = self._pop_to_mark()
            stack.append({})
            self._set_items(items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            self._set_items([key, value])
        elif name == "SETITEMS":
            self._set_items(self._pop_to_mark())
        elif name == "TUPLE":
            self._push_tuple(self._pop_to_mark())
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            self._push_tuple([stack.pop() for _ in range(int(name[-1]))][::-1])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "GLOBAL":
            stack.append(_find(argument))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            if not isinstance(module, str) or not isinstance(attribute, str):
                raise ValueError("a name that is no string")
            stack.append(_find(f"{module} {attribute}"))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            # All callables on the stack come from `_find`.
            if not callable(function):
                raise ValueError("a call of something that is no function")
            stack.append(function(*arguments))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], _Dtype):
                raise ValueError("a state for something that has none")
            stack[-1].set_state(state)
        else:
            raise UnsafePickleError(f"it uses the instruction {name}, which ratings do not need.")

    def _push_tuple(self, items: list[Any]) -> None:
        self.n_nested += any(isinstance(item, tuple) for item in items)
        self.stack.append(tuple(items))

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("entries without a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Other keys could be slow to hash.
            if not isinstance(key, str):
                raise ValueError(f"a key that is no name: {type(key).__name__}")
            target[key] = value


def _find(name: str) -> Callable[..., Any]:
    if name not in _GLOBALS:
        raise UnsafePickleError(f"it asks for {name.replace(' ', '.')!r}, which is not data.")
    return _GLOBALS[name]


def dump_as_python2(ratings: Mapping[str, Mapping[str, float]]) -> bytes:
    """Pickle ratings as Python 2 and its numpy did: protocol 2, byte strings, numpy scalars.

    Parameters
    ----------
    ratings : mapping of str to mapping of str to float
        Names of fewer than 256 characters.

    Returns
    -------
    bytes
    """

    def text(value: bytes) -> bytes:
        return pickle.SHORT_BINSTRING + bytes([len(value)]) + value

    def small(value: int) -> bytes:
        return pickle.BININT + struct.pack("<i", value)

    dtype = b"".join(
        [
            *(pickle.GLOBAL, b"numpy\ndtype\n", text(b"f8"), small(0), small(1)),
            *(pickle.TUPLE3, pickle.REDUCE),
            *(pickle.MARK, small(3), text(b"<"), pickle.NONE * 3, small(-1) * 2, small(0)),
            *(pickle.TUPLE, pickle.BUILD, pickle.BINPUT, b"\0"),
        ]
    )
    # The type is made once, and stored at index 0 of the memo.
    types = chain([dtype], repeat(pickle.BINGET + b"\0"))

    def number(value: float) -> bytes:
        scalar = pickle.GLOBAL + b"numpy.core.multiarray\nscalar\n"
        content = text(struct.pack("<d", value))
        return scalar + next(types) + content + pickle.TUPLE2 + pickle.REDUCE

    parts = [pickle.PROTO, b"\2", pickle.EMPTY_DICT, pickle.MARK]
    for trait, values in ratings.items():
        parts += [text(trait.encode("latin1")), pickle.EMPTY_DICT, pickle.MARK]
        for clip, value in values.items():
            parts += [text(clip.encode("latin1")), number(value)]
        parts.append(pickle.SETITEMS)
    return b"".join([*parts, pickle.SETITEMS, pickle.STOP])
