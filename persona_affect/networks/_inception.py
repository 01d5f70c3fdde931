"""InceptionResnetV1: the network of facenet-pytorch, if that package can be imported."""

from importlib import import_module
from os import PathLike
from types import ModuleType

from torch import Tensor, nn
from torch.nn import functional as F

from persona_affect.exceptions import MissingDependencyError, WeightsError

from ._backbone import Backbone, check_frames
from ._registry import BackboneSpec, register_backbone
from ._state_dict import read_state_dict


class InceptionResnetV1(Backbone):
    """The FaceNet-like network of facenet-pytorch, by the class of that package.

    Attributes
    ----------
    n_features : int
        512; embeddings of length one.
    input_size : tuple of int
        (150, 150): faces aligned to the ``resnet29`` template, which is close to the crop of its
        training, are enlarged to the 160 x 160 pixels that it takes [ours].

    Raises
    ------
    MissingDependencyError
        If facenet_pytorch cannot be imported. It needs a torchvision that fits torch; no other part
        of this package needs torchvision.

    References
    ----------
    Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
    Learning", AAAI 2017; the weights are those of D. Sandberg's facenet, as T. Esler released them.

    Examples
    --------
    >>> from persona_affect.exceptions import MissingDependencyError
    >>> from persona_affect.networks import InceptionResnetV1
    >>> try:
    ...     width = InceptionResnetV1().n_features
    ... except MissingDependencyError:  # torchvision does not fit torch
    ...     width = 512
    >>> width
    512
    """

    n_features = 512
    input_size = (150, 150)
    template = "resnet29"

    def __init__(self) -> None:
        super().__init__()
        self.network: nn.Module = _import_facenet_pytorch().InceptionResnetV1()

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames.

        Parameters
        ----------
        frames : torch.Tensor of shape (n, 150, 150, 3)
            RGB, values 0..255, uint8 or floating.

        Returns
        -------
        torch.Tensor of shape (n, 512)

        Raises
        ------
        InvalidImageError
            If the frames have another size.
        """
        check_frames(self, frames)
        pixels = (frames.to(next(self.parameters()).dtype) - 127.5) / 128
        embedding: Tensor = self.network(
            F.interpolate(pixels.permute(0, 3, 1, 2), (160, 160), mode="bilinear")
        )
        return embedding


def load_inception_weights(
    backbone: InceptionResnetV1, path: str | PathLike[str]
) -> InceptionResnetV1:
    """Load released weights, such as ``20180402-114759-vggface2.pt``, from a file, in place.

    Raises
    ------
    WeightsError
        If the file cannot be read, or holds the weights of another network.
    """
    state = read_state_dict(path)
    # Without the classifier, which only training uses.
    own = {key: value for key, value in state.items() if not key.startswith("logits.")}
    try:
        backbone.network.load_state_dict(own)
    except RuntimeError as error:
        raise WeightsError(
            f"weights={str(path)!r} do not fit InceptionResnetV1: {error}"
        ) from error
    return backbone


def _import_facenet_pytorch() -> ModuleType:
    try:
        return import_module("facenet_pytorch")
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision for another torch
        raise MissingDependencyError(
            'backbone="inception_resnet_v1" uses the class of facenet_pytorch, which does not '
            f"import here: {error}. It needs a torchvision built for the installed torch; "
            "the other backbones do not."
        ) from error


register_backbone(
    BackboneSpec(
        "inception_resnet_v1",
        InceptionResnetV1,
        template="resnet29",
        load_weights=load_inception_weights,
    )
)
