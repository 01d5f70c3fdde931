"""A whole fitted pipeline as one torch module: from the pixels of aligned faces to targets."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn


def make_face_network(model: BaseEstimator) -> nn.Module:
    """Make the torch module of a fitted model, to take gradients or to export it.

    The module shares the weights of the model: do not train it. It computes what `predict` and
    `transform` compute, by the same functions.

    Parameters
    ----------
    model : estimator
        Fitted: a `JointAffectEstimator`, `FaceEmbedder`, `KernelFeatures` or `NuisanceShrinkage`; a
        `StandardScaler`, a `PCA` or a linear model of scikit-learn; or a `Pipeline` or
        `FeatureUnion` of them. It must take aligned faces or embeddings: leave out a `FaceAligner`,
        with ``model[1:]``.

    Returns
    -------
    torch.nn.Module
        Maps (n_faces, height, width, 3), RGB of 0 to 255, uint8 or floating, to
        (n_faces, n_targets) in the units of `y`, or to features; or embeddings
        (n_faces, n_features) to the same. On the devices of the fitted networks: the CPU, unless
        the model was fitted on a GPU.

    Raises
    ------
    ValueError
        If a step is of another kind; the message names it.

    Examples
    --------
    >>> import torch
    >>> from persona_affect import load_model
    >>> from persona_affect.estimators import make_face_network
    >>> network = make_face_network(load_model()[1:])
    >>> faces = torch.full((1, 150, 150, 3), 128.0, requires_grad=True)
    >>> network(faces).shape
    torch.Size([1, 7])
    """
    return _convert(model).eval()


class _Union(nn.Module):
    """The features of several modules, each times its weight, side by side."""

    def __init__(self, parts: list[nn.Module], weights: list[float | None]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.weights = weights

    def forward(self, X: Tensor) -> Tensor:
        features = [part(X) for part in self.parts]
        pairs = zip(features, self.weights, strict=True)
        return torch.cat([f if weight is None else f * weight for f, weight in pairs], dim=1)


class _Linear(nn.Linear):
    """A linear layer with given weights, in the precision of its input."""

    def __init__(self, weight: Any, bias: Any) -> None:
        weight = np.atleast_2d(np.asarray(weight))
        super().__init__(weight.shape[1], weight.shape[0])
        bias = np.broadcast_to(np.asarray(bias, weight.dtype), len(weight)).copy()
        self.weight = nn.Parameter(torch.from_numpy(weight.copy()), requires_grad=False)
        self.bias = nn.Parameter(torch.from_numpy(bias), requires_grad=False)

    def forward(self, X: Tensor) -> Tensor:
        return super().forward(X.to(self.weight.dtype))


def _from_scaler(step: StandardScaler) -> nn.Module:
    scale = np.ones(step.n_features_in_) if step.scale_ is None else step.scale_
    mean = np.zeros(step.n_features_in_) if step.mean_ is None else step.mean_
    return _Linear(np.diag(1 / scale), -mean / scale)


def _from_pca(step: PCA) -> nn.Module:
    weight = step.components_
    if step.whiten:
        weight = weight / np.sqrt(step.explained_variance_)[:, None]
    return _Linear(weight, -weight @ step.mean_)


_SCIKIT_LEARN: Final[dict[type, Callable[[Any], nn.Module]]] = {
    StandardScaler: _from_scaler,
    PCA: _from_pca,
}


def _convert(step: Any) -> nn.Module:
    if step == "passthrough":
        return nn.Identity()
    if isinstance(step, Pipeline):
        return nn.Sequential(*(_convert(inner) for _, inner in step.steps))
    if isinstance(step, FeatureUnion):
        weights = step.transformer_weights or {}
        parts = [(n, part) for n, part in step.transformer_list if not _is_dropped(part)]
        return _Union([_convert(part) for _, part in parts], [weights.get(n) for n, _ in parts])
    if hasattr(step, "_as_module"):
        module: nn.Module = step._as_module()
        return module
    check_is_fitted(step)
    for kind, convert in _SCIKIT_LEARN.items():
        if isinstance(step, kind):
            return convert(step)
    if hasattr(step, "coef_") and hasattr(step, "intercept_"):
        return _Linear(step.coef_, step.intercept_)
    raise ValueError(
        f"{type(step).__name__} has no torch module: a face network is made of FaceEmbedder, "
        "KernelFeatures, NuisanceShrinkage, JointAffectEstimator, StandardScaler, PCA and linear "
        "models. If it is a FaceAligner, leave it out: model[1:]."
    )


def _is_dropped(part: Any) -> bool:
    return isinstance(part, str) and part == "drop"
