"""PersEmoN: one feature extractor, four heads (Zhang, Peng, Winkler; the network of figure 2)."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from torch import Tensor, nn

from ._backbone import Backbone
from ._sphereface import init_caffe_xavier

#: All heads by their names in the paper; the coherence loss uses ``domain``, in training only.
HEADS: Final = ("pam", "eam", "ram", "domain")

_ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


class PersEmoNOutput(NamedTuple):
    """Output of the network for each frame; None for a head that was not built.

    Attributes
    ----------
    embedding : torch.Tensor of shape (n_frames, n_features)
        The FEM's output.
    personality : torch.Tensor of shape (n_frames, n_personality) or None
        The PAM's output.
    emotion : torch.Tensor of shape (n_frames, n_emotion) or None
        The EAM's output.
    personality_from_emotion : torch.Tensor of shape (n_frames, n_personality) or None
        The RAM's output, from the EAM's.
    extra : mapping of str to torch.Tensor of shape (n_frames, .)
        Outputs of extra heads, by name.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import PersEmoNOutput
    >>> output = PersEmoNOutput(torch.zeros(2, 16), torch.zeros(2, 5), None, None)
    >>> output.personality.shape, output.emotion
    (torch.Size([2, 5]), None)
    """

    embedding: Tensor
    personality: Tensor | None
    emotion: Tensor | None
    personality_from_emotion: Tensor | None
    extra: Mapping[str, Tensor] = MappingProxyType({})


class RAM(nn.Sequential):
    """Relationship analysis module: from emotion to personality through one hidden layer.

    Parameters
    ----------
    n_emotion, n_personality : int
        Widths of input and output.
    hidden : int, default=32
        Width of the hidden layer (32 in the network that the authors released).
    activation : {"identity", "sigmoid", "tanh"}, default="tanh"
        Activation of the output.

    References
    ----------
    Zhang et al., PersEmoN, section 3.4; widths from the released training definition.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import RAM
    >>> RAM()(torch.zeros(4, 2)).shape
    torch.Size([4, 5])
    """

    def __init__(
        self, n_emotion: int = 2, n_personality: int = 5, hidden: int = 32, activation: str = "tanh"
    ) -> None:
        layers = nn.Linear(n_emotion, hidden), nn.Linear(hidden, n_personality)
        for layer in layers:
            init_caffe_xavier(layer)
        super().__init__(layers[0], nn.ReLU(), layers[1], _ACTIVATIONS[activation]())


class PersEmoN(nn.Module):
    """Joint network for personality, emotion and their relationship.

    Parameters
    ----------
    backbone : Backbone
        The FEM: maps frames to ``(n_frames, backbone.n_features)``.
    n_personality : int, default=5
        Width of the PAM and the RAM (the authors' is 6: five traits and the interview score).
    n_emotion : int, default=2
        Width of the EAM: arousal and valence.
    heads : collection of {"pam", "eam", "ram", "domain"}, default=all four
        Heads to build. The RAM reads the EAM, which is then built too.
    pam_activation, eam_activation, ram_activation : {"identity", "sigmoid", "tanh"}
        Activation of the output of each head; the defaults are the authors'.
    ram_hidden : int, default=32
        Width of the RAM's hidden layer.
    extra_heads : mapping of str to torch.nn.Module, optional
        Other heads on the embedding, which are not in the papers, by name.

    Attributes
    ----------
    fem, pam, eam, ram, domain : torch.nn.Module or None
        The modules of the paper; ``domain`` classifies the two training sets.

    References
    ----------
    Zhang, Peng, Winkler, "PersEmoN: A Deep Network for Joint Analysis of Apparent Personality,
    Emotion and Their Relationship", arXiv 1811.08657, section 3; activations and initialisation
    from the training definition that its authors released.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.networks import PersEmoN, SphereFace
    >>> network = PersEmoN(SphereFace(depth=4, n_features=16)).eval()
    >>> output = network(torch.zeros(2, 112, 96, 3))
    >>> output.personality.shape, output.emotion.shape
    (torch.Size([2, 5]), torch.Size([2, 2]))
    """

    def __init__(
        self,
        backbone: Backbone,
        n_personality: int = 5,
        n_emotion: int = 2,
        *,
        heads: Collection[str] = HEADS,
        pam_activation: str = "identity",
        eam_activation: str = "tanh",
        ram_activation: str = "tanh",
        ram_hidden: int = 32,
        extra_heads: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        n_features = backbone.n_features
        self.fem = backbone
        self.pam = _head(n_features, n_personality, pam_activation) if "pam" in heads else None
        needs_eam = "eam" in heads or "ram" in heads
        self.eam = _head(n_features, n_emotion, eam_activation) if needs_eam else None
        self.ram = (
            RAM(n_emotion, n_personality, ram_hidden, ram_activation) if "ram" in heads else None
        )
        self.domain = nn.Linear(n_features, 2) if "domain" in heads else None
        if self.domain is not None:
            nn.init.normal_(self.domain.weight, std=0.005)
            nn.init.zeros_(self.domain.bias)
        self.extra = nn.ModuleDict(extra_heads or {})

    @property
    def heads(self) -> dict[str, nn.Module]:
        """The heads that were built, by name."""
        own = {name: getattr(self, name) for name in HEADS}
        return {**{k: v for k, v in own.items() if v is not None}, **dict(self.extra.items())}

    def forward(self, frames: Tensor) -> PersEmoNOutput:
        """Analyse each frame independently.

        Parameters
        ----------
        frames : torch.Tensor
            Input of the backbone: (n_frames, height, width, 3) RGB of 0..255, or
            (n_frames, n_features) embeddings.

        Returns
        -------
        PersEmoNOutput
        """
        embedding = self.fem(frames)
        personality = None if self.pam is None else self.pam(embedding)
        emotion = None if self.eam is None else self.eam(embedding)
        from_emotion = None if self.ram is None else self.ram(emotion)
        extra = {name: head(embedding) for name, head in self.extra.items()}
        return PersEmoNOutput(embedding, personality, emotion, from_emotion, extra)


def _head(n_in: int, n_out: int, activation: str) -> nn.Sequential:
    linear = nn.Linear(n_in, n_out)
    init_caffe_xavier(linear)
    return nn.Sequential(linear, _ACTIVATIONS[activation]())


def parameter_groups(network: nn.Module, lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """Group parameters for an optimiser, with the published multipliers.

    Biases learn at twice the rate. The biases of convolutions, of ``fc5`` and of the domain head
    take no weight decay; those of the other heads do. Frozen parameters are left out.

    Parameters
    ----------
    network : torch.nn.Module
        A `PersEmoN`, or any part of one.
    lr, weight_decay : float
        Learning rate and weight decay of weights.

    Returns
    -------
    list of dict
        Parameter groups for any optimiser of ``torch.optim``.

    Examples
    --------
    >>> from torch import optim
    >>> from persona_affect.networks import PersEmoN, SphereFace, parameter_groups
    >>> network = PersEmoN(SphereFace(depth=4, n_features=16))
    >>> groups = parameter_groups(network, lr=0.01, weight_decay=5e-4)
    >>> sorted({group["lr"] for group in optim.SGD(groups).param_groups})
    [0.01, 0.02]
    """
    rules: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        is_bias = name.endswith("bias")
        in_head = any(part in ("pam", "eam", "ram", "extra") for part in name.split("."))
        key = (
            lr * (2 if is_bias else 1),
            0.0 if is_bias and not in_head else weight_decay,
        )
        rules.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in rules.items()
    ]
