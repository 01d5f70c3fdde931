"""Load damaged and hostile model files, and count how they end.

    python benchmarks/attacks/model_files.py --files 500

Makes small models, damages their bytes, and forges their descriptions and tensors with checksums
that fit. Prints by kind how many files were refused by a named error, loaded as harmless variants,
or failed otherwise; and how often loading started a program, unpickled, compiled, connected or
wrote. Ends with exit code 1 if a number that should be zero is not.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

from persona_affect import (
    FaceAligner,
    JointAffectEstimator,
    KernelFeatures,
    RAMRegressor,
    load_model,
    save_model,
)
from persona_affect.exceptions import PersonaAffectError
from persona_affect.persistence._files import _digest

#: What Python reports to audit hooks when code is run, found in a pickle, or reaches outside.
WATCHED = (
    *("compile", "exec", "pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork"),
    *("subprocess.Popen", "socket.connect", "ctypes.dlopen", "os.mkdir", "os.remove", "os.rename"),
)


class Payload:
    """A pickle that makes a folder if somebody opens it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def nest(node: Any, depth: int) -> Any:
    """Put a description into pipelines in pipelines."""
    for _ in range(depth):
        node = {"class": "Pipeline", "steps": [["step", node]]}
    return node


#: What a forged description may contain in place of anything.
VALUES: list[Any] = [
    None,
    "\x1b]0;owned\x07",
    "os:system",
    "__import__('os').system('id')",
    "../../../etc/passwd",
    "cuda",
    "nonsense",
    10**8,
    10**40,
    -1,
    1e300,
    float("nan"),
    float("inf"),
    [],
    {},
    [[]] * 1000,
    ["a"] * 100_000,
    {"class": "Pipeline", "steps": []},
    nest({"class": "RAMRegressor"}, 200),
    nest({"class": "RAMRegressor"}, 3),
    True,
]


def read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the description and the tensors of a model file."""
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        return json.loads(file.metadata()["persona_affect"]), {
            name: file.get_tensor(name).clone() for name in names
        }


def write(path: Path, description: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Write a model file whose checksum fits."""
    text = json.dumps(description)
    header = {"persona_affect": text, "sha256": _digest(text, tensors)}
    save_file(tensors, path, metadata=header)


def damage(content: bytes, rng: random.Random) -> bytes:
    """Cut, flip, overwrite, drop or repeat bytes."""
    at, n = rng.randrange(len(content)), rng.randint(1, 200)
    part = content[at : at + n]
    return rng.choice(
        [
            content[:at],
            content[:at] + bytes([content[at] ^ rng.randint(1, 255)]) + content[at + 1 :],
            content[:at] + rng.randbytes(n) + content[at + n :],
            content[:at] + content[at + n :],
            content[:at] + part * 2 + content[at + n :],
        ]
    )


def forge_description(node: Any, rng: random.Random) -> Any:
    """Replace, remove or add one value somewhere in a JSON tree."""
    if not isinstance(node, dict | list) or not node or rng.random() < 0.2:
        return rng.choice(VALUES)
    copy: Any = node.copy()
    key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
    choice = rng.random()
    if choice < 0.1:
        del copy[key]
    elif choice < 0.2 and isinstance(node, dict):
        name = rng.choice(["checkpoint", "cache", "weights", "device", "n_frames", "callbacks"])
        copy[name] = rng.choice(VALUES)
    else:
        copy[key] = forge_description(node[key], rng)
    return copy


