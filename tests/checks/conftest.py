"""Estimators of faces, and small data for each, on which every check of this folder runs.

A check is a test function with an argument `case`: it runs once for every case, or for those that
its ``@pytest.mark.cases(...)`` names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import make_pipeline
from torch import nn

from persona_affect import ConformalAffect, FaceAligner, FaceEmbedder, JointAffectEstimator
from persona_affect.datasets import make_affect_faces
from persona_affect.networks import Backbone


class TinyBackbone(Backbone):
    """A feature extractor that costs nothing: one convolution on faces of 8 x 6 pixels."""

    input_size = (8, 6)
    n_features = 5

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv((frames.permute(0, 3, 1, 2).float() - 127.5) / 64)).mean((2, 3))


def fixed_backbone() -> TinyBackbone:
    """The same weights at each call: a stand-in for pretrained ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TinyBackbone()


def make_clips(rng: np.random.Generator, lengths: list[int]) -> np.ndarray:
    clips = np.empty(len(lengths), dtype=object)
    for i, length in enumerate(lengths):
        clips[i] = rng.integers(0, 256, (length, 8, 6, 3), dtype=np.uint8)
    return clips


def make_labels(rng: np.random.Generator, n: int) -> np.ndarray:
    """Seven targets; the first half rated on personality, the second on emotion, one on both."""
    y = np.column_stack([rng.uniform(0, 1, (n, 5)), rng.uniform(-1, 1, (n, 2))])
    y[: n // 2, 5:] = np.nan
    y[n // 2 + 1 :, :5] = np.nan
    return y


@dataclass(frozen=True)
class Case:
    """An estimator with its data; `run` is what it gives for samples, as a list of arrays."""

    estimator: BaseEstimator
    X: Any
    y: Any

    def __repr__(self) -> str:
        # hypothesis would print the fields, pixels and all.
        return f"Case({self.estimator!r})"

    def fit(self, X: Any = None, y: Any = None) -> BaseEstimator:
        X, y = (self.X, self.y) if X is None else (X, y)
        return clone(self.estimator).fit(X, y)

    def run(self, fitted: BaseEstimator, X: Any = None) -> list[np.ndarray]:
        method = fitted.predict if hasattr(fitted, "predict") else fitted.transform
        return list(method(self.X if X is None else X))


def _joint(**settings: Any) -> JointAffectEstimator:
    return JointAffectEstimator(
        TinyBackbone, max_epochs=2, batch_size=4, random_state=0, device="cpu", **settings
    )


def _embedder() -> FaceEmbedder:
    return FaceEmbedder(fixed_backbone, weights=None, device="cpu")


def _cases() -> dict[str, Callable[[], Case]]:
    rng = np.random.default_rng(0)
    clips, y = make_clips(rng, [1, 3, 5, 2, 4, 1, 7, 2, 3, 1]), make_labels(rng, 10)
    embeddings = rng.normal(size=(10, 4)).astype(np.float32)
    drawn = make_affect_faces(3, halves="personality", random_state=0).data
    photos = [drawn[0], drawn[1][8:], np.full((60, 40, 3), 99, np.uint8), drawn[2]]
    return {
        "joint": lambda: Case(_joint(), clips, y),
        "joint-stopping": lambda: Case(
            _joint(early_stopping=True, validation_fraction=0.4), clips, y
        ),
        "joint-embeddings": lambda: Case(_joint(adapter_rank=2), embeddings, y),
        "embedder": lambda: Case(_embedder(), clips, None),
        "pipeline": lambda: Case(make_pipeline(_embedder(), _joint()), clips, y),
        "conformal": lambda: Case(
            ConformalAffect(make_pipeline(_embedder(), _joint()), cv=2),
            make_clips(np.random.default_rng(1), [1, 2] * 8),
            make_labels(np.random.default_rng(1), 16),
        ),
        "aligner": lambda: Case(FaceAligner(), photos, None),
    }


_CASES = _cases()


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """What the cases are made of, for checks that need other data or settings."""
    return SimpleNamespace(
        clips=make_clips, labels=make_labels, joint=_joint, embedder=_embedder, cases=_CASES
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cases(*names): the cases that a check runs on")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("cases")
        names = list(marker.args if marker else _CASES)
        metafunc.parametrize("case", [_CASES[name]() for name in names], ids=names)
