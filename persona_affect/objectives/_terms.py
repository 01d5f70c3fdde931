"""The terms of the joint loss, in one table: heads, labels, losses and metrics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

import torch
from torch import Tensor, nn

from persona_affect._optional import check_name_is_free

from ._coherence import coherence_loss

Regression: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def pool_clips(values: Tensor, clip: Tensor, n_clips: int) -> Tensor:
    """Average frames into clips: ``mean_t`` of the paper's losses.

    Parameters
    ----------
    values : torch.Tensor of shape (n_frames, d)
        Of each frame.
    clip : torch.Tensor of shape (n_frames,), int64
        The clip of each frame, 0 .. n_clips - 1.
    n_clips : int
        Number of clips; each must have at least one frame.

    Returns
    -------
    torch.Tensor of shape (n_clips, d)
        Means over the frames of each clip.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.objectives import pool_clips
    >>> pool_clips(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]), 2)
    tensor([[2.],
            [5.]])
    """
    total = values.new_zeros(n_clips, values.shape[1]).index_add_(0, clip, values)
    return total / torch.bincount(clip, minlength=n_clips)[:, None]


@dataclass(frozen=True)
class TermInputs:
    """Input of one term of the loss, for a batch of n_frames frames from n_clips clips.

    Attributes
    ----------
    output : torch.Tensor of shape (n_frames, .) or None
        Output of the term's head, or the embedding if `LossTerm.output` is ``"embedding"``. None if
        the head was not built.
    head : torch.nn.Module or None
        The head itself.
    labels : torch.Tensor of shape (n_clips, .) or None
        In the units of the network, NaN where not observed. None for a term without labels.
    embedding : torch.Tensor of shape (n_frames, n_features)
        The FEM's output.
    weight : torch.Tensor of shape (n_clips,)
        Sample weights.
    domain : torch.Tensor of shape (n_clips,), int64
        0 for the personality set, 1 for the emotion set, -1 for a sample of both or of neither.
    clip : torch.Tensor of shape (n_frames,), int64
        The clip of each frame.
    regression : callable
        The chosen regression loss: ``regression(predicted, labels, weight)``.

    Examples
    --------
    >>> import torch
    >>> from persona_affect.objectives import TermInputs, masked_half_squared_error, regress
    >>> inputs = TermInputs(
    ...     output=torch.tensor([[1.0], [3.0]]),  # two frames of one clip
    ...     head=None,
    ...     labels=torch.tensor([[0.0]]),
    ...     embedding=torch.zeros(2, 4),
    ...     weight=torch.ones(1),
    ...     domain=torch.zeros(1, dtype=torch.int64),
    ...     clip=torch.zeros(2, dtype=torch.int64),
    ...     regression=masked_half_squared_error,
    ... )
    >>> regress(inputs)  # half the square of the mean
    tensor(2.)
    """

    output: Tensor | None
    head: nn.Module | None
    labels: Tensor | None
    embedding: Tensor
    weight: Tensor
    domain: Tensor
    clip: Tensor
    regression: Regression

    def pooled(self) -> Tensor:
        """Average the output over the frames of each clip.

        Returns
        -------
        torch.Tensor of shape (n_clips, n_targets), float32

        Raises
        ------
        ValueError
            If the term has no head, or its head was not built.
        """
        if self.output is None:
            raise ValueError("The term's head was not built.")
        return pool_clips(self.output.float(), self.clip, len(self.weight))


def regress(inputs: TermInputs) -> Tensor | None:
    """Compute the chosen regression loss of a head's output, averaged over the frames of clips.

    Parameters
    ----------
    inputs : TermInputs
        Of a term with a head and labels.

    Returns
    -------
    torch.Tensor of shape () or None
        None if the head was not built.

    Examples
    --------
    >>> from torch import nn
    >>> from persona_affect.objectives import LossTerm, regress
    >>> def build_head(n_features, n_targets):
    ...     return nn.Linear(n_features, n_targets)
    >>> LossTerm("age", regress, build_head=build_head, labels="age", targets=("age",)).targets
    ('age',)
    """
    if inputs.output is None or inputs.labels is None:
        return None
    return inputs.regression(inputs.pooled(), inputs.labels, inputs.weight)


def cohere(inputs: TermInputs) -> Tensor | None:
    """Compute the coherence loss between the embeddings of the two sets, frame by frame."""
    if inputs.head is None:
        return None
    return coherence_loss(inputs.embedding.float(), inputs.domain[inputs.clip], inputs.head)


@dataclass(frozen=True)
class LossTerm:
    """One term of the joint loss, with the head that it trains.

    Attributes
    ----------
    name : str
        An identifier, such as ``"per"``. The weight of the paper's four terms is the parameter
        ``lambda_<name>`` of :class:`persona_affect.JointAffectEstimator`; that of other terms is
        ``extra_lambdas={name: weight}``. The history has the columns ``train_<name>`` and
        ``valid_<name>``.
    loss : callable
        ``loss(inputs) -> Tensor``, a scalar, from :class:`TermInputs`; it may return None if
        there is nothing to compute.
    head : str
        Name of the head; by default that of the term.
    build_head : callable, optional
        ``build_head(n_features, n_targets)`` returns the head, a module from (n_frames, n_features)
        to (n_frames, n_targets). None for the paper's heads, which
        :class:`persona_affect.networks.PersEmoN` builds, and for a term that uses only the
        embedding.
    output : str
        Attribute of :class:`persona_affect.networks.PersEmoNOutput` that the term uses; by default
        the output of its own head.
    labels : str or None
        Group of targets that are its labels: ``"personality"``, ``"emotion"``, or the name of the
        term for targets of its own. None for a term without labels.
    targets : tuple of str
        Names of its own targets, which `fit` then expects in `y` and `predict` returns.
    standardize : bool
        Whether its own targets are scaled to zero mean and unit variance (and predictions are
        converted back to their units).
    reads : str or None
        Group whose head is the input of this term's head: ``"emotion"`` for the RAM.
    joins_sets : bool
        Whether it compares the two sets. It then needs samples of both, and trainable features.
    metric : str
        Metric of its predictions, one of :func:`persona_affect.metrics.affect_report`, such as
        ``"ccc"``; empty if it predicts nothing.
    package : str
        Module whose import registers the term; by default the one that defines `loss`. A saved
        model names it, so that loading can say what to import.

    Raises
    ------
    ValueError
        If the name is no identifier, or `targets` are without `labels` or `build_head`.

    Examples
    --------
    >>> from persona_affect.objectives import LossTerm
    >>> def mean_square(inputs):
    ...     return inputs.embedding.square().mean()
    >>> LossTerm("size", mean_square).labels is None
    True
    """

    name: str
    loss: Callable[[TermInputs], Tensor | None]
    head: str = ""
    build_head: Callable[[int, int], nn.Module] | None = None
    output: str = ""
    labels: str | None = None
    targets: tuple[str, ...] = ()
    standardize: bool = True
    reads: str | None = None
    joins_sets: bool = False
    metric: str = ""
    package: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"A term's name must be an identifier, not {self.name!r}.")
        own_labels = self.labels == self.name
        if own_labels != bool(self.targets):
            raise ValueError(
                f"term {self.name!r}: labels={self.name!r} and targets=(...) go together: they "
                "name targets of its own."
            )
        if own_labels and self.build_head is None:
            raise ValueError(f"term {self.name!r} has targets, so it needs build_head.")
        for attribute, default in (("head", self.name), ("package", self.loss.__module__)):
            if not getattr(self, attribute):
                object.__setattr__(self, attribute, default)


_terms: dict[str, LossTerm] = {}

#: All registered terms by name, also those that are registered later.
TERMS: Final[Mapping[str, LossTerm]] = MappingProxyType(_terms)

#: The terms of the equation in the papers, in its order.
PAPER_TERMS: Final = ("per", "emo", "coh", "ram")


def register_term(term: LossTerm) -> None:
    """Register a term, so that :class:`persona_affect.JointAffectEstimator` knows its name.

    Parameters
    ----------
    term : LossTerm
        Its name, its loss, and the head that it trains.

    Raises
    ------
    ValueError
        If another package registered a term of that name.

    Examples
    --------
    A penalty on large embeddings, which needs neither labels nor a head:

    >>> from persona_affect import JointAffectEstimator
    >>> from persona_affect.objectives import LossTerm, register_term
    >>> def mean_square(inputs):
    ...     return inputs.embedding.square().mean()
    >>> register_term(LossTerm("size", mean_square))
    >>> model = JointAffectEstimator(extra_lambdas={"size": 0.1})
    """
    owner = _terms[term.name].package if term.name in _terms else None
    check_name_is_free("term", term.name, owner, term.package)
    _terms[term.name] = term


def get_term(name: str) -> LossTerm:
    """Return a registered term.

    Parameters
    ----------
    name : str
        Such as ``"per"``.

    Returns
    -------
    LossTerm
        As it was registered.

    Raises
    ------
    ValueError
        If no term of that name is registered.

    Examples
    --------
    >>> from persona_affect.objectives import get_term
    >>> get_term("ram").reads
    'emotion'
    """
    if name not in _terms:
        raise ValueError(
            f"term {name!r} is not registered: there are {list(_terms)}. Import the package that "
            "registers it."
        )
    return _terms[name]


for _term in (
    LossTerm("per", regress, head="pam", output="personality", labels="personality", metric="ccc"),
    LossTerm("emo", regress, head="eam", output="emotion", labels="emotion", metric="ccc"),
    LossTerm("coh", cohere, head="domain", output="embedding", joins_sets=True),
    LossTerm(
        "ram",
        regress,
        head="ram",
        output="personality_from_emotion",
        labels="personality",
        reads="emotion",
        metric="ccc",
    ),
):
    register_term(_term)
