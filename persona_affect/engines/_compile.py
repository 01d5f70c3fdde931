"""Compiling a fitted model for an engine, and the choice of the engine."""

import copy
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import torch
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from persona_affect._device import network_on, resolve_device
from persona_affect._optional import import_optional
from persona_affect._warnings import warn_user
from persona_affect.exceptions import EngineError, EngineWarning
from persona_affect.faces import FaceAligner

from ._engines import ENGINES, PRECISIONS, Engine, TorchEngine
from ._graphs import draw_batch, first_line
from ._report import Compiled, EngineReport, find_networks, steps_of

Model = TypeVar("Model")

#: Faces in the batch that engines are compared on, and how often each is timed.
_PROBES: Final = 4
_ROUNDS: Final = 3


@dataclass
class _Probe:
    """What one network of the model gets and gives, in torch and float32.

    Attributes
    ----------
    network : torch.nn.Module
        On the device of its step.
    batch : torch.Tensor or None
        The first batch that it got; None before it got one.
    output : torch.Tensor or None
        What it made of it.
    """

    network: nn.Module
    batch: Tensor | None = None
    output: Tensor | None = None

    def __call__(self, batch: Tensor) -> Tensor:
        output = TorchEngine(self.network, "float32", None)(batch)
        if self.batch is None:
            self.batch, self.output = batch, output
        return output

    @property
    def sees_faces(self) -> bool:
        """Whether its batch is of pictures, which alone may be computed in bfloat16."""
        return self.batch is not None and self.batch.dtype == torch.uint8

    def error_of(self, run: Engine) -> float:
        """Return the relative difference of an engine's output from torch's."""
        assert self.batch is not None
        assert self.output is not None
        return _difference(run(self.batch), self.output)

    def seconds_of(self, run: Callable[[Tensor], Tensor]) -> float:
        """Return the shortest time in which the batch is run."""
        assert self.batch is not None
        seconds = []
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            run(self.batch)
            seconds.append(time.perf_counter() - start)
        return min(seconds)


@dataclass
class _Candidate:
    """The networks of a model, run by one engine with one precision."""

    engine: str
    precision: str
    runs: dict[str, Engine]
    errors: dict[str, float]
    failures: dict[str, str]

    @property
    def name(self) -> str:
        return f"{self.engine} in {self.precision}"

    @property
    def error(self) -> float:
        return max(self.errors.values())


