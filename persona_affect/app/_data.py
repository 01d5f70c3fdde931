"""Shared by `train` and `evaluate`: loading data sets, and help on registered names."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from typer.core import TyperCommand

if TYPE_CHECKING:
    from sklearn.utils import Bunch

    from persona_affect.datasets import DatasetFormat


class RegistryCommand(TyperCommand):
    """A command whose help lists what is registered, also by other packages.

    ``{formats}``, ``{backbones}`` and ``{detectors}`` in the help of an option are replaced by
    names, and a description of each format follows at the end. This is done only when the help is
    shown, because the registries import torch.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        from persona_affect.datasets import FORMATS
        from persona_affect.faces import DETECTORS
        from persona_affect.networks import BACKBONES

        registries: dict[str, Any] = {
            "{formats}": FORMATS,
            "{backbones}": BACKBONES,
            "{detectors}": DETECTORS,
        }
        for option in self.params:
            for name, registry in registries.items():
                text = getattr(option, "help", None) or ""
                if name in text:
                    option.help = text.replace(name, ", ".join(registry))  # type: ignore[attr-defined]
        formats = "\n\n".join(_describe_format(spec) for spec in FORMATS.values())
        self.epilog = f"[bold]Formats of data sets[/]\n\n{formats}"
        super().format_help(ctx, formatter)


def _describe_format(spec: "DatasetFormat") -> str:
    lines = [f"[bold]{escape(spec.name)}[/]: {escape(spec.layout)}."]
    lines += [f"--option {option.name}=...: {escape(option.help)}" for option in spec.options]
    return "\n\n".join(lines)


def load_sets(
    root: Path | None,
    format: str | None,
    personality: Path | None,
    emotion: Path | None,
    personality_format: str | None,
    emotion_format: str | None,
    *,
    every: int | None = None,
    n_frames: int | None = None,
    flip_neuroticism: bool = False,
    texts: Sequence[str] = (),
) -> "Bunch":
    """Load one data set, or a personality and an emotion set joined.

    Parameters
    ----------
    every, n_frames, flip_neuroticism
        Options of formats, each passed to the sets whose format has it. None or False leaves one
        out.
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
    given = {"every": every, "n_frames": n_frames, "flip_neuroticism": flip_neuroticism or None}
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
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


def find_template(backbone: str | None) -> str:
    """Return the template that faces for a backbone are aligned to.

    Parameters
    ----------
    backbone : str or None
        A registered name; None stands for the default of `JointAffectEstimator`.

    Raises
    ------
    ValueError
        If the name is not registered, or the backbone does not take faces from FaceAligner.
    """
    from persona_affect import JointAffectEstimator
    from persona_affect.networks import get_backbone_spec

    name = backbone or str(JointAffectEstimator().backbone)
    template = get_backbone_spec(name).template
    if template is None:
        raise ValueError(f"--backbone {name} does not take faces that are aligned to a template.")
    return template
