"""Whether saliency maps depend on what the model has learnt, and whether they are right."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.nn import functional as F

from persona_affect._device import resolve_device
from persona_affect._sklearn import safe_indexing

from ._aligned import AlignedModel
from ._saliency import (
    Baseline,
    Method,
    check_choice,
    explain_faces,
    integrate_gradients,
    make_baseline,
    occlude,
    pass_size,
    patch_side,
)


def check_saliency_weights(
    estimator: BaseEstimator,
    X: Any,
    target: str | int,
    *,
    method: Method = "integrated_gradients",
    baseline: Baseline = "grey",
    n_steps: int = 32,
    patch: float = 0.1,
    n_stages: int | None = None,
    device: str = "auto",
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Compare maps with those of the same network with random weights, layer after layer.

    The cascading randomisation of Adebayo et al.: the layer next to the output gets random weights,
    then the one before it too, and so on. A map that depends on the model changes.

    Parameters
    ----------
    estimator, X, target, method, baseline, n_steps, patch, device
        As for :func:`explain_faces`; the model must be one that
        :func:`persona_affect.estimators.make_face_network` takes.
    n_stages : int or None, default=None
        Compute maps at this many depths, from the first layer to all, or after each layer.
    random_state : int, RandomState instance or None, default=None
        Seed of the weights. Each tensor is drawn from a normal distribution with the mean and the
        standard deviation of its trained values.

    Returns
    -------
    DataFrame
        A row per stage: ``layers`` (how many are random), ``layer`` (name of the last of them),
        and the mean over faces of Spearman's rank correlation with the original map: of the signed
        maps (``rank_correlation``), which :class:`SaliencyDisplay` draws and which should be near
        0 once the layers of the prediction are random; and of their absolute values (``absolute``),
        which stays high: absolute maps of integrated gradients follow the picture whatever the
        weights are.

    Raises
    ------
    ValueError
        If `method`, `baseline` or `target` is unknown, if no sample has a face, or if the model has
        no torch network.
    MissingDependencyError
        If captum is not installed (extra ``inspect``).

    See Also
    --------
    explain_faces : Computes the maps.
    check_saliency_labels : Whether they depend on the labels.
    score_saliency : Whether they find the pixels that matter.

    References
    ----------
    Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim. Sanity Checks for Saliency Maps. NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect import JointAffectEstimator
    >>> from persona_affect.inspection import check_saliency_weights
    >>> faces = np.random.default_rng(0).integers(0, 256, (4, 112, 96, 3), np.uint8)
    >>> ratings = np.array([[3.0, 0.1], [4.0, 0.2], [5.0, 0.3], [4.0, 0.4]])
    >>> model = JointAffectEstimator(
    ...     "sphereface4", personality=["warm"], emotion=["happy"], max_epochs=1, random_state=0
    ... ).fit(faces, ratings)
    >>> table = check_saliency_weights(
    ...     model, faces[:1], "warm", method="occlusion", patch=0.5, n_stages=2, random_state=0
    ... )
    >>> list(table.columns)
    ['layers', 'layer', 'rank_correlation', 'absolute']
    """
    check_choice("method", method, ("integrated_gradients", "occlusion"))
    aligned = AlignedModel.split(estimator, X)
    column, (_, frames) = aligned.column(target), aligned.centre_frames()
    frames = frames.to(resolve_device(device))

    def explain(network: nn.Module) -> NDArray[np.float64]:
        if method == "occlusion":
            return occlude(network, frames, column, baseline, patch)
        return integrate_gradients(network, frames, column, baseline, n_steps)

    network = aligned.network(device)
    original = explain(network)
    stages = list(_randomize_cascade(network, check_random_state(random_state)))
    depths = np.arange(len(stages))
    if n_stages is not None:
        depths = np.unique(np.linspace(0, len(stages) - 1, n_stages).round().astype(int))
    rows = [
        {"layers": depth + 1, "layer": stages[depth][0]}
        | _compare(original, explain(_with_weights(network, stages[depth][1])), patch)
        for depth in depths
    ]
    return pd.DataFrame(rows)


