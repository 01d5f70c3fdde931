"""Weights released by others, which are downloaded only on request."""

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
#: No known weights are larger when unpacked; a damaged or malicious archive may claim to be.
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
        Hash of the file; None if its author has not published one.

    Examples
    --------
    >>> from persona_affect.networks import BACKBONES
    >>> BACKBONES["sphereface20"].release.file_name
    'sphere20a_20171020.7z'
    """

    url: str
    file_name: str
    sha256: str | None


#: Releases that `fetch_backbone` can download, by backbone; registering a backbone adds its own.
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
        Hash of the released file, 64 hexadecimal digits, if you know it. It is used instead of the
        one known here.
    unverified : bool, default=False
        Accept the file if no hash is known, and warn with the hash that it has. Then only HTTPS
        protects against a wrong file. Nothing in such a file is executed, here or at loading, but
        wrong weights give wrong predictions.
    cache : path-like, optional
        Folder for the files; by default the one that the environment variable
        ``PERSONA_AFFECT_CACHE`` names, or else the user's cache folder for ``persona_affect``.
    progress : bool, default=True
        Whether to show a progress bar of the download.

    Returns
    -------
    pathlib.Path
        The unpacked file, for the `weights` of a backbone.

    Raises
    ------
    ValueError
        If there is no release of that name.
    WeightsError
        If no hash is known and `unverified` is False, if the file cannot be downloaded (the message
        says how to download it by hand), or if it is not the released file.
    MissingDependencyError
        If the release is packed and py7zr is not installed.

    Examples
    --------
    >>> from persona_affect.networks import SphereFace, fetch_backbone, load_sphereface_weights
    >>> path = fetch_backbone("sphereface20", unverified=True)  # doctest: +SKIP
    >>> load_sphereface_weights(SphereFace(20), path)  # doctest: +SKIP
    """
    if name not in RELEASES:
        raise ValueError(f"name={name!r}: released weights are known for {sorted(RELEASES)}.")
    release = RELEASES[name]
    known = sha256 or release.sha256
    if known is None and not unverified:
        raise WeightsError(
            f"No verified SHA-256 of {release.url} is known. Pass sha256= with one that you trust, "
            "or unverified=True to accept the file without a check."
        )
    # Imported here: it imports requests, and most users never download anything.
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
            f"{release.url} gave another file than the released one (its SHA-256 is not {known}); "
            "it was deleted. Try again; if the error remains, the release has changed."
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
        # Checked before the download, which would be useless without it.
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
                # Moved into place when complete: an interruption leaves no incomplete file.
                with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
                    content.extract(folder, targets=[member.filename])
                    os.replace(Path(folder) / member.filename, unpacked)
        except (self.py7zr.exceptions.ArchiveError, lzma.LZMAError, ValueError) as error:
            raise WeightsError(
                f"{archive} is not an archive with one .pth file: {error}. Delete it and try again."
            ) from error
        return str(unpacked)
