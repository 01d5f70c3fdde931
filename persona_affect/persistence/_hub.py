"""Models on a hub: their file and their card, as huggingface_hub downloads and keeps them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Final

from persona_affect._optional import import_optional
from persona_affect.exceptions import ModelReadError

from ._checks import MAX_BYTES

#: The files of a repository that are read; no other one is ever downloaded.
MODEL_FILE: Final = "model.safetensors"
CARD_FILE: Final = "README.md"
#: Bytes of a card; longer ones are cut.
_MAX_CARD: Final = 2**20
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class HubModel:
    """A downloaded model.

    Attributes
    ----------
    name : str
        ``owner/name``.
    path : Path
        The model's file.
    revision : str
        The commit that it is of.
    card : str or None
        The text of ``README.md`` in the same commit; empty if there is none, and None if it cannot
        be reached now.
    """

    name: str
    path: Path
    revision: str
    card: str | None

    def describe(self) -> dict[str, str | None]:
        """Describe where the model is from, for `read_model_info`."""
        return {"name": self.name, "revision": self.revision, "card": self.card}


def is_hub_name(path: str | PathLike[str] | None) -> bool:
    """Return whether a model is named as on a hub, ``owner/name``, and is no file here."""
    return (
        isinstance(path, str)
        and _NAME.fullmatch(path) is not None
        and not path.endswith((".safetensors", ".."))
        and not Path(path).exists()
    )


def find_on_hub(name: str, revision: str | None) -> HubModel:
    """Download a model and its card, or find them among those downloaded before.

    Parameters
    ----------
    name : str
        ``owner/name``.
    revision : str or None
        A commit, a tag or a branch; None for the newest commit.

    Raises
    ------
    MissingDependencyError
        If huggingface_hub is not installed.
    ModelReadError
        If there is no such repository, revision or file, or it cannot be reached.
    """
    purpose = f"There is no file {name!r} here; loading it from a hub"
    for module in ("huggingface_hub.errors", "huggingface_hub"):
        hub = import_optional(module, extra="hub", purpose=purpose)
    with _named_errors(hub, name, revision):
        path = _download(hub, name, MODEL_FILE, revision)
    # The cache of huggingface_hub has a folder for each commit.
    commit = path.parent.name
    return HubModel(name, path, commit, _read_card(hub, name, commit))


def _read_card(hub: Any, name: str, commit: str) -> str | None:
    try:
        path = hub.try_to_load_from_cache(name, CARD_FILE, revision=commit)
        if path is None:
            path = _download(hub, name, CARD_FILE, commit)
        # What is neither a path nor None marks a file that the commit does not have.
        elif not isinstance(path, str):
            return ""
        with open(path, "rb") as file:
            return file.read(_MAX_CARD).decode("utf-8", "replace")
    except hub.errors.LocalEntryNotFoundError:
        return None
    except hub.errors.EntryNotFoundError:
        return ""
    except (hub.errors.HfHubHTTPError, OSError):
        return None


def _download(hub: Any, name: str, file: str, revision: str | None) -> Path:
    """Download a file of a repository, unless this version of it was downloaded before."""
    found = hub.hf_hub_download(name, file, revision=revision, dry_run=True)
    if found.file_size is not None and found.file_size > MAX_BYTES:
        raise ModelReadError(
            f"{file} of {name} on the hub has {found.file_size:,} bytes, more than {MAX_BYTES:,}."
        )
    return Path(hub.hf_hub_download(name, file, revision=revision))


@contextmanager
def _named_errors(hub: Any, name: str, revision: str | None) -> Iterator[None]:
    """Turn the errors of huggingface_hub into one that says what to do."""
    errors = hub.errors
    shown = name if revision is None else f"{name}, revision {revision!r}"
    try:
        yield
    except ModelReadError:
        raise
    except errors.GatedRepoError as error:
        raise ModelReadError(
            f"{shown} is on the hub, but its owner decides who may download it: ask there for "
            "access, and log in with `hf auth login`."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelReadError(
            f"there is no file {name!r} here, and no such repository on the hub: give the path of "
            "a file that save_model wrote. For a private repository, log in with `hf auth login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelReadError(f"{name} on the hub has no revision {revision!r}.") from error
    except errors.LocalEntryNotFoundError as error:
        raise ModelReadError(
            f"there is no file {name!r} here, the hub cannot be reached ({_reason(error)}), and "
            f"{shown} was not downloaded before: connect to a network, or give the path of a file."
        ) from error
    except errors.EntryNotFoundError as error:
        raise ModelReadError(
            f"{shown} on the hub has no file {MODEL_FILE}. Only models that save_model wrote under "
            "this name are loaded; pickles never are."
        ) from error
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        # Names that the hub does not allow, servers that fail, full disks.
        raise ModelReadError(
            f"{shown} cannot be downloaded from the hub: {_reason(error)}"
        ) from error


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__
