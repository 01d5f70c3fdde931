"""Backbones by name: each network's module registers what it defines, and so can other packages."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from persona_affect._optional import check_name_is_free
from persona_affect.exceptions import WeightsError

from ._backbone import Backbone
from ._releases import RELEASES, Release

BackboneLike: TypeAlias = str | Callable[..., Backbone]


@dataclass(frozen=True)
class BackboneSpec:
    """Everything that this package must know about a backbone to use it by name.

    Attributes
    ----------
    name : str
        What `backbone=` takes.
    build : callable
        Builds the network, with random weights: a subclass of :class:`Backbone`, or a function or
        `functools.partial` that returns one.
    template : str or None
        Name of the template that its faces are aligned to, for
        ``FaceAligner(template=...)``; the same as the network's own `template`. None if it takes
        faces of another kind.
    params : tuple of str
        Options of `build` that ``backbone_params={...}`` may set.
    load_weights : callable, optional
        ``load_weights(network, path)`` reads a file of weights into the network; None if there is
        no such file.
    load_installed : callable, optional
        ``load_installed(network)`` reads the weights that come with a package, for
        ``weights="pretrained"``; None if there are none.
    installed_weights : str
        Where the installed weights come from, for help texts.
    release : Release, optional
        Weights on the web, which :func:`fetch_backbone` downloads on request.
    license : str
        Licence of the installed or released weights; empty if nobody states one.
    package : str
        Module whose import registers the backbone; by default the one that defines `build`.
        A saved model names it, so that loading can say what to import.

    Raises
    ------
    ValueError
        If `build` does not take one of the `params`.

    Examples
    --------
    >>> from persona_affect.networks import BACKBONES
    >>> BACKBONES["resnet29"].template, BACKBONES["resnet29"].params
    ('resnet29', ('levels', 'grid', 'crops'))
    """

    name: str
    build: Callable[..., Backbone]
    template: str | None
    params: tuple[str, ...] = ()
    load_weights: Callable[[Any, str | PathLike[str]], object] | None = None
    load_installed: Callable[[Any], object] | None = None
    installed_weights: str = ""
    release: Release | None = None
    license: str = ""
    package: str = ""

    def __post_init__(self) -> None:
        if not self.package:
            build = self.build.func if isinstance(self.build, partial) else self.build
            object.__setattr__(self, "package", build.__module__)
        known = _options(self.build)
        unknown = [] if known is None else [name for name in self.params if name not in known]
        if unknown:
            raise ValueError(f"params of backbone {self.name!r}: build takes no {unknown}.")


_specs: dict[str, BackboneSpec] = {}

#: All registered backbones by name, also those that are registered later.
BACKBONES: Final[Mapping[str, BackboneSpec]] = MappingProxyType(_specs)


def register_backbone(spec: BackboneSpec) -> None:
    """Register a backbone, so that its name works wherever a backbone is expected.

    Parameters
    ----------
    spec : BackboneSpec
        Its name, how it is built, and its weights.

    Raises
    ------
    ValueError
        If another package registered a backbone of that name.

    Examples
    --------
    >>> from torch import nn
    >>> from persona_affect import JointAffectEstimator
    >>> from persona_affect.networks import Backbone, BackboneSpec, register_backbone
    >>> class MeanColour(Backbone):
    ...     n_features, input_size, template = 3, (112, 96), "sphereface"
    ...
    ...     def forward(self, frames):
    ...         return frames.float().mean((1, 2))
    >>> register_backbone(BackboneSpec("mean_colour", MeanColour, template="sphereface"))
    >>> JointAffectEstimator("mean_colour").backbone
    'mean_colour'
    """
    owner = _specs[spec.name].package if spec.name in _specs else None
    check_name_is_free("backbone", spec.name, owner, spec.package)
    _specs[spec.name] = spec
    if spec.release is not None:
        RELEASES[spec.name] = spec.release


def get_backbone_spec(name: str) -> BackboneSpec:
    """Return the specification of a registered backbone.

    Parameters
    ----------
    name : str
        As in ``JointAffectEstimator(backbone=...)``.

    Returns
    -------
    BackboneSpec
        As it was registered.

    Raises
    ------
    ValueError
        If no backbone of that name is registered.

    Examples
    --------
    >>> from persona_affect.networks import get_backbone_spec
    >>> get_backbone_spec("sphereface20").template
    'sphereface'
    """
    if name not in _specs:
        raise ValueError(f"backbone={name!r} is not one of {list(_specs)}.")
    return _specs[name]


def check_backbone_params(backbone: BackboneLike, params: Mapping[str, Any]) -> None:
    """Check that a backbone has the options that `params` names.

    Parameters
    ----------
    backbone : str or callable
        As for :func:`make_backbone`.
    params : mapping of str
        Options, by their names.

    Raises
    ------
    ValueError
        Naming those that it has.

    Examples
    --------
    >>> from persona_affect.networks import check_backbone_params
    >>> check_backbone_params("resnet29", {"levels": "pooled"})
    >>> check_backbone_params("resnet29", {"depth": 20})
    Traceback (most recent call last):
        ...
    ValueError: ...
    """
    known: Sequence[str] | None
    if isinstance(backbone, str):
        what, known = f"backbone={backbone!r}", get_backbone_spec(backbone).params
    else:
        what, known = "The backbone function", _options(backbone)
    unknown = [] if known is None else [name for name in params if name not in known]
    if unknown:
        has = f"its options are {list(known)}" if known else "it has none"
        raise ValueError(f"{what} has no option {', '.join(map(repr, unknown))}: {has}.")


def make_backbone(
    backbone: BackboneLike, weights: str | PathLike[str] | None = None, **params: Any
) -> Backbone:
    """Build a feature extractor.

    Parameters
    ----------
    backbone : str or callable
        A name in `BACKBONES`, or a function that returns a `Backbone`.
    weights : path-like or "pretrained", optional
        Weights to start from: a file that the backbone reads, such as a torch state dict of a
        SphereFace or dlib's file of the ResNet29; or ``"pretrained"`` for those that come with this
        package or an extra of it. Without it, the network's own initialisation. A function loads
        its own.
    **params
        Options of the backbone: those of `BackboneSpec.params`, or the function's arguments.

    Returns
    -------
    Backbone
        With the weights, in training mode.

    Raises
    ------
    ValueError
        If the name is unknown, the function returned something else, or the backbone has no such
        option or weights.
    WeightsError
        If the weights do not fit.
    MissingDependencyError
        If the pretrained weights are not installed, or facenet_pytorch does not import.

    Examples
    --------
    >>> from persona_affect.networks import make_backbone
    >>> make_backbone("resnet29", levels="pooled").n_features
    256
    """
    check_backbone_params(backbone, params)
    if isinstance(backbone, str):
        return _from_spec(get_backbone_spec(backbone), weights, params)
    if weights is not None:
        raise ValueError(
            "weights= is for backbones given by name; a function loads its network's own."
        )
    network = backbone(**params)
    if not isinstance(network, Backbone):
        raise ValueError(
            f"The backbone function returned {type(network).__name__}; return a subclass of "
            "persona_affect.networks.Backbone."
        )
    return network


def _from_spec(
    spec: BackboneSpec, weights: str | PathLike[str] | None, params: Mapping[str, Any]
) -> Backbone:
    network = spec.build(**params)
    if not isinstance(network, Backbone) or network.template != spec.template:
        found = getattr(network, "template", None)
        raise ValueError(
            f"backbone {spec.name!r} of {spec.package} is registered with template="
            f"{spec.template!r}, but built {type(network).__name__} with template={found!r}. "
            "It must be a subclass of persona_affect.networks.Backbone with the same template."
        )
    if weights == "pretrained":
        if spec.load_installed is None:
            released = f"; fetch_backbone({spec.name!r}) returns one" if spec.release else ""
            path = "" if spec.load_weights is None else f": give the path of a file{released}"
            raise ValueError(f"backbone={spec.name!r} has no installed weights{path}.")
        spec.load_installed(network)
        _check_finite(network, "pretrained weights")
    elif weights is not None:
        if spec.load_weights is None:
            known = "None" if spec.load_installed is None else '"pretrained" or None'
            raise ValueError(f"weights= of backbone={spec.name!r} must be {known}.")
        spec.load_weights(network, weights)
        _check_finite(network, f"weights={str(weights)!r}")
    return network


def _check_finite(network: Backbone, what: str) -> None:
    """Refuse NaN and infinity: embeddings would look like those of samples without a face."""
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise WeightsError(f"{what} of {type(network).__name__}: {name} has NaN or infinity.")


def _options(build: Callable[..., object]) -> list[str] | None:
    """List the names that a callable takes, or None if it takes any."""
    try:
        parameters = inspect.signature(build).parameters.values()
    except ValueError:  # a callable that is not written in Python
        return None
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [parameter.name for parameter in parameters if parameter.kind in by_name]
