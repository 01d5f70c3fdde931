"""`persona-affect info`: versions, devices, and the description of a model."""

import platform
import sys
from typing import Any

from rich.markup import escape
from rich.table import Table

from persona_affect.app._errors import OutputConsole
from persona_affect.app._options import ModelOption

_PACKAGES = ("torch", "scikit-learn", "skorch", "numpy", "pandas", "opencv-python", "av")
_EXTRAS = ("gradio", "trackers", "pyarrow")


def info(model: ModelOption = None) -> None:
    """Show versions, devices and the description of a model.

    [bold]Example[/]

      persona-affect info --model mine.safetensors
    """
    from persona_affect.persistence import read_model_info

    # First, so that a wrong call does not print half of the output.
    card = read_model_info(model)
    console = OutputConsole()
    console.print(_versions())
    console.print(f"\n[bold]Model[/] {escape(str(model or 'bundled'))}")
    console.print(_card(card))


def _versions() -> Table:
    from importlib.metadata import PackageNotFoundError, version

    import torch

    import persona_affect

    table = Table(show_header=False, box=None)
    table.add_row("persona-affect", persona_affect.__version__)
    table.add_row("Python", f"{sys.version.split()[0]} on {platform.platform()}")
    for package in _PACKAGES:
        table.add_row(package, version(package))
    for package in _EXTRAS:
        try:
            table.add_row(package, version(package))
        except PackageNotFoundError:
            table.add_row(package, escape("not installed: pip install 'persona-affect[app]'"))
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    table.add_row("devices", ", ".join(["cpu", *devices]) + f" ({torch.get_num_threads()} threads)")
    return table


def _card(card: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None)
    table.add_row("class", escape(" > ".join(_steps(card["model"]))))
    targets = card.get("target_names", [])
    table.add_row("targets", escape(", ".join(targets)))
    polarity = card.get("polarity", {})
    # Only those that differ from the usual meaning are shown.
    usual = max(polarity.values(), key=list(polarity.values()).count, default="")
    for name, meaning in polarity.items():
        if meaning != usual:
            table.add_row(f"high {escape(name)}", escape(meaning))
    for name, note in card.get("notes", {}).items():
        table.add_row(escape(name), escape(note))
    made = card.get("libraries", {})
    table.add_row("made with", escape(", ".join(f"{name} {v}" for name, v in made.items())))
    table.add_row("format", str(card.get("format_version")))
    return table


def _steps(node: dict[str, Any]) -> list[str]:
    if node.get("class") != "Pipeline":
        return [str(node.get("class"))]
    return [name for _, step in node["steps"] for name in _steps(step)]
