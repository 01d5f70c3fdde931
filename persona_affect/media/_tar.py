"""Members of tar archives: where they lie, and their bytes."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, Final

from ..exceptions import MediaLimitError, MediaReadError
from ._paths import check_packed_size, printable, reason, stamp

#: Bytes that may be read of an archive at once to find its members: longer names are no names.
_MAX_HEADER: Final = 2**20
#: Members of an archive; each takes about 200 bytes of memory.
_MAX_MEMBERS: Final = 2**20

_COMPRESSED: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


@dataclass(frozen=True)
class _TarIndex:
    """Where the members of a tar archive lie: first byte and size."""

    places: dict[str, tuple[int, int]]
    problems: list[tuple[str, str]]


class _Headers:
    """The file of an archive, of which only headers are read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError("a header is too long")
        return self._file.read(size)


@lru_cache(maxsize=16)
def index_tar(archive: str, size: int, time: int) -> _TarIndex:
    """Find the members of an archive; the size and time notice changes."""
    places: dict[str, tuple[int, int]] = {}
    problems: list[tuple[str, str]] = []
    try:
        with open(archive, "rb") as file:
            head = file.read(6)
            file.seek(0)
            for start, kind in _COMPRESSED.items():
                if head.startswith(start):
                    raise MediaReadError(
                        f"{printable(archive)} is compressed ({kind}), so that its members cannot "
                        "be read one by one: decompress it. Photos do not become smaller by it."
                    )
            headers: Any = _Headers(file)
            with tarfile.open(fileobj=headers, mode="r:") as tar:
                for path, problem in _read_members(tar, size, places):
                    problems.append((f"{archive}/{path}", problem))
    except (tarfile.TarError, ValueError, EOFError, OverflowError, OSError) as error:
        if isinstance(error, MediaReadError | MediaLimitError):
            raise
        if not places:
            raise MediaReadError(
                f"{printable(archive)} is no tar archive, or is damaged: {reason(error)}."
            ) from error
        problems.append((archive, f"it is damaged after {len(places)} members: {reason(error)}."))
    return _TarIndex(places, problems)


def _read_members(
    tar: Any, n_bytes: int, places: dict[str, tuple[int, int]]
) -> Iterator[tuple[str, str]]:
    """Fill `places`, and yield the members that cannot be used."""
    last = -1
    while (member := tar.next()) is not None:
        # Otherwise the archive's object keeps all members.
        tar.members = []
        if member.size < 0 or member.offset <= last:
            raise tarfile.ReadError("its members overlap")
        last = member.offset
        name = member.name.removeprefix("./")
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            yield name, "it is a link or another special member, which is not read."
        elif name.startswith("/") or ".." in name.split("/"):
            yield name, "its name points out of the archive."
        elif name in places:
            yield name, "the archive has another member of this name before it."
        elif member.offset_data + member.size > n_bytes:
            yield name, "the archive breaks off inside it."
        elif member.size == 0:
            yield name, "it is empty."
        else:
            places[name] = (member.offset_data, member.size)
        if len(places) > _MAX_MEMBERS:
            raise MediaLimitError(f"the archive has more than {_MAX_MEMBERS:,} members: split it.")


def read_member(archive: str, name: str, size: int | None) -> bytes:
    """Read a member of an archive, or its first `size` bytes."""
    index = index_tar(archive, *stamp(archive))
    if name not in index.places:
        problem = dict(index.problems).get(f"{archive}/{name}", "the archive has no such member.")
        raise MediaReadError(f"{printable(name)} in {printable(archive)}: {problem}")
    start, n_bytes = index.places[name]
    check_packed_size(n_bytes)
    wanted = n_bytes if size is None else min(size, n_bytes)
    try:
        with open(archive, "rb") as file:
            file.seek(start)
            content = file.read(wanted)
    except OSError as error:
        raise MediaReadError(f"the archive cannot be read: {reason(error)}.") from error
    if len(content) < wanted:
        raise MediaReadError(f"{printable(archive)} became shorter while it was read.")
    return content
