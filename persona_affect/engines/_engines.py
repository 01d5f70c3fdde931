"""The engines: how each takes a torch network, and runs it."""

import sys
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any, ClassVar, Final, NoReturn

import torch
from torch import Tensor, nn

from persona_affect._optional import import_optional
from persona_affect.exceptions import EngineError

from ._graphs import on_cpu, to_onnx

PRECISIONS: Final = ("float32", "bfloat16")
#: Batch sizes that OpenVINO compiles for; the maps of more faces do not fit into the caches.
_BATCH_SIZES: Final = (16, 4, 1)


class Engine(ABC):
    """A network that is ready to run; several threads may call it at the same time.

    Parameters
    ----------
    graph : object
        What `convert` returned.
    precision : str
        One of `precisions`.
    n_threads : int or None
        Threads; None for as many as torch uses.
    """

    name: ClassVar[str]
    #: The packages that it needs, and the extra that installs them.
    packages: ClassVar[tuple[str, ...]]
    extra: ClassVar[str] = ""
    precisions: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def convert(cls, network: nn.Module, example: Tensor) -> Any:
        """Convert a network, which maps a batch to a tensor, to the engine's own form."""

    @abstractmethod
    def __init__(self, graph: Any, precision: str, n_threads: int | None) -> None: ...

    @abstractmethod
    def __call__(self, batch: Tensor) -> Tensor:
        """Run the network on a batch; the result is the caller's."""

    @classmethod
    def is_installed(cls) -> bool:
        """Return whether its packages are there."""
        return all(find_spec(package) is not None for package in cls.packages)

    @classmethod
    def why_not(cls, precision: str) -> str:
        """Return why it cannot compute with a precision here, or an empty text."""
        if precision in cls.precisions:
            return ""
        return f"{cls.name} computes with {' or '.join(cls.precisions)} on a CPU"

    def __reduce__(self) -> NoReturn:
        raise EngineError(
            f"A model that was compiled for {self.name} cannot be pickled or copied deeply. Pickle "
            "or save the model that it came from, and compile it where it is loaded."
        )


class TorchEngine(Engine):
    """Torch itself, which computes as before but may leave out mirror images or use bfloat16."""

    name, packages, precisions = "torch", ("torch",), PRECISIONS

    @classmethod
    def convert(cls, network: nn.Module, example: Tensor) -> nn.Module:
        """Return the network itself."""
        return network.eval()

    def __init__(self, graph: nn.Module, precision: str, n_threads: int | None) -> None:
        self._network = graph
        self._dtype = torch.bfloat16 if precision == "bfloat16" else None

    def __call__(self, batch: Tensor) -> Tensor:
        home = next(self._network.parameters(), next(self._network.buffers(), batch)).device
        with (
            torch.inference_mode(),
            torch.autocast(home.type, self._dtype, enabled=self._dtype is not None),
        ):
            values: Tensor = self._network(batch.to(home))
        return values.float().cpu()


class OpenVINOEngine(Engine):
    """OpenVINO on the CPU.

    The network is compiled for a few batch sizes, and other batches are divided: with fixed shapes,
    all that does not depend on the faces is computed at compile time, in float32. One stream uses
    all threads, so that a single face has the shortest time; calls from several threads wait for
    each other.
    """

    name, packages, extra, precisions = "openvino", ("openvino",), "openvino", PRECISIONS

    @classmethod
    def convert(cls, network: nn.Module, example: Tensor) -> Any:
        """Trace the network, and convert the trace to a model of OpenVINO with any batch size."""
        openvino = _import_openvino()
        with warnings.catch_warnings(), torch.no_grad():
            # The tracer warns of each comparison of shapes.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(on_cpu(network), example, check_trace=False)
            return openvino.convert_model(
                traced,
                example_input=example,
                input=[openvino.PartialShape([-1, *example.shape[1:]])],
            )

    def __init__(self, graph: Any, precision: str, n_threads: int | None) -> None:
        self._graph = graph
        self._config = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": n_threads or torch.get_num_threads(),
            # Threads of torch, OpenCV and the decoder use the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._requests = threading.local()
        self._request(1)

    def __call__(self, batch: Tensor) -> Tensor:
        parts = []
        for part in _divide(batch):
            request = self._request(len(part))
            request.infer([part.contiguous().numpy()], share_inputs=True)
            # The request reuses its memory in the next call.
            parts.append(torch.from_numpy(request.output_tensors[0].data.copy()))
        return torch.cat(parts)

    def _request(self, size: int) -> Any:
        """Return this thread's own request for a batch size."""
        own: dict[int, Any] = self._requests.__dict__.setdefault("by_size", {})
        if size not in own:
            with self._lock:
                if size not in self._compiled:
                    graph = self._graph.clone()
                    graph.reshape([size, *list(graph.inputs[0].partial_shape)[1:]])
                    self._compiled[size] = _openvino_core().compile_model(
                        graph, "CPU", self._config
                    )
            own[size] = self._compiled[size].create_infer_request()
        return own[size]

    @classmethod
    def why_not(cls, precision: str) -> str:
        """Return why it cannot compute with a precision here, or an empty text."""
        if precision == "bfloat16" and cls.is_installed():
            known = _openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            if "BF16" not in known:
                return "this processor has no instructions for bfloat16"
        return super().why_not(precision)


class OnnxRuntimeEngine(Engine):
    """ONNX Runtime on the CPU; its threads do not spin between calls, so that others can work."""

    name, packages = "onnxruntime", ("onnx", "onnxscript", "onnxruntime")
    extra, precisions = "onnx", ("float32",)

    @classmethod
    def convert(cls, network: nn.Module, example: Tensor) -> bytes:
        """Convert the network to ONNX."""
        data: bytes = to_onnx(network, example).SerializeToString()
        return data

    def __init__(self, graph: bytes, precision: str, n_threads: int | None) -> None:
        onnxruntime = import_optional(
            "onnxruntime", extra=self.extra, purpose='engine="onnxruntime"'
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads or torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: Tensor) -> Tensor:
        (values,) = self._session.run(None, {self._input: batch.contiguous().numpy()})
        return torch.from_numpy(values)


ENGINES: Final[dict[str, type[Engine]]] = {
    engine.name: engine for engine in (OpenVINOEngine, OnnxRuntimeEngine, TorchEngine)
}


@cache
def _openvino_core() -> Any:
    return _import_openvino().Core()


def _import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which reports each conversion to its makers."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_optional("openvino", extra="openvino", purpose='engine="openvino"')


def _divide(batch: Tensor) -> Iterator[Tensor]:
    """Divide a batch into parts of `_BATCH_SIZES`."""
    start = 0
    while start < len(batch):
        size = next(size for size in _BATCH_SIZES if size <= len(batch) - start)
        yield batch[start : start + size]
        start += size
