"""Faces as embeddings, by a feature extractor alone."""

from collections.abc import Callable
from numbers import Integral
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from persona_affect._device import network_on, resolve_device
from persona_affect._sklearn import Interval, fit_context
from persona_affect.networks import Backbone

from ._backbone_params import BACKBONE_CONSTRAINT, BackboneParams
from ._clips import check_face_clips
from ._inference import pass_size, pool_frames, run_frames
from ._state import Facts, Tensors, add_prefix, fill_network, take


class FaceEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BackboneParams):
    """Turn face clips into embeddings with a pretrained feature extractor (FEM).

    In the cached part of a pipeline it leaves a search over the heads' settings nothing to do but
    the heads.

    Parameters
    ----------
    backbone : str or callable, default="resnet29"
        A name in :data:`persona_affect.networks.BACKBONES`, such as ``"resnet29"``,
        ``"faceapi_expression"`` or ``"faceapi_age_gender"``, or a function that returns a
        :class:`persona_affect.networks.Backbone`. Align faces to its template:
        ``FaceAligner(template=get_backbone_spec("resnet29").template)``.
    weights : path-like or "pretrained", default="pretrained"
        ``"pretrained"`` takes the weights of the ResNet29 from the extra ``pretrained``, and those
        of face-api's networks from this package; a SphereFace needs a path, a function None.
    backbone_params : dict, default=None
        Options of the backbone. ``{"levels": "stage128"}`` takes earlier maps of the ResNet29,
        which keep more of what a face expresses; ``{"crops": (1.0, 0.7)}`` concatenates what the
        ResNet29 or face-api's networks see of central squares, given as shares of the face's side.
        See the network's class, such as :class:`persona_affect.networks.ResNet29`. In a search,
        ``backbone__levels`` sets one option.
    mirror : bool, default=True
        Average the embeddings of each face and of its mirror image.
    n_segments : int or None, default=3
        Average over the centre frames of that many segments of a clip; None for all frames.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU where there is one.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    network_ : persona_affect.networks.Backbone
        The feature extractor, on the CPU: it is pickled, and loads anywhere. Where another device
        computes, a copy of it does.

    Examples
    --------
    >>> from sklearn.linear_model import RidgeCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from persona_affect import FaceAligner, FaceEmbedder
    >>> aligner = FaceAligner(template="resnet29")
    >>> embedder = FaceEmbedder(backbone_params={"levels": "stage128"})
    >>> model = make_pipeline(aligner, embedder, RidgeCV())
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "backbone": BACKBONE_CONSTRAINT,
        "weights": [str, PathLike, None],
        "backbone_params": [dict, None],
        "mirror": ["boolean"],
        "n_segments": [Interval(Integral, 1, None, closed="left"), None],
        "device": [str],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone: str | Callable[..., Backbone] = "resnet29",
        *,
        weights: str | PathLike[str] | None = "pretrained",
        backbone_params: dict[str, Any] | None = None,
        mirror: bool = True,
        n_segments: int | None = 3,
        device: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.backbone_params = backbone_params
        self.mirror = mirror
        self.n_segments = n_segments
        self.device = device
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Build the feature extractor; nothing is learnt from `X`.

        Parameters
        ----------
        X : array-like of n_samples face clips
            Checked for the backbone's size.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are no weights: embeddings of a network that never learnt say nothing.
        InvalidImageError
            If a sample is no face clip of the backbone's size.
        """
        if self.weights is None and isinstance(self.backbone, str):
            raise ValueError(
                f"FaceEmbedder(backbone={self.backbone!r}) needs weights=; a backbone that never "
                "learnt embeds nothing."
            )
        network = self._make_backbone(self.weights).eval()
        check_face_clips(X, network.input_size)
        self._keep(network)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed.

        Parameters
        ----------
        X : array-like of n_samples face clips
            As :class:`persona_affect.FaceAligner` returns, or a uint8 array (n, H, W, 3) or
            (n, T, H, W, 3).

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            A sample without a face is a row of NaN.

        Warns
        -----
        NoFaceWarning
            Naming samples without a face.
        """
        check_is_fitted(self)
        clips = check_face_clips(X, self.network_.input_size)
        device = resolve_device(self.device)
        network = network_on(self.network_, device)
        size = pass_size(device)

        def embed(frames: torch.Tensor) -> torch.Tensor:
            frames = frames.to(device)
            if not self.mirror:
                embedding: torch.Tensor = network(frames)
                return embedding
            # A face passes with its mirror image, which is faster than one after the other.
            both = torch.cat([frames, frames.flip(2)]).split(size)
            return torch.cat([network(part) for part in both]).unflatten(0, (2, -1)).mean(0)

        frames = run_frames(
            embed, clips, size=size, n_segments=self.n_segments, verbose=bool(self.verbose)
        )
        return pool_frames(frames, self._n_features_out).astype(np.float32)

    def _get_state(self) -> tuple[Facts, Tensors]:
        return {}, add_prefix("network", self.network_.state_dict())

    def _set_state(self, facts: Facts, tensors: Tensors) -> None:
        self._keep(fill_network(lambda: self._make_backbone(None), take("network", tensors)))

    def _keep(self, network: Backbone) -> None:
        # A fifth faster on a CPU, since frames come channels last.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network_, self._n_features_out = network, network.n_features

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.requires_fit = True
        tags.transformer_tags.preserves_dtype = []
        return tags
