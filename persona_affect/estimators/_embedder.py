"""Embeddings of faces, by a feature extractor alone."""

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
from torch import nn

from persona_affect._device import network_on, resolve_device
from persona_affect._random import OwnRandomness
from persona_affect._sklearn import Interval, fit_context
from persona_affect.networks import Backbone

from ._backbone_params import BACKBONE_CONSTRAINT, BackboneParams
from ._clips import check_face_clips
from ._engine import RunByEngine
from ._inference import average_mirrors, pass_size, pool_frames, run_frames
from ._modules import MirrorAverage
from ._state import Facts, Tensors, add_prefix, fill_network, take


class FaceEmbedder(RunByEngine, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BackboneParams):
    """Embed face clips with a pretrained feature extractor (FEM).

    Put it into the cached part of a pipeline: a search over settings of the heads then trains only
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
        Options of the backbone. ``{"levels": "stage128"}`` returns earlier maps of the ResNet29,
        which have more information about the facial expression. ``{"crops": (1.0, 0.7)}``
        concatenates the embeddings of central squares of the face, for the ResNet29 and face-api's
        networks; crops are fractions of the side. See the class of the network, such as
        :class:`persona_affect.networks.ResNet29`. In a search, ``backbone__levels`` sets one
        option.
    mirror : bool, default=True
        Average the embeddings of each face and of its mirror image.
    n_segments : int or None, default=3
        Average over the centre frames of this many segments of a clip; None for all frames.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU if there is one.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    network_ : persona_affect.networks.Backbone
        The feature extractor, on the CPU, so that a pickle of it loads on any machine. Other
        devices compute with a copy.

    Examples
    --------
    >>> from sklearn.linear_model import RidgeCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from persona_affect import FaceAligner, FaceEmbedder
    >>> aligner = FaceAligner(template="resnet29")
    >>> embedder = FaceEmbedder(backbone_params={"levels": "stage128"})
    >>> model = make_pipeline(aligner, embedder, RidgeCV())
    """

    network_: Backbone

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
        """Build the feature extractor; it learns nothing from `X`.

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
            If there are no weights: embeddings of an untrained network have no meaning.
        InvalidImageError
            If a sample is not a face clip of the backbone's size.
        """
        if self.weights is None and isinstance(self.backbone, str):
            raise ValueError(
                f"FaceEmbedder(backbone={self.backbone!r}) needs weights=: embeddings of an "
                "untrained backbone have no meaning."
            )
        # Random numbers of the initial weights, which others replace, are not those of the caller.
        with OwnRandomness(0):
            network = self._make_backbone(self.weights).eval()
        check_face_clips(X, network.input_size)
        self._keep(network)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed face clips.

        Parameters
        ----------
        X : array-like of n_samples face clips
            As :class:`persona_affect.FaceAligner` returns, or a uint8 array (n, H, W, 3) or
            (n, T, H, W, 3).

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            A sample without a face is a row of NaN.

        Raises
        ------
        InvalidImageError
            If a sample is not a face clip of the backbone's size.
        ValueError
            If `device` is not on this machine.

        Warns
        -----
        NoFaceWarning
            If samples have no face; the message names them.
        """
        check_is_fitted(self)
        clips = check_face_clips(X, self.network_.input_size)
        device, engine = resolve_device(self.device), self._engine
        network = self.network_ if engine is not None else network_on(self.network_, device)
        size = pass_size(device)

        def embed(frames: torch.Tensor) -> torch.Tensor:
            if engine is not None:
                return engine(frames)
            frames = frames.to(device)
            if not self.mirror:
                embedding: torch.Tensor = network(frames)
                return embedding
            return average_mirrors(network, frames, size)

        frames = run_frames(
            embed, clips, size=size, n_segments=self.n_segments, verbose=bool(self.verbose)
        )
        return pool_frames(frames, self._n_features_out).astype(np.float32)

    def _as_module(self) -> nn.Module:
        check_is_fitted(self)
        return self._get_network()

    def _get_network(self, *, mirror: bool = True) -> nn.Module:
        return MirrorAverage(self.network_) if self.mirror and mirror else self.network_

    def _get_input_shape(self) -> tuple[int, ...]:
        return (*(self.network_.input_size or ()), 3)

    def _get_state(self) -> tuple[Facts, Tensors]:
        return {}, add_prefix("network", self.network_.state_dict())

    def _set_state(self, facts: Facts, tensors: Tensors) -> None:
        self._keep(fill_network(lambda: self._make_backbone(None), take("network", tensors)))

    def _keep(self, network: Backbone) -> None:
        # Frames are channels last, so that this is a fifth faster on a CPU.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network_, self._n_features_out = network, network.n_features
        self._engine = None

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.requires_fit = True
        tags.transformer_tags.preserves_dtype = []
        return tags
