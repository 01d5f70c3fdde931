"""Weights that others released, downloaded on request only."""

import lzma
import os
import tempfile
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final

from persona_affect._optional import import_optional
from persona_affect._warnings import warn_user
from persona_affect.exceptions import WeightsError

#: Environment variable that names the cache folder.
CACHE_VARIABLE: Final = "PERSONA_AFFECT_CACHE"
#: No weights of ours are larger unpacked; a damaged or hostile archive might claim to be.
_MAX_UNPACKED_BYTES = 2**30


@dataclass(frozen=True)
class Release:
    """A file of weights on the web.

    Attributes
    ----------
    url : str
        Where it is.
    file_name : str
        Its name in the cache folder. A ``.7z`` archive is unpacked to its one ``.pth`` file.
    sha256 : str or None
        Hash of the file; None if nobody who could know has published it.
    """

    url: str
    file_name: str
    sha256: str | None


#: What `fetch_backbone` can fetch, by backbone: filled as they are registered.
RELEASES: Final[dict[str, Release]] = {}


def fetch_backbone(
    name: str,
    *,
    sha256: str | None = None,
    unverified: bool = False,
    cache: str | PathLike[str] | None = None,
    progress: bool = True,
) -> Path:
    """Download released weights, or find them in the cache, and check them.

    Parameters
    ----------
    name : {"sphereface20"}
        Which release; see `RELEASES`.
    sha256 : str, optional
        Hash of the released file, 64 hexadecimal digits, where you know it; it takes precedence
        over the one known here.
    unverified : bool, default=False
        Accept the file if no hash is known, and warn with the hash that it has. HTTPS is then all
        that tells whence it comes. Nothing in such a file is executed, here or at loading, but
        wrong weights give wrong predictions.
    cache : path-like, optional
        Folder to keep files in; by default that of the environment variable
        ``PERSONA_AFFECT_CACHE``, or else the user's cache folder for ``persona_affect``.
    progress : bool, default=True
        Whether to show a progress bar of the download.

    Returns
    -------
    pathlib.Path
        The file of weights, unpacked, for the `weights` of a backbone.

    Raises
    ------
    ValueError
        If there is no release of that name.
    WeightsError
        If no hash is known and `unverified` is False, if the file cannot be downloaded (the message
        tells how to put it in place by hand), or if it is not the file that was released.
    MissingDependencyError
        If the release is packed and py7zr is not installed.

    Examples
    --------
    >>> from persona_affect.networks import SphereFace, fetch_backbone, load_sphereface_weights
    >>> path = fetch_backbone("sphereface20", unverified=True)  # doctest: +SKIP
    >>> load_sphereface_weights(SphereFace(20), path)  # doctest: +SKIP
    """
    if name not in RELEASES:
        raise ValueError(f"name={name!r}: released weights are known of {sorted(RELEASES)}.")
    release = RELEASES[name]
    known = sha256 or release.sha256
    if known is None and not unverified:
        raise WeightsError(
            f"No verified SHA-256 of {release.url} is known. Pass sha256= with one that you trust, "
            "or unverified=True to accept the file as it comes."
        )
    # Here, not at the top: it brings requests, and most users never download anything.
    import pooch

    folder = Path(cache or os.environ.get(CACHE_VARIABLE) or pooch.os_cache("persona_affect"))
    unpack = _Unpack7z() if release.file_name.endswith(".7z") else None
    try:
        path = pooch.retrieve(
            release.url,
            known_hash=None if known is None else f"sha256:{known}",
            fname=release.file_name,
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=progress),
            processor=unpack,
        )
    except ValueError as error:
        raise WeightsError(
            f"{release.url} gave another file than was released (its SHA-256 is not {known}), "
            "and it was thrown away. Try again; if it stays so, the release has changed."
        ) from error
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(
            f"{release.url} could not be downloaded: {error}. By hand: download it in a browser, "
            f"put it in {folder} as {release.file_name}, and call this again."
        ) from error
    if known is None:
        warn_user(
            f"{release.file_name} is unverified. Its SHA-256 is "
            f"{pooch.file_hash(str(folder / release.file_name))}; pass it as sha256= from now on.",
            UserWarning,
        )
    return Path(path)


class _Unpack7z:
    """Unpack the one ``.pth`` file of an archive beside it, once; a processor for pooch."""

    def __init__(self) -> None:
        # Before the download, which would be for nothing.
        self.py7zr = import_optional(
            "py7zr", extra="pretrained", purpose="Unpacking 7-Zip archives"
        )

    def __call__(self, file_name: str, action: str, _: object) -> str:
        archive = Path(file_name)
        try:
            with self.py7zr.SevenZipFile(archive) as content:
                [member] = [info for info in content.list() if info.filename.endswith(".pth")]
                unpacked = archive.parent / Path(member.filename).name
                if action == "fetch" and unpacked.exists():
                    return str(unpacked)
                if member.uncompressed > _MAX_UNPACKED_BYTES:
                    raise WeightsError(
                        f"{archive} would unpack to {member.uncompressed} bytes; at most "
                        f"{_MAX_UNPACKED_BYTES} are plausible."
                    )
                # Moved into place when whole, so that an interrupted run leaves no half of it.
                with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
                    content.extract(folder, targets=[member.filename])
                    os.replace(Path(folder) / member.filename, unpacked)
        except (self.py7zr.exceptions.ArchiveError, lzma.LZMAError, ValueError) as error:
            raise WeightsError(
                f"{archive} is not an archive with one .pth file: {error}. Delete it and try again."
            ) from error
        return str(unpacked)
