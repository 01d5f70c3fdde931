"""Options of a backbone as parameters of an estimator."""

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, Final, Self

from sklearn.base import BaseEstimator

from persona_affect._sklearn import StrOptions
from persona_affect.networks import (
    BACKBONES,
    Backbone,
    check_backbone_params,
    make_backbone,
)

#: Values that `backbone=` may have, also names that are registered later.
BACKBONE_CONSTRAINT: Final[list[Any]] = [StrOptions(BACKBONES.keys()), callable]

_PREFIX: Final = "backbone__"


class BackboneParams(BaseEstimator):
    """Lets ``backbone__option`` address one of `backbone_params`, as in a search.

    The caller's dictionary is never changed: a new one replaces it.
    """

    backbone: str | Callable[..., Backbone]
    backbone_params: Mapping[str, Any] | None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Add each of `backbone_params` as ``backbone__<option>``.

        Returns
        -------
        dict
            Values by name.
        """
        params: dict[str, Any] = super().get_params(deep=deep)
        if deep and isinstance(self.backbone_params, Mapping):
            params |= {f"{_PREFIX}{name}": value for name, value in self.backbone_params.items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ``backbone__<option>`` sets one of `backbone_params` and keeps the rest.

        Parameters
        ----------
        **params
            Values by name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no such parameter, or the backbone has no such option.
        """
        options = {k.removeprefix(_PREFIX): v for k, v in params.items() if k.startswith(_PREFIX)}
        super().set_params(**{k: v for k, v in params.items() if not k.startswith(_PREFIX)})
        if options:
            check_backbone_params(self.backbone, options)
            self.backbone_params = {**(self.backbone_params or {}), **options}
        return self

    def _make_backbone(self, weights: str | PathLike[str] | None) -> Backbone:
        return make_backbone(self.backbone, weights, **(self.backbone_params or {}))
