"""Make ``persona_affect/models/faceapi.safetensors`` from the weights released by face-api.js.

    npm pack @vladmandic/face-api@1.7.15 && tar xzf vladmandic-face-api-1.7.15.tgz
    python benchmarks/convert_faceapi_weights.py package/model

A released model is a JSON list of tensors, in the order of the layers, and one file of their
values, most of them bytes that mean ``minimum + scale * byte``. Our networks have the same layers
in the same order, without the last, fully connected ones.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from persona_affect.networks import FaceApi
from persona_affect.networks._faceapi import FACEAPI_FILE

SHA256 = {
    "face_expression_model-weights_manifest.json": (
        "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8"
    ),
    "face_expression_model.bin": (
        "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d"
    ),
    "age_gender_model-weights_manifest.json": (
        "74b60bf3ebf981bf4e661e9cca3a185614e10b25d797118b62e2a68d3ff2569f"
    ),
    "age_gender_model.bin": "49f92bbc0afef2342c4385e4a2b0acb6d7a727c6f0aa539499719a81acf9abaa",
}


def read_checked(path):
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256[path.name]:
        raise SystemExit(f"{path} is not the released file: its SHA-256 differs.")
    return data


def read_model(folder, name):
    """Read a model's tensors, by name, in torch's order of axes."""
    manifest = json.loads(read_checked(folder / f"{name}-weights_manifest.json"))
    data, position, tensors = read_checked(folder / f"{name}.bin"), 0, {}
    for entry in (entry for group in manifest for entry in group["weights"]):
        coded, size = entry.get("quantization"), int(np.prod(entry["shape"]))
        kind = np.dtype(np.uint8 if coded else "<f4")
        values = np.frombuffer(data, kind, size, position).astype(np.float64)
        position += size * kind.itemsize
        if coded:
            values = coded["min"] + coded["scale"] * values
        tensor = torch.from_numpy(values.reshape(entry["shape"]))
        if tensor.ndim == 4:
            # TensorFlow has (height, width, in, out), and of depthwise filters (.., channel, 1).
            depthwise = entry["name"].endswith("depthwise_filter")
            tensor = tensor.permute((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        tensors[entry["name"]] = tensor
    if position != len(data):
        raise SystemExit(f"{name}.bin has {len(data)} bytes, of which {position} are described.")
    return {key: value for key, value in tensors.items() if not key.startswith("fc/")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the package's folder 'model'")
    folder = parser.parse_args().folder
    state = {}
    for part, name in (("expression", "face_expression_model"), ("age_gender", "age_gender_model")):
        ours, theirs = FaceApi(part).network.state_dict(), read_model(folder, name)
        for (key, wanted), (source, tensor) in zip(ours.items(), theirs.items(), strict=True):
            if wanted.shape != tensor.shape:
                raise SystemExit(f"{source} is {tensor.shape}, not {wanted.shape} as {key}.")
            state[f"{part}.{key}"] = tensor.half().contiguous()
    save_file(state, FACEAPI_FILE)
    print(f"{FACEAPI_FILE}: {FACEAPI_FILE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