def forge_tensors(tensors: dict[str, torch.Tensor], rng: random.Random) -> dict[str, torch.Tensor]:
    """Change the numbers, the type, the size or the name of one tensor."""
    copy = {name: tensor.clone() for name, tensor in tensors.items()}
    name = rng.choice(list(copy))
    tensor = copy[name]
    others = (torch.float16, torch.float64, torch.int64, torch.bool, torch.bfloat16, torch.uint8)
    kind = rng.randrange(6)
    if kind == 0:
        copy[name] = torch.full(tensor.shape, rng.choice([float("nan"), float("inf")]))
    elif kind == 1:
        copy[name] = tensor.to(rng.choice(others))
    elif kind == 2:
        copy[name] = torch.zeros(rng.choice([(0,), (), (1, 2, 3), (10_000,)]))
    elif kind == 3:
        copy["evil"] = torch.zeros(3)
    elif kind == 4:
        del copy[name]
    else:
        copy[name[: rng.randint(1, len(name))]] = copy.pop(name)
    return copy


def make_models() -> list[tuple[BaseEstimator, Any]]:
    """Fit small models, each with samples that it takes."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 5)), rng.uniform(size=(20, 7))
    joint = JointAffectEstimator(adapter_rank=2, max_epochs=1, random_state=0)
    kernel = KernelFeatures(3, random_state=0)
    photos = rng.integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    return [
        (RAMRegressor(max_epochs=2, random_state=0).fit(X, y), X),
        (make_pipeline(kernel, joint).fit(X, y), X),
        (FaceAligner(n_frames=2).fit(photos), photos),
    ]


class Watch:
    """Counts what loading must never do."""

    def __init__(self) -> None:
        self.on = False
        self.counts: Counter[str] = Counter()
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        writes = (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        )
        if event in WATCHED or writes:
            self.counts[event] += 1


def load(path: Path, X: Any, watch: Watch) -> str:
    """Load a file and use the model; return how it ended."""
    watch.on = True
    try:
        model = load_model(path)
    except PersonaAffectError:
        return "refused by name"
    except Exception as error:
        print(f"  {type(error).__name__}: {error}"[:200])
        return "failed otherwise"
    finally:
        watch.on = False
    try:
        (model.predict if hasattr(model, "predict") else model.transform)(X)
    except (PersonaAffectError, ValueError):
        return "loaded, refuses samples"
    except Exception as error:
        print(f"  in use: {type(error).__name__}: {error}"[:200])
        return "failed otherwise"
    return "loaded"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=500, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, watch = random.Random(args.seed), Watch()
    warnings.simplefilter("ignore")
    ends: dict[str, Counter[str]] = {}
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, executed = folder / "model", folder / "executed"
        sources = []
        for model, X in make_models():
            save_model(model, path)
            load(path, X, Watch())  # imports what loading needs
            sources.append((path.read_bytes(), *read(path), X))
        for kind in ("damaged bytes", "forged descriptions", "forged tensors", "pickles"):
            ends[kind] = Counter()
            for i in range(args.files):
                content, description, tensors, X = sources[i % len(sources)]
                if kind == "damaged bytes":
                    path.write_bytes(damage(content, rng))
                elif kind == "forged descriptions":
                    write(path, forge_description(description, rng), tensors)
                elif kind == "forged tensors":
                    if not tensors:  # an aligner has none
                        _, description, tensors, X = sources[0]
                    write(path, description, forge_tensors(tensors, rng))
                else:
                    buffer = io.BytesIO()
                    rng.choice([pickle.dump, joblib.dump, torch.save])(Payload(executed), buffer)
                    path.write_bytes(buffer.getvalue())
                start = time.perf_counter()
                ends[kind][load(path, X, watch)] += 1
                slowest = max(slowest, time.perf_counter() - start)
        ran = sum(watch.counts.values()) + executed.exists()
    for kind, counts in ends.items():
        print(f"{kind}: {', '.join(f'{n} {end}' for end, n in counts.most_common())}")
    what = f" {dict(watch.counts)}" if watch.counts else ""
    print(f"code run, pickles opened, files written: {ran}{what}; slowest file: {slowest:.1f} s")
    loaded = ends["pickles"].keys() | ends["damaged bytes"].keys()
    failed = sum(counts["failed otherwise"] for counts in ends.values())
    return int(bool(ran or failed or loaded != {"refused by name"}))


if __name__ == "__main__":
    sys.exit(main())
