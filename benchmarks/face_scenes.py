"""Photos with one to ten faces, the same on every machine, for benchmarks and tests.

Real faces come from the folder named by ``PERSONA_AFFECT_DATA`` (OMI portraits, GRID clips) and,
if scikit-image is installed, from its photo of an astronaut; rendered faces come from
`persona_affect.datasets.make_affect_faces`.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from persona_affect.media import open_clip, open_photo

Photo = npt.NDArray[np.uint8]

#: Faces and size (height, width) of each collage.
COLLAGES = [
    (2, (480, 640)),
    (3, (480, 640)),
    (4, (720, 1280)),
    (5, (720, 1280)),
    (6, (720, 1280)),
    (7, (1080, 1920)),
    (8, (1080, 1920)),
    (9, (1080, 1920)),
    (10, (1080, 1920)),
    (10, (601, 803)),
]


def real_scenes() -> dict[str, Photo]:
    """Return the photos of real faces by name; none without ``PERSONA_AFFECT_DATA``."""
    scenes = {}
    if importlib.util.find_spec("skimage") is not None:
        from skimage import data

        scenes["astronaut"] = data.astronaut()
    folder = os.environ.get("PERSONA_AFFECT_DATA")
    if folder is None:
        return scenes
    portraits = [open_photo(path) for path in sorted(Path(folder, "omi/images").glob("*.jpg"))[::8]]
    for number, path in enumerate(sorted(Path(folder, "grid").glob("*.mpg"))):
        scenes[f"grid {number}"] = open_clip(path, 1)[0]
    for number in range(8):
        scenes[f"portrait {number}"] = portraits[number]
    for number in range(8, 12):
        scenes[f"large portrait {number}"] = cv2.resize(
            portraits[number], (512, 512), interpolation=cv2.INTER_CUBIC
        )
    for number, (n_faces, size) in enumerate(COLLAGES):
        scenes[f"collage {number}"] = collage(portraits, n_faces, size, seed=number)
    return scenes


def drawn_scenes() -> dict[str, Photo]:
    """Return collages of drawn faces by name."""
    from persona_affect.datasets import make_affect_faces

    faces = list(make_affect_faces(30, image_size=256, random_state=0).data)
    return {
        f"drawn collage {number}": collage(faces, n_faces, size, seed=100 + number)
        for number, (n_faces, size) in enumerate(COLLAGES)
    }


def collage(faces: list[Photo], n_faces: int, size: tuple[int, int], seed: int) -> Photo:
    """Paste faces of several scales and slants, side by side, on a blurred and noisy background."""
    rng = np.random.default_rng(seed)
    height, width = size
    coarse = rng.integers(0, 256, (height // 40, width // 40, 3), dtype=np.uint8)
    scene = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    scene += rng.normal(0, 10, scene.shape)
    scene = scene.clip(0, 255).astype(np.uint8)

    n_columns = int(np.ceil(np.sqrt(n_faces * width / height)))
    n_rows = int(np.ceil(n_faces / n_columns))
    cell = min(width // n_columns, height // n_rows)
    for place in range(n_faces):
        face = faces[rng.integers(len(faces))]
        side = int(cell * rng.uniform(0.35, 1))
        matrix = cv2.getRotationMatrix2D(
            (face.shape[1] / 2, face.shape[0] / 2), rng.uniform(-20, 20), 1
        )
        face = cv2.warpAffine(face, matrix, face.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
        face = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
        x = (place % n_columns) * cell + int(rng.integers(0, cell - side + 1))
        y = (place // n_columns) * cell + int(rng.integers(0, cell - side + 1))
        scene[y : y + side, x : x + side] = face
    return scene
