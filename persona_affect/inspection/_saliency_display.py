"""Saliency maps as plots."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from ._aligned import AlignedModel
from ._display import NotebookDisplay
from ._reference import new_axes
from ._saliency import Baseline, Method, explain_faces

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class SaliencyDisplay(NotebookDisplay):
    """What a model looks at to predict a target: a map of one face, or the mean of many.

    Aligned faces have their landmarks at the same pixels, so that maps of different faces can be
    averaged. A map describes the model. It is no statement about faces or about raters.

    Maps are signed: red pixels raise the prediction, blue pixels lower it. Only the signed maps
    pass the sanity checks of Adebayo et al. [1]_. Absolute maps follow the picture: those of a
    network with random weights are much the same, so that they are not drawn here.

    Parameters
    ----------
    maps : ndarray of shape (n_samples, height, width)
        From :func:`explain_faces`; NaN for samples without a face.
    faces : ndarray of shape (n_samples, height, width, 3), or a sequence of such pictures
        Aligned faces, uint8 or floating of 0 to 255; any picture for samples without a face.
    target : str
        Name of the target, for the title.
    landmarks : ndarray of shape (5, 2), optional
        Drawn as points.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    image_ : matplotlib.image.AxesImage
        The map.

    See Also
    --------
    explain_faces : Computes the maps.
    check_saliency_weights, check_saliency_labels : Whether maps depend on what was learnt.
    score_saliency : Whether predictions change where maps say so.

    References
    ----------
    .. [1] Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim. "Sanity Checks for Saliency Maps",
       NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.inspection import SaliencyDisplay
    >>> maps, faces = np.zeros((2, 4, 4)), np.full((2, 4, 4, 3), 128, np.uint8)
    >>> maps[:, 1, 2] = [1.0, 3.0]
    >>> display = SaliencyDisplay(maps, faces, target="happy").plot(smoothing=0)
    >>> float(display.image_.get_array()[1, 2])
    2.0
    """

    def __init__(
        self,
        maps: NDArray[np.float64],
        faces: Sequence[NDArray[Any]],
        *,
        target: str,
        landmarks: NDArray[np.floating] | None = None,
    ) -> None:
        self.maps = maps
        self.faces = faces
        self.target = target
        self.landmarks = landmarks

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        X: Any,
        target: str | int,
        *,
        method: Method = "integrated_gradients",
        baseline: Baseline = "grey",
        n_steps: int = 32,
        patch: float = 0.1,
        device: str = "auto",
        sample: int | None = None,
        ax: "Axes | None" = None,
    ) -> Self:
        """Compute maps, and plot their mean, or the map of one sample.

        Parameters
        ----------
        estimator, X, target, method, baseline, n_steps, patch, device
            As for :func:`explain_faces`.
        sample, ax
            As for :meth:`plot`.

        Returns
        -------
        SaliencyDisplay
        """
        aligned = AlignedModel.split(estimator, X)
        maps = explain_faces(
            aligned.model,
            aligned.faces,
            target,
            method=method,
            baseline=baseline,
            n_steps=n_steps,
            patch=patch,
            device=device,
        )
        present, frames = aligned.centre_frames()
        faces = np.zeros((*maps.shape, 3))
        faces[present] = frames
        display = cls(maps, list(faces), target=str(target), landmarks=aligned.landmarks)
        return display.plot(ax=ax, sample=sample)

    def mean_map(self) -> NDArray[np.float64]:
        """Average the maps of all samples with a face.

        Returns
        -------
        ndarray of shape (height, width)
            Signed. What raises the prediction of one face and lowers that of another cancels.
        """
        mean: NDArray[np.float64] = np.nanmean(self.maps, axis=0)
        return mean

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        sample: int | None = None,
        smoothing: float = 0.02,
    ) -> Self:
        """Draw a map over a face.

        Parameters
        ----------
        ax : matplotlib axes, optional
            A new figure by default.
        sample : int, optional
            The map of this sample over its face; by default the mean map over the mean face.
        smoothing : float, default=0.02
            Width of a Gaussian that smooths the map, as a fraction of the face's width.

        Returns
        -------
        SaliencyDisplay
            Itself.

        Raises
        ------
        ValueError
            If the sample, or every sample, has no face.
        """
        present = np.asarray(np.isfinite(self.maps).all(axis=(1, 2)))
        shown = np.flatnonzero(present) if sample is None else np.array([sample])
        if not len(shown) or not present[shown].all():
            raise ValueError("There is no map to plot: no face was found.")
        drawn = self.maps[shown].mean(axis=0)
        if smoothing > 0:
            drawn = cv2.GaussianBlur(drawn, (0, 0), smoothing * drawn.shape[1])
        grey = np.mean([np.asarray(self.faces[i], float).mean(axis=-1) for i in shown], axis=0)
        ax = new_axes() if ax is None else ax
        limit = float(abs(drawn).max()) or 1.0
        ax.imshow(grey, cmap="gray", vmin=0, vmax=255)
        self.image_ = ax.imshow(
            drawn,
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            # Where the map is weak, the face stays visible.
            alpha=np.clip(abs(drawn) / limit, 0, 1) ** 0.5 * 0.85,
        )
        if self.landmarks is not None:
            ax.plot(*np.asarray(self.landmarks).T, ".", color="black", markersize=3)
        if sample is not None:
            what = "sample"
        else:
            what = "one face" if len(shown) == 1 else f"mean of {len(shown)} faces"
        ax.set(xticks=[], yticks=[], title=f"{self.target}: {what}")
        self.ax_ = ax
        self.figure_ = ax.figure
        return self
