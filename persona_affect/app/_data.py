"""What `train` and `evaluate` share: data sets by options, and errors in a sentence."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from persona_affect.exceptions import PersonaAffectError

if TYPE_CHECKING:
    from sklearn.utils import Bunch


@contextmanager
def told() -> Iterator[None]:
    """End the program with the message of an error that the user can mend."""
    try:
        yield
    except (PersonaAffectError, ValueError, OSError) as error:
        typer.secho(f"Error: {error}", err=True, fg="red")
        raise typer.Exit(1) from error


def load_sets(
    root: Path | None,
    format: str | None,
    personality: Path | None,
    emotion: Path | None,
    personality_format: str | None,
    emotion_format: str | None,
    *,
    options: Mapping[str, Any],
    texts: Sequence[str] = (),
) -> "Bunch":
    """Load one data set, or a personality and an emotion set joined.

    Parameters
    ----------
    options : mapping of str to object
        Options of formats; each is passed to the sets whose format has it. None leaves one out.
    texts : sequence of str
        Further options, as ``name=value``.
    """
    from persona_affect.datasets import combine, get_format, load_dataset, recognise_format

    asked = [(root, format), (personality, personality_format), (emotion, emotion_format)]
    named = [(path, name) for path, name in asked if path is not None]
    if not named or (root is not None and len(named) > 1):
        raise ValueError(
            "Name one data set, as DATASET_ROOT, or two that belong together, with --personality "
            "and --emotion."
        )
    specs = [get_format(name) if name else recognise_format(path) for path, name in named]
    known = {option.name: option for spec in specs for option in spec.options}
    values = {name: value for name, value in options.items() if value is not None}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--option {text}: write NAME=VALUE.")
        if name in known:
            try:
                values[name] = known[name].parse(value)
            except ValueError as error:
                raise ValueError(f"--option {text}: {error}") from error
        else:
            values[name] = value
    unknown = [name for name in values if name not in known]
    if unknown:
        formats = " and ".join(dict.fromkeys(spec.name for spec in specs))
        raise ValueError(f"{formats} has no option {unknown[0]}; there is {sorted(known)}.")
    loaded = []
    for (path, _), spec in zip(named, specs, strict=True):
        own = {option.name for option in spec.options} & values.keys()
        loaded.append(load_dataset(path, spec.name, **{name: values[name] for name in own}))
    return combine(*loaded)


def template_of(backbone: str | None) -> str:
    """Name the alignment that a backbone takes."""
    return "resnet29" if backbone in ("resnet29", "inception_resnet_v1") else "sphereface"