def compile(
    model: Model,
    engine: str = "auto",
    precision: str = "auto",
    *,
    mirror: bool = True,
    max_error: float = 0.03,
    n_threads: int | None = None,
) -> Model:
    """Make a copy of a fitted model whose networks are run by another engine.

    The copy has the same class, steps, parameters and fitted attributes, and answers the same
    methods. Backbones, heads and kernels compute in the engine; faces are still detected by torch.

    Parameters
    ----------
    model : estimator
        Fitted: a pipeline, a `FaceEmbedder`, a `JointAffectEstimator`, or a `KernelFeatures`.
    engine : {"auto", "openvino", "onnxruntime", "torch"}, default="auto"
        ``"auto"`` times all that are installed on four pictures, with the network that takes
        longest, and takes the fastest whose difference from torch in float32 is at most
        `max_error` in every network. ``"openvino"`` needs the extra
        ``openvino``, ``"onnxruntime"`` the extra ``onnx``.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the networks that see faces; ``"auto"`` chooses as for `engine`. Kernels, and
        heads on embeddings, always compute in float32. bfloat16 is fast on processors that have
        instructions for it.
    mirror : bool, default=True
        False leaves out the mirror images over which the model averages: half the time, and
        predictions differ a little. Use it for streams.
    max_error : float, default=0.03
        The largest difference of a network's output from torch in float32: the norm of the
        difference over the norm of the output.
    n_threads : int, optional
        Threads of the engine, by default as many as torch uses. Torch ignores it.

    Returns
    -------
    estimator
        Several threads may predict with it at the same time. ``clone``, ``get_params``,
        :func:`persona_affect.save_model` and another ``fit`` see the model that it came from.
        It cannot be pickled. :func:`get_report` says what runs it.

    Raises
    ------
    MissingDependencyError
        If the engine is not installed; the message names the extra.
    EngineError
        If the engine has not the precision, the model has no network that an engine runs, or
        nothing is within `max_error`.
    NotFittedError
        If the model is not fitted.
    ValueError
        If there is no such engine or precision.

    Warns
    -----
    EngineWarning
        Naming networks that the engine cannot run, which torch then runs; or if an engine that was
        chosen by name differs by more than `max_error`.

    Examples
    --------
    >>> from persona_affect import FaceEmbedder
    >>> from persona_affect.engines import compile, get_report
    >>> import numpy as np
    >>> faces = np.zeros((2, 150, 150, 3), dtype=np.uint8)
    >>> model = FaceEmbedder("faceapi_expression").fit(faces)
    >>> fast = compile(model, engine="torch", precision="float32", mirror=False)
    >>> fast.transform(faces).shape
    (2, 2304)
    >>> get_report(fast).mirror
    False
    """
    chosen = _check_choices(engine, precision)
    if not list(find_networks(model)):
        raise EngineError(
            f"{type(model).__name__} has no network that an engine runs: compile a pipeline with a "
            "FaceEmbedder, a JointAffectEstimator or a KernelFeatures."
        )
    others = {
        name: f'not installed: pip install "persona-affect[{ENGINES[name].extra}]"'
        for name in (ENGINES.keys() - {*chosen} if engine == "auto" else ())
    }
    kinds = PRECISIONS if precision == "auto" else (precision,)
    pairs = []
    for name, kind in itertools.product(chosen, kinds):
        why = ENGINES[name].why_not(kind)
        if not why:
            pairs.append((name, kind))
        elif len(chosen) == len(kinds) == 1:
            raise EngineError(f"engine={name!r}, precision={kind!r}: {why}.")
        else:
            others[f"{name} in {kind}"] = why
    best = _choose(pairs, _probe(model, mirror=mirror), max_error, n_threads, others)
    for name, why in best.failures.items():
        warn_user(f"{best.engine} cannot run {name}, torch runs it: {why}", EngineWarning)
    report = EngineReport(
        best.engine, best.precision, mirror, best.errors, others, dict(best.failures)
    )
    _name_other_networks(model, report)
    return _replace(model, lambda name, step: step._computed_by(Compiled(best.runs[name], report)))


def _check_choices(engine: str, precision: str) -> list[str]:
    """Check the names, and return the engines to compare."""
    if engine not in (*ENGINES, "auto"):
        raise ValueError(f"engine={engine!r} is not one of {[*ENGINES, 'auto']}.")
    if precision not in (*PRECISIONS, "auto"):
        raise ValueError(f"precision={precision!r} is not one of {[*PRECISIONS, 'auto']}.")
    if engine == "auto":
        return [name for name, kind in ENGINES.items() if kind.is_installed()]
    for package in ENGINES[engine].packages:
        import_optional(package, extra=ENGINES[engine].extra, purpose=f"engine={engine!r}")
    return [engine]


def _probe(model: Any, *, mirror: bool) -> dict[str, _Probe]:
    """Run the model on a few pictures with torch, and keep what each network gets and gives."""
    probes = {}
    for name, step in find_networks(model):
        check_is_fitted(step)
        network = step._get_network(mirror=mirror).eval()
        probes[name] = _Probe(network_on(network, resolve_device(getattr(step, "device", "cpu"))))
    recording = _replace(model, lambda name, step: step._computed_by(probes[name]))
    if isinstance(model, Pipeline) and isinstance(model[0], FaceAligner):
        recording = recording[1:]
    _, first = next(find_networks(recording))
    method = "predict" if hasattr(recording, "predict") else "transform"
    getattr(recording, method)(draw_batch(first._get_input_shape(), _PROBES).numpy())
    return probes


def _difference(found: Tensor, wanted: Tensor) -> float:
    """Return the norm of a difference over the norm of what is wanted; NaN must be in both."""
    if not torch.equal(found.isnan(), wanted.isnan()):
        return float("inf")
    found, wanted = found.nan_to_num(), wanted.nan_to_num()
    return float((found - wanted).norm() / wanted.norm().clamp_min(1e-12))