def check_saliency_labels(
    estimator: BaseEstimator,
    X: Any,
    y: Any,
    target: str | int,
    *,
    X_explain: Any = None,
    random_state: int | np.random.RandomState | None = None,
    **settings: Any,
) -> pd.Series:
    """Compare maps of a model with those of one that was trained on permuted labels.

    Parameters
    ----------
    estimator : estimator
        Cloned and fitted twice.
    X, y
        What its `fit` takes: n_samples aligned faces or photos, and their ratings.
    target : str or int
        Name or column of a target.
    X_explain : samples, optional
        Explain these; `X` by default.
    random_state : int, RandomState instance or None, default=None
        Seed of the permutation.
    **settings
        Of :func:`explain_faces`.

    Returns
    -------
    Series
        ``rank_correlation`` and ``absolute``, as for :func:`check_saliency_weights`.

    Raises
    ------
    ValueError
        As for :func:`explain_faces`.
    MissingDependencyError
        If captum is not installed (extra ``inspect``).

    See Also
    --------
    explain_faces : Computes the maps.
    check_saliency_weights : Whether they depend on the weights.
    score_saliency : Whether they find the pixels that matter.

    References
    ----------
    Adebayo et al., Sanity Checks for Saliency Maps, section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> from persona_affect.inspection import check_saliency_labels
    >>> faces = np.random.default_rng(0).integers(0, 256, (9, 20, 20, 3), np.uint8)
    >>> mouths = FunctionTransformer(lambda X: X[..., 15:, 5:15, :].reshape(len(X), -1).mean(1))
    >>> column = FunctionTransformer(lambda means: means[:, None])
    >>> warm = mouths.transform(faces) / 100
    >>> model = make_pipeline(mouths, column, LinearRegression()).fit(faces, warm)
    >>> same = check_saliency_labels(
    ...     model, faces, warm, 0, method="occlusion", patch=0.25, random_state=0
    ... )
    >>> sorted(same.index), bool(same["rank_correlation"] < 1)
    (['absolute', 'rank_correlation'], True)
    """
    X_explain = X if X_explain is None else X_explain
    permuted = check_random_state(random_state).permutation(len(y))
    original, other = (
        explain_faces(clone(estimator).fit(X, labels), X_explain, target, **settings)
        for labels in (y, safe_indexing(y, permuted))
    )
    return pd.Series(_compare(original, other, settings.get("patch", 0.1)), dtype=float)


