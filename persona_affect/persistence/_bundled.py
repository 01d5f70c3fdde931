"""The models that come with this package, and their names."""

from pathlib import Path
from typing import Final, Literal, get_args

from persona_affect.exceptions import WeightsError

#: Made by ``benchmarks/train_bundled_model.py``; it has a licence of its own, see LICENSE there.
BUNDLED: Final = Path(__file__).parents[1] / "models" / "impressions.safetensors"

#: Further models of the package, files in `models`, by what `load_model` returns: for editors.
DynamicsName = Literal["dynamics"]
ImpressionsName = Literal["fast"]

_NAMES: Final = (*get_args(DynamicsName), *get_args(ImpressionsName))
BUNDLED_BY_NAME = {name: BUNDLED.with_name(f"{name}.safetensors") for name in _NAMES}


def bundled_model(name: str | None = None) -> Path:
    """Find a model that comes with this package: that of impressions, or one by its name.

    Raises
    ------
    WeightsError
        If it is not there.
    """
    path = BUNDLED if name is None else BUNDLED_BY_NAME[name]
    if not path.is_file():
        raise WeightsError(f"{path} is not installed; give load_model the path of a model.")
    return path
