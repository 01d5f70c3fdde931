"""Which pixels of a face a prediction depends on, by captum."""

from collections.abc import Callable
from typing import Any, Final, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor

from persona_affect._device import resolve_device
from persona_affect._optional import import_optional

from ._aligned import AlignedModel

Method = Literal["integrated_gradients", "occlusion"]
Baseline = Literal["grey", "blur"]
Forward = Callable[[Tensor], Tensor]

#: Width of the Gaussian that removes the features of a face, as a share of its side.
_BLUR: Final = 0.08


def explain_faces(
    estimator: BaseEstimator,
    X: Any,
    target: str | int,
    *,
    method: Method = "integrated_gradients",
    baseline: Baseline = "grey",
    n_steps: int = 32,
    patch: float = 0.1,
    device: str = "auto",
) -> NDArray[np.float64]:
    """Compute how much each pixel of a face adds to a prediction.

    A map says which pixels the *model* uses. It does not say what a face means, and not what raters
    look at. Check maps with :func:`check_saliency_weights`, :func:`check_saliency_labels` and
    :func:`score_saliency` before you believe them.

    Parameters
    ----------
    estimator : fitted estimator
        A pipeline that begins with a `FaceAligner`, or a model of aligned faces. Integrated
        gradients need one that :func:`persona_affect.estimators.make_face_network` takes;
        occlusion takes any.
    X : samples
        What its `predict` takes. The centre frame of a clip is explained.
    target : str or int
        Name or column of a target.
    method : {"integrated_gradients", "occlusion"}, default="integrated_gradients"
        Gradients summed along a straight line from the baseline to the face; or the change of the
        prediction when a patch is replaced by the baseline.
    baseline : {"grey", "blur"}, default="grey"
        A picture without the information: grey of 128, or the face strongly blurred.
    n_steps : int, default=32
        Points on the line, for integrated gradients.
    patch : float, default=0.1
        Side of a patch, as a fraction of the face's width, for occlusion.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU if there is one.

    Returns
    -------
    ndarray of shape (n_samples, height, width)
        In the units of the target; positive where a pixel raises the prediction. The sum over
        pixels is the prediction less that of the baseline, for integrated gradients up to the error
        of the steps. NaN for a sample without a face.

    Raises
    ------
    ValueError
        If `method`, `baseline` or `target` is unknown, or if no sample has a face.
    MissingDependencyError
        If captum is not installed (extra ``inspect``).

    See Also
    --------
    SaliencyDisplay : Draws the maps.
    check_saliency_weights : Whether they depend on the weights.
    check_saliency_labels : Whether they depend on the labels.
    score_saliency : Whether they find the pixels that matter.

    References
    ----------
    Sundararajan, Taly, Yan. Axiomatic Attribution for Deep Networks. ICML 2017.
    Zeiler, Fergus. Visualizing and Understanding Convolutional Networks. ECCV 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> from persona_affect.inspection import explain_faces
    >>> faces = np.random.default_rng(0).integers(0, 256, (9, 20, 20, 3), np.uint8)
    >>> mouths = FunctionTransformer(lambda X: X[..., 15:, 5:15, :].reshape(len(X), -1).mean(1))
    >>> column = FunctionTransformer(lambda means: means[:, None])
    >>> warm = mouths.transform(faces) / 100
    >>> model = make_pipeline(mouths, column, LinearRegression()).fit(faces, warm)
    >>> maps = explain_faces(model, faces[:2], 0, method="occlusion", patch=0.25)
    >>> maps.shape, bool(abs(maps[:, :15]).max() < 1e-9)
    ((2, 20, 20), True)
    """
    check_choice("method", method, ("integrated_gradients", "occlusion"))
    check_choice("baseline", baseline, ("grey", "blur"))
    aligned = AlignedModel.split(estimator, X)
    column = aligned.column(target)
    present, frames = aligned.centre_frames()
    frames = frames.to(resolve_device(device))
    if method == "occlusion":
        found = occlude(aligned.forward(device), frames, column, baseline, patch)
    else:
        found = integrate_gradients(aligned.network(device), frames, column, baseline, n_steps)
    maps = np.full((len(aligned.faces), *frames.shape[1:3]), np.nan)
    maps[present] = found
    return maps


def integrate_gradients(
    network: Forward, frames: Tensor, column: int, baseline: Baseline, n_steps: int
) -> NDArray[np.float64]:
    """Integrate gradients of one output of a network for (n, H, W, 3) frames: (n, H, W)."""
    method = _captum().IntegratedGradients(network)
    maps = [
        method.attribute(
            frame,
            make_baseline(frame, baseline),
            target=column,
            n_steps=n_steps,
            internal_batch_size=pass_size(frames),
        )
        for frame in frames.split(1)
    ]
    return _sum_colours(torch.cat(maps))


def occlude(
    network: Forward, frames: Tensor, column: int, baseline: Baseline, patch: float
) -> NDArray[np.float64]:
    """Measure the change of one output when patches of (n, H, W, 3) frames are removed: (n, H, W).

    The change of a patch is shared equally by its pixels.
    """
    side = patch_side(frames, patch)
    method = _captum().Occlusion(network)
    with torch.no_grad():
        maps = [
            method.attribute(
                frame,
                (side, side, 3),
                strides=(side, side, 3),
                baselines=make_baseline(frame, baseline),
                target=column,
                perturbations_per_eval=pass_size(frames),
            )
            for frame in frames.split(1)
        ]
    # captum gives each value of a patch the whole change; at the far edges patches are smaller.
    sizes = [np.minimum(side, n - np.arange(n) // side * side) for n in frames.shape[1:3]]
    return _sum_colours(torch.cat(maps)) / (3 * np.outer(*sizes))


def pass_size(frames: Tensor) -> int:
    """Choose how many frames pass a network together."""
    # On a CPU, the maps of more do not fit into the caches.
    return 8 if frames.device.type == "cpu" else 128


def make_baseline(frames: Tensor, baseline: Baseline) -> Tensor:
    """Make pictures without information, of the shape of (n, H, W, 3) frames."""
    if baseline == "grey":
        return torch.full_like(frames, 128.0)
    sigma = _BLUR * frames.shape[2]
    blurred = [cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames.cpu().numpy()]
    return torch.from_numpy(np.stack(blurred)).to(frames)


def patch_side(frames: Tensor, patch: float) -> int:
    """Return the side of a patch in pixels."""
    if not 0 < patch <= 1:
        raise ValueError(f"patch={patch!r} must be in (0, 1], a fraction of the face's width.")
    return max(1, round(patch * frames.shape[2]))


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless a value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} must be one of {list(choices)}.")


def _captum() -> Any:
    return import_optional("captum.attr", extra="inspect", purpose="Saliency")


def _sum_colours(maps: Tensor) -> NDArray[np.float64]:
    summed: NDArray[np.float64] = maps.detach().double().sum(-1).cpu().numpy()
    return summed
