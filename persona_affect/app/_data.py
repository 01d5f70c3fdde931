"""What `train` and `evaluate` share: data sets by options, and errors in a sentence."""

from collections.abc import Iterator
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
    every: int,
    n_frames: int | None,
    flip_neuroticism: bool,
) -> "Bunch":
    """Load one data set, or a personality and an emotion set joined."""
    from persona_affect.datasets import combine, load_dataset
    from persona_affect.datasets._combine import recognise

    asked = [(root, format), (personality, personality_format), (emotion, emotion_format)]
    named = [(path, kind) for path, kind in asked if path is not None]
    if not named or (root is not None and len(named) > 1):
        raise ValueError(
            "Name one data set, as DATASET_ROOT, or two that belong together, with --personality "
            "and --emotion."
        )
    loaded = []
    for path, kind in named:
        kind = kind or recognise(path)
        options: dict[str, Any] = {}
        if kind in ("afew-va", "aff-wild"):
            options = {"every": every, "n_frames": n_frames}
        elif kind == "first-impressions":
            options = {"flip_neuroticism": flip_neuroticism}
        loaded.append(load_dataset(path, kind, **options))
    return combine(*loaded)


def template_of(backbone: str | None) -> str:
    """Name the alignment that a backbone takes."""
    return "resnet29" if backbone in ("resnet29", "inception_resnet_v1") else "sphereface"