def _choose(
    pairs: Sequence[tuple[str, str]],
    probes: Mapping[str, _Probe],
    max_error: float,
    n_threads: int | None,
    others: dict[str, str],
) -> _Candidate:
    """Choose the fastest engine and precision within `max_error`; say in `others` why not others.

    They are compared on the costliest network of faces alone, because some convert a network
    slowly; only the one that is taken converts all.
    """
    graphs: dict[tuple[str, str], Any] = {}
    if len(pairs) == 1:
        only = _assemble(*pairs[0], probes, graphs, n_threads)
        if not only.error <= max_error:
            warn_user(
                f"{only.name} differs from torch in float32 by {only.error:.1e}, more than "
                f"max_error={max_error}.",
                EngineWarning,
            )
        return only
    of_faces = [name for name, probe in probes.items() if probe.sees_faces] or [*probes]
    costliest = max(of_faces, key=lambda name: probes[name].seconds_of(probes[name]))
    timed = []
    for pair in pairs:
        part = _assemble(*pair, {costliest: probes[costliest]}, graphs, n_threads)
        if part.error <= max_error:
            timed.append((probes[costliest].seconds_of(part.runs[costliest]), pair, part.name))
        else:
            others[part.name] = f"differs by {part.error:.1e}, above {max_error}"
    best, shortest = None, 0.0
    for seconds, pair, name in sorted(timed):
        if best is not None:
            others[name] = f"{seconds / shortest:.1f} times the time"
            continue
        whole = _assemble(*pair, probes, graphs, n_threads)
        if whole.error <= max_error:
            best, shortest = whole, seconds
        else:
            others[name] = f"differs by {whole.error:.1e}, above {max_error}"
    if best is None:
        raise EngineError(f"No engine is within max_error={max_error}: {others}.")
    return best


def _assemble(
    engine: str,
    precision: str,
    probes: Mapping[str, _Probe],
    graphs: dict[tuple[str, str], Any],
    n_threads: int | None,
) -> _Candidate:
    """Make an engine run networks; `graphs` keeps those that it converted."""
    candidate = _Candidate(engine, precision, {}, {}, {})
    for name, probe in probes.items():
        assert probe.batch is not None
        kind = precision if probe.sees_faces else "float32"
        try:
            if (engine, name) not in graphs:
                graphs[engine, name] = ENGINES[engine].convert(probe.network, probe.batch)
            run = ENGINES[engine](graphs[engine, name], kind, n_threads)
            candidate.errors[name] = probe.error_of(run)
        except Exception as error:  # each engine raises errors of its own
            candidate.failures[name] = first_line(error)
            run = TorchEngine(probe.network, "float32", n_threads)
            candidate.errors[name] = 0.0
        candidate.runs[name] = run
    return candidate


def _name_other_networks(model: Any, report: EngineReport) -> None:
    """Add to a report, and warn of, estimators of this package that no engine runs."""
    for name, step in _leaves(model):
        if isinstance(step, FaceAligner):
            report.left_on_torch[name] = "the networks of face detection gain too little"
        elif type(step).__module__.startswith("persona_affect.") and not hasattr(
            step, "_computed_by"
        ):
            why = f"{type(step).__name__} cannot be compiled"
            report.left_on_torch[name] = why
            if report.engine != "torch":
                warn_user(f"{report.engine} does not run {name}, torch does: {why}.", EngineWarning)


def _leaves(model: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    steps = steps_of(model)
    if not steps:
        yield name or type(model).__name__, model
    for own, step in steps:
        yield from _leaves(step, f"{name}.{own}" if name else own)


def _replace(model: Any, change: Callable[[str, Any], Any], name: str = "") -> Any:
    """Copy a model, with other steps in place of those that have networks."""
    if hasattr(model, "_computed_by"):
        return change(name or type(model).__name__, model)
    steps = [
        (own, _replace(step, change, f"{name}.{own}" if name else own))
        for own, step in steps_of(model)
    ]
    if not steps:
        return model
    copied = copy.copy(model)
    if isinstance(copied, FeatureUnion):
        copied.transformer_list = steps
    else:
        copied.steps = steps
    return copied
