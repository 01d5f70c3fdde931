"""Files that `predict` is called with: by name, in folders, or by pattern."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Inputs:
    """Files that were found, and what was left out, with the reason.

    Attributes
    ----------
    paths : list of str
        Each once, in the order of the arguments.
    left_out : dict of str to str
        Files in folders that are neither photos nor clips.
    unlisted : dict of str to str
        Folders that cannot be listed.
    unread : dict of str to str
        Tar archives and Parquet files that cannot be read.
    """

    paths: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    unlisted: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)


def find_inputs(arguments: Sequence[str]) -> Inputs:
    """Find the files of all arguments; names of missing files are kept, to be reported.

    Links between folders are followed, each real folder once. In a folder, files of a known suffix
    are taken, and files whose content is a photo or a clip; hidden files only with a known suffix.
    """
    inputs = Inputs()
    for argument in arguments:
        if os.path.isdir(argument):
            found = _search(argument, inputs)
        elif glob.has_magic(argument) and not os.path.exists(argument):
            found = filter(os.path.isfile, _match(argument, inputs))
        else:
            found = iter([argument])
        for path in sorted(set(found)) or [argument]:
            inputs.paths += _unpack(path, inputs)
    inputs.paths = list(dict.fromkeys(inputs.paths))
    return inputs


def _unpack(path: str, inputs: Inputs) -> list[str]:
    """List the photos and clips in a tar archive or a Parquet file; other files are themselves."""
    from persona_affect.exceptions import PersonaAffectError
    from persona_affect.media import PHOTO_SUFFIXES, VIDEO_SUFFIXES, is_pack, list_packed

    if not is_pack(path):
        return [path]
    try:
        members, problems = list_packed(path)
    except PersonaAffectError as error:
        inputs.unread[path] = str(error)
        return []
    inputs.left_out.update(problems)
    if path.lower().endswith(".parquet"):
        return members
    known = PHOTO_SUFFIXES | VIDEO_SUFFIXES
    return [member for member in members if os.path.splitext(member)[1].lower() in known]


def _search(folder: str, inputs: Inputs) -> Iterator[str]:
    from persona_affect.media import PACK_SUFFIXES, PHOTO_SUFFIXES, VIDEO_SUFFIXES

    known = PHOTO_SUFFIXES | VIDEO_SUFFIXES | PACK_SUFFIXES
    for here, _, names in _walk(folder, inputs):
        for name in names:
            file = str(here / name)
            if os.path.splitext(name)[1].lower() in known:
                yield file
            elif not name.startswith("."):
                problem = _find_problem(file)
                if problem is None:
                    yield file
                else:
                    inputs.left_out[file] = problem


def _find_problem(file: str) -> str | None:
    from persona_affect.exceptions import PersonaAffectError
    from persona_affect.media import check_media

    try:
        check_media(file)
    except PersonaAffectError as error:
        return str(error)
    return None


def _match(pattern: str, inputs: Inputs) -> Iterator[str]:
    """Find what a pattern matches; unlike in `glob`, ``**`` does not follow loops of links."""
    parts = pattern.split("/")
    if "**" not in parts:
        yield from glob.glob(pattern)
        return
    place = parts.index("**")
    root, rest = "/".join(parts[:place]), "/".join(parts[place + 1 :]) or "*"
    if pattern.startswith("/") and not root:
        root = "/"
    for base in glob.glob(root) if root else ["."]:
        for here, folders, _ in _walk(base, inputs):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = rest if here == Path() else os.path.join(glob.escape(str(here)), rest)
            yield from _match(inside, inputs)


def _walk(folder: str, inputs: Inputs) -> Iterator[tuple[Path, list[str], list[str]]]:
    from persona_affect._files import walk_folders

    def note(error: OSError) -> None:
        inputs.unlisted[str(error.filename)] = error.strerror or str(error)

    yield from walk_folders(folder, on_error=note)
