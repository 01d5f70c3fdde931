"""The seam between estimators and what runs their networks: see `persona_affect.engines`."""

import copy
from collections.abc import Callable
from typing import Self, TypeAlias

from torch import Tensor, nn

#: Computes what a network does for a batch, (n, ...) to (n, d) on the CPU.
Run: TypeAlias = Callable[[Tensor], Tensor]


class RunByEngine:
    """An estimator whose fitted computation is a network that an engine can run.

    Where a subclass would compute with its network, it asks `_engine` first, if it is not None.
    Each fit sets `_engine` to None.
    """

    _engine: Run | None = None

    def _get_network(self, *, mirror: bool = True) -> nn.Module:
        """Return what is computed for a batch, as a module from (n, ...) to (n, d).

        Parameters
        ----------
        mirror : bool, default=True
            Whether mirror images are used if the parameters say so; False leaves them out.
        """
        raise NotImplementedError

    def _get_input_shape(self) -> tuple[int, ...]:
        """Return the shape of one item of a batch: (height, width, 3) uint8, or (n_features,)."""
        raise NotImplementedError

    def _computed_by(self, run: Run | None) -> Self:
        """Return a copy that computes with `run`; all else is the same."""
        model = copy.copy(self)
        model._engine = run
        return model
