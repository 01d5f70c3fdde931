"""The two halves of a model: the aligner, and what predicts from aligned faces."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from persona_affect._device import resolve_device
from persona_affect._sklearn import final_step
from persona_affect.estimators import make_face_network
from persona_affect.faces import TEMPLATES, FaceAligner


def unwrap(estimator: BaseEstimator) -> BaseEstimator:
    """Return the model inside of one that adds intervals, as `ConformalAffect` does."""
    has_intervals = hasattr(estimator, "predict_interval")
    return getattr(estimator, "estimator_", estimator) if has_intervals else estimator


@dataclass(frozen=True, eq=False)
class AlignedModel:
    """A fitted model of aligned faces, with the faces of some samples.

    Attributes
    ----------
    model : estimator
        What follows the aligner.
    faces : ndarray of n_samples face clips
    template, margin : str and float
        Of the aligner; None without one.
    """

    model: BaseEstimator
    faces: Any
    template: str | None = None
    margin: float = 0.0

    @property
    def landmarks(self) -> NDArray[np.float32] | None:
        """Where the landmarks of aligned faces lie, (5, 2); None without an aligner."""
        return None if self.template is None else TEMPLATES[self.template].points(self.margin)

    @classmethod
    def split(cls, estimator: BaseEstimator, X: Any) -> "AlignedModel":
        """Align the samples, if the model begins with an aligner."""
        estimator = unwrap(estimator)
        if isinstance(estimator, Pipeline) and isinstance(estimator[0], FaceAligner):
            aligner = estimator[0]
            return cls(estimator[1:], aligner.transform(X), aligner.template, aligner.margin)
        return cls(estimator, X[:, None] if isinstance(X, np.ndarray) and X.ndim == 4 else X)

    def network(self, device: str) -> nn.Module:
        """Return what predicts as a torch module of its own, on a device."""
        return copy.deepcopy(make_face_network(self.model)).to(resolve_device(device))

    def centre_frames(self) -> tuple[NDArray[np.intp], Tensor]:
        """Return which samples have a face, and the centre frame of each of these, (n, H, W, 3)."""
        present = np.array([i for i, clip in enumerate(self.faces) if len(clip)], dtype=np.intp)
        if not len(present):
            raise ValueError("No sample has a face.")
        frames = np.stack([self.faces[i][len(self.faces[i]) // 2] for i in present])
        return present, torch.from_numpy(frames).float()

    def forward(self, device: str) -> Callable[[Tensor], Tensor]:
        """Return the model as a function of frames: as a torch module if it can be one."""
        try:
            return self.network(device)
        except ValueError:
            # Without gradients, any model is a function of pixels.
            return self._predict

    def _predict(self, frames: Tensor) -> Tensor:
        pixels = frames.cpu().round().clamp(0, 255).to(torch.uint8).numpy()
        return torch.from_numpy(np.reshape(self.model.predict(pixels), (len(frames), -1)))

    def column(self, target: str | int) -> int:
        """Return the column of a target.

        Raises
        ------
        ValueError
            If the model has no target of this name.
        """
        names = list(getattr(final_step(self.model), "target_names_", []))
        if isinstance(target, int):
            return target
        if target not in names:
            raise ValueError(f"target={target!r} is none of {names}; give a name or a column.")
        return names.index(target)
