"""What lies on disk: uploads until they are predicted, and what was made of clips for a while."""

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

#: Bytes that the smallest upload counts as, so that their number has a limit too.
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
        A folder that is there.
    max_bytes : int
        Of uploads that wait or arrive; and, apart from these, of what was made of clips.
    seconds : float
        After which all files are deleted.
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
        #: Bytes that wait or arrive.
        self._held = 0

    def reserve(self, n_bytes: int) -> None:
        """Make room for bytes that arrive.

        Raises
        ------
        starlette.exceptions.HTTPException
            503, if there is none.
        """
        with self._lock:
            if self._held + n_bytes > self._max_bytes:
                raise HTTPException(503, "Too many uploads wait. Please try again later.")
            self._held += n_bytes

    def release(self, n_bytes: int) -> None:
        """Give room back."""
        with self._lock:
            self._held -= n_bytes

    def add(self, source: BinaryIO) -> Path:
        """Keep a file until it is used.

        Returns
        -------
        Path
            Its place, which only its visitor is told.
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
        """Say whether a file was uploaded and not used yet."""
        with self._lock:
            return path in self._waiting

    @contextmanager
    def using(self, path: str) -> Iterator[Path]:
        """Use an upload; afterwards it is deleted.

        Raises
        ------
        MediaReadError
            If there is no such upload: it was used before, or has waited for too long.
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
        """Make a folder for results, which goes again if an error occurs."""
        folder = self.results / secrets.token_hex(16)
        folder.mkdir()
        try:
            yield folder
        except BaseException:
            _delete(folder)
            raise

    def is_result(self, path: str) -> bool:
        """Say whether a file was made of a clip, and is still there."""
        try:
            file = Path(path).resolve()
            return file.is_relative_to(self.results) and file.is_file()
        except (OSError, ValueError):
            return False

    def sweep(self) -> None:
        """Delete what is too old, and the oldest results if they are too large together."""
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
    """Return when a folder was made, its bytes, and itself; it may go meanwhile."""
    try:
        size = sum(file.stat().st_size for file in folder.iterdir())
        return folder.stat().st_mtime, size, folder
    except OSError:
        return 0.0, 0, folder


def _delete(path: Path) -> None:
    """Delete a file or folder; what cannot be deleted is left, and costs the others nothing."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
