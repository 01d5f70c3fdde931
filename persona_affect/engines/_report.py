"""What runs a compiled model, and why."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sklearn.pipeline import FeatureUnion, Pipeline


@dataclass(frozen=True)
class EngineReport:
    """What runs the networks of a compiled model.

    Attributes
    ----------
    engine : str
        The engine.
    precision : str
        Precision of the networks of faces; kernels, and heads on embeddings, compute in float32.
    mirror : bool
        False if mirror images were left out.
    errors : dict of str to float
        For each network, the difference from torch in float32 on rendered noise: the norm of the
        difference over the norm of the output.
    others : dict of str to str
        By engine and precision, why it was not taken; only if there was a choice.
    left_on_torch : dict of str to str
        Networks that the engine does not run, and why.

    Examples
    --------
    >>> from persona_affect.engines import EngineReport
    >>> report = EngineReport("openvino", "bf16", mirror=True, errors={"embedder": 0.004})
    >>> max(report.errors.values()) < 0.01
    True
    """

    engine: str
    precision: str
    mirror: bool
    errors: dict[str, float]
    others: dict[str, str] = field(default_factory=dict)
    left_on_torch: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        views = "" if self.mirror else ", one view of each face"
        lines = [
            f"{self.engine} in {self.precision}{views}; difference from torch in float32: "
            f"{max(self.errors.values(), default=0.0):.1e}"
        ]
        lines += [f"  not {name}: {why}" for name, why in self.others.items()]
        lines += [f"  torch runs {name}: {why}" for name, why in self.left_on_torch.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Compiled:
    """What computes a step of a compiled model: an engine, and the report on the whole model."""

    run: Any
    report: EngineReport

    def __call__(self, batch: Any) -> Any:
        """Run a batch."""
        return self.run(batch)


def get_report(model: Any) -> EngineReport | None:
    """Return what runs a compiled model, or None if it was not compiled.

    Parameters
    ----------
    model : estimator
        A result of :func:`compile`, also a part of one, such as ``model[1:]``.

    Returns
    -------
    EngineReport or None
        None if torch runs the networks.

    Examples
    --------
    >>> from persona_affect import load_model
    >>> from persona_affect.engines import get_report
    >>> get_report(load_model()) is None
    True
    """
    for _, step in find_networks(model):
        if isinstance(step._engine, Compiled):
            return step._engine.report
    return None


def find_networks(model: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the steps of a model whose networks an engine can run, with their names."""
    if hasattr(model, "_computed_by"):
        yield name or type(model).__name__, model
    for own, step in steps_of(model):
        yield from find_networks(step, f"{name}.{own}" if name else own)


def steps_of(model: Any) -> list[tuple[str, Any]]:
    """Return the steps of a pipeline or a union; none of another estimator."""
    if isinstance(model, Pipeline):
        return list(model.steps)
    return list(model.transformer_list) if isinstance(model, FeatureUnion) else []
