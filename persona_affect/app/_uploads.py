"""Files on disk: uploads until they are predicted, and results of clips for a limited time."""

import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from starlette.exceptions import HTTPException

from persona_affect.exceptions import MediaReadError

#: Smaller uploads count as this many bytes, so that their number is limited too.
SMALLEST = 2**16


@dataclass(frozen=True)
class _Upload:
    size: int
    arrived: float


class Uploads:
    """The files of all visitors, in one folder.

    Every upload has a name of its own that nobody can guess, and is used once.

    Parameters
    ----------
    folder : Path
        An existing folder.
    max_bytes : int
        Limit of all uploads that wait or arrive, and, separately, of all results of clips.
    seconds : float
        All files are deleted after this time.
    """

    def __init__(self, folder: Path, *, max_bytes: int, seconds: float) -> None:
        self.results = folder.resolve() / "results"
        self._waiting_folder = folder / "uploads"
        self.results.mkdir()
        self._waiting_folder.mkdir()
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._lock = threading.Lock()
        self._waiting: dict[str, _Upload] = {}
        #: Bytes of uploads that wait or arrive.
        self._held = 0

    def reserve(self, n_bytes: int) -> None:
        """Reserve space for arriving bytes.

        Raises
        ------
        starlette.exceptions.HTTPException
            503, if there is no space.
        """
        with self._lock:
            if self._held + n_bytes > self._max_bytes:
                raise HTTPException(503, "Too many uploads wait. Please try again later.")
            self._held += n_bytes

    def release(self, n_bytes: int) -> None:
        """Release reserved space."""
        with self._lock:
            self._held -= n_bytes

    def add(self, source: BinaryIO) -> Path:
        """Keep a file until it is used.

        Returns
        -------
        Path
            Its path, which only its visitor gets.
        """
        path = self._waiting_folder / secrets.token_hex(16)
        try:
            with path.open("wb") as file:
                shutil.copyfileobj(source, file, 2**20)
                size = max(file.tell(), SMALLEST)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        with self._lock:
            self._waiting[str(path)] = _Upload(size, time.monotonic())
            self._held += size
        return path

    def has(self, path: str) -> bool:
        """Return whether a file was uploaded and is not used yet."""
        with self._lock:
            return path in self._waiting

    @contextmanager
    def using(self, path: str) -> Iterator[Path]:
        """Use an upload; afterwards it is deleted.

        Raises
        ------
        MediaReadError
            If there is no such upload: it was used already, or has waited too long.
        """
        with self._lock:
            upload = self._waiting.pop(path, None)
            if upload is None:
                raise MediaReadError("it is no longer here. Please upload it again.")
            self._held -= upload.size
        try:
            yield Path(path)
        finally:
            _delete(Path(path))

    @contextmanager
    def making(self) -> Iterator[Path]:
        """Make a folder for results, which is deleted if an error occurs."""
        folder = self.results / secrets.token_hex(16)
        folder.mkdir()
        try:
            yield folder
        except BaseException:
            _delete(folder)
            raise

    def is_result(self, path: str) -> bool:
        """Return whether a file is a result of a clip, and still exists."""
        try:
            file = Path(path).resolve()
            return file.is_relative_to(self.results) and file.is_file()
        except (OSError, ValueError):
            return False

    def sweep(self) -> None:
        """Delete old files, and the oldest results if all are too large together."""
        now = time.monotonic()
        with self._lock:
            waiting = self._waiting.items()
            old = [path for path, upload in waiting if now - upload.arrived > self._seconds]
            for path in old:
                self._held -= self._waiting.pop(path).size
        for path in old:
            _delete(Path(path))
        room = self._max_bytes
        for changed, size, folder in sorted(map(_measure, self.results.iterdir()), reverse=True):
            room -= size
            if room < 0 or time.time() - changed > self._seconds:
                _delete(folder)


def _measure(folder: Path) -> tuple[float, int, Path]:
    """Return the time, the bytes and the path of a folder, which may be deleted meanwhile."""
    try:
        size = sum(file.stat().st_size for file in folder.iterdir())
        return folder.stat().st_mtime, size, folder
    except OSError:
        return 0.0, 0, folder


def _delete(path: Path) -> None:
    """Delete a file or folder; if that fails, others are still deleted."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
