"""Networks in other forms than torch's, and batches to try them on."""

import copy
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


def to_onnx(
    network: nn.Module, example: Tensor, *, input_name: str = "batch", output_name: str = "values"
) -> Any:
    """Convert a network from a batch to a tensor to a `onnx.ModelProto` with a free batch size."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Of the exporter, about itself.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                on_cpu(network),
                (example,),
                dynamo=True,
                dynamic_shapes=({0: "n"},),
                input_names=[input_name],
                output_names=[output_name],
                external_data=False,
                verbose=False,
            )
    finally:
        log.setLevel(level)
    assert program is not None
    return program.model_proto


def draw_batch(shape: Sequence[int], n: int = 4) -> Tensor:
    """Draw smooth pictures (n, height, width, 3) of uint8, or embeddings (n, n_features)."""
    generator = torch.Generator().manual_seed(0)
    if len(shape) == 1:
        return torch.randn(n, *shape, generator=generator)
    cells = torch.rand(n, 3, 8, 8, generator=generator)
    pictures = nn.functional.interpolate(cells, tuple(shape[:2]), mode="bicubic").clamp(0, 1) * 255
    return pictures.permute(0, 2, 3, 1).to(torch.uint8).contiguous()


def on_cpu(network: nn.Module) -> nn.Module:
    """Return a network for the CPU, a copy if it is elsewhere."""
    tensors = [*network.parameters(), *network.buffers()]
    if any(tensor.device.type != "cpu" for tensor in tensors):
        network = copy.deepcopy(network).cpu()
    return network.eval()


def first_line(error: Exception) -> str:
    """Return the kind of an error, and the first line of its message."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}"
