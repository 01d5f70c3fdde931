"""`persona-affect info`: what runs here."""

import platform
import sys

import rich
from rich.table import Table

_PACKAGES = ("torch", "scikit-learn", "skorch", "numpy", "pandas", "opencv-python", "av")


def info() -> None:
    """Show versions, devices and the bundled model."""
    from importlib.metadata import version

    import torch

    import persona_affect

    table = Table(show_header=False, box=None)
    table.add_row("persona-affect", persona_affect.__version__)
    table.add_row("Python", f"{sys.version.split()[0]} on {platform.platform()}")
    for package in _PACKAGES:
        table.add_row(package, version(package))
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    table.add_row("devices", ", ".join(["cpu", *devices]) + f" ({torch.get_num_threads()} threads)")
    rich.print(table)