def score_saliency(
    estimator: BaseEstimator,
    X: Any,
    maps: NDArray[np.float64],
    target: str | int,
    *,
    baseline: Baseline = "grey",
    patch: float = 0.1,
    n_steps: int = 10,
    n_random: int = 3,
    device: str = "auto",
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Measure how the prediction changes when pixels are removed, or added, in the order of a map.

    Patches are replaced by the baseline, those that raise the prediction most first (deletion), or
    added to the baseline in the same order (insertion). The area under the curve is the mean
    prediction over the steps: a good map has a small area of deletion and a large one of insertion.

    Parameters
    ----------
    estimator, X, target
        As for :func:`explain_faces`; any model.
    maps : ndarray of shape (n_samples, height, width)
        From :func:`explain_faces`.
    baseline : {"grey", "blur"}, default="grey"
        As for :func:`explain_faces`.
    patch : float, default=0.1
        Side of a patch, as a fraction of the face's width.
    n_steps : int, default=10
        Steps from none to all of the patches.
    n_random : int, default=3
        Random orders to compare with; the same for all targets if `random_state` is an integer.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU if there is one.
    random_state : int, RandomState instance or None, default=None
        Seed of the random orders.

    Returns
    -------
    DataFrame
        A row per sample: ``deletion``, ``insertion``, ``random_deletion``, ``random_insertion``, in
        the units of the target, and how much better the map is than random orders:
        ``deletion_gain`` and ``insertion_gain``, positive if it is. NaN without a face.

    Raises
    ------
    ValueError
        If `baseline` or `target` is unknown, or if no sample has a face.

    See Also
    --------
    explain_faces : Computes the maps.
    check_saliency_weights : Whether they depend on the weights.
    check_saliency_labels : Whether they depend on the labels.

    References
    ----------
    Petsiuk, Das, Saenko. RISE: Randomized Input Sampling for Explanation. BMVC 2018. There the
    score is a probability, and can only be large or small; here it is a rating, of either sign.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> from persona_affect.inspection import explain_faces, score_saliency
    >>> faces = np.random.default_rng(0).integers(0, 256, (9, 20, 20, 3), np.uint8)
    >>> mouths = FunctionTransformer(lambda X: X[..., 15:, 5:15, :].reshape(len(X), -1).mean(1))
    >>> column = FunctionTransformer(lambda means: means[:, None])
    >>> warm = mouths.transform(faces) / 100
    >>> model = make_pipeline(mouths, column, LinearRegression()).fit(faces, warm)
    >>> maps = explain_faces(model, faces[:2], 0, method="occlusion", patch=0.25)
    >>> scores = score_saliency(model, faces[:2], maps, 0, patch=0.25, random_state=0)
    >>> bool((scores["deletion_gain"] > 0).all()), bool((scores["insertion_gain"] > 0).all())
    (True, True)
    """
    check_choice("baseline", baseline, ("grey", "blur"))
    aligned = AlignedModel.split(estimator, X)
    column, (present, frames) = aligned.column(target), aligned.centre_frames()
    rng, forward = check_random_state(random_state), aligned.forward(device)
    frames = frames.to(resolve_device(device))
    side = patch_side(frames, patch)
    rows = []
    for i, frame in zip(present, frames.split(1), strict=True):
        values = _pool(maps[i], side)
        orders = [_rank(-values), *(_rank(rng.uniform(size=values.shape)) for _ in range(n_random))]
        empty = make_baseline(frame, baseline)
        areas = [
            [
                _area(forward, start, end, order, side, n_steps, column)
                for start, end in ((frame, empty), (empty, frame))
            ]
            for order in orders
        ]
        own, chance = np.array(areas[0]), np.mean(areas[1:], axis=0)
        rows.append([*own, *chance, chance[0] - own[0], own[1] - chance[1]])
    columns = [
        f"{prefix}{kind}" for prefix in ("", "random_") for kind in ("deletion", "insertion")
    ]
    table = pd.DataFrame(rows, present, [*columns, "deletion_gain", "insertion_gain"])
    return table.reindex(range(len(aligned.faces)))


def _randomize_cascade(
    network: nn.Module, rng: np.random.RandomState
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the name of each layer with weights, from the output on, and all weights until it."""
    weights: dict[str, Tensor] = {}
    for name, layer in reversed(list(network.named_modules())):
        own = {key: w.detach() for key, w in layer.named_parameters(recurse=False)}
        for key, old in own.items():
            drawn = rng.standard_normal(tuple(old.shape))
            spread = float(old.std(correction=0))
            fresh = torch.from_numpy(drawn).to(old) * spread + old.mean()
            weights[f"{name}.{key}".lstrip(".")] = fresh
        if own:
            yield name, dict(weights)


def _with_weights(network: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    changed = copy.deepcopy(network)
    changed.load_state_dict(weights, strict=False)
    return changed


def _compare(
    original: NDArray[np.float64], other: NDArray[np.float64], patch: float
) -> dict[str, float]:
    """Average the rank correlations of two sets of maps, over faces; maps are compared by patch."""
    side = max(1, round(patch * original.shape[2]))
    kept = ~np.isnan(original).any((1, 2)) & ~np.isnan(other).any((1, 2))
    pairs = [
        (_pool(a, side), _pool(b, side)) for a, b in zip(original[kept], other[kept], strict=True)
    ]
    signed = [_rank_correlation(a, b) for a, b in pairs]
    absolute = [_rank_correlation(abs(a), abs(b)) for a, b in pairs]
    return {"rank_correlation": float(np.mean(signed)), "absolute": float(np.mean(absolute))}


def _rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    # A map that is the same everywhere agrees with nothing.
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(a.ravel(), b.ravel()).statistic)


def _pool(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Sum a map over patches, as many as cover it."""
    tensor = torch.from_numpy(np.asarray(values, float))[None, None]
    height, width = tensor.shape[2:]
    padded = F.pad(tensor, (0, -width % side, 0, -height % side))
    pooled: NDArray[np.float64] = F.avg_pool2d(padded, side)[0, 0].numpy() * side**2
    return pooled


def _rank(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the place of each value in rising order, in the shape of the values."""
    ranks = np.empty(values.size, dtype=np.intp)
    ranks[np.argsort(values, axis=None, kind="stable")] = np.arange(values.size)
    return ranks.reshape(values.shape)


def _area(
    forward: Any,
    start: Tensor,
    end: Tensor,
    order: NDArray[np.intp],
    side: int,
    n_steps: int,
    column: int,
) -> float:
    """Average the predictions while patches of `start` are replaced by those of `end`."""
    _, height, width, _ = start.shape
    places = torch.from_numpy(order.repeat(side, 0).repeat(side, 1)[:height, :width])
    places = places.to(start.device)
    counts = np.linspace(0, order.size, n_steps + 1)
    frames = [torch.where((places < count)[None, :, :, None], end, start) for count in counts]
    with torch.no_grad():
        values = torch.cat(
            [forward(part)[:, column] for part in torch.cat(frames).split(pass_size(start))]
        )
    # The trapezoidal rule: the ends count half.
    return float(torch.trapezoid(values.double()) / n_steps)
