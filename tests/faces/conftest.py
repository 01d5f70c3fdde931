import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from persona_affect.datasets import make_affect_faces


@pytest.fixture(scope="session")
def drawn_faces():
    """Photos of twelve drawn faces, uint8 (12, 160, 160, 3)."""
    return make_affect_faces(6, image_size=160, random_state=0).data[:12]


@pytest.fixture(scope="session")
def group_photo(drawn_faces):
    """Six drawn faces of 80 to 200 pixels side by side; odd height and width."""
    scenes = load_scenes()
    return scenes.collage(list(drawn_faces), 6, (401, 603), seed=0)


@pytest.fixture(scope="session")
def faceless():
    """A photo with structure but no face."""
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 256, (12, 16, 3)), np.ones((10, 10, 1))).astype(np.uint8)


@pytest.fixture(scope="session")
def scenes():
    return load_scenes()


def load_scenes():
    """Import `benchmarks/face_scenes.py`, whose photos benchmark and tests share."""
    name = "face_scenes"
    if name not in sys.modules:
        path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
        if not path.exists():
            pytest.skip(f"needs {path}, which a source checkout has")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
