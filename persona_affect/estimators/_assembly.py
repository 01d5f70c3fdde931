"""Assembles a net that is ready to train, from face clips and partly missing labels."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from numbers import Real
from os import PathLike
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from persona_affect._random import OwnRandomness
from persona_affect._ranks import check_equal
from persona_affect._warnings import warn_user
from persona_affect.exceptions import NoFaceWarning
from persona_affect.model_selection import AffectGroupShuffleSplit
from persona_affect.networks import Backbone, PersEmoN
from persona_affect.objectives import PAPER_TERMS, LossTerm, PersEmoNLoss, get_term

from ._batches import LabelledClips, MixedBatches
from ._checkpoint import Checkpoint, StateFile, fingerprint
from ._head_start import start_heads
from ._inference import name_samples
from ._presets import HEAD_STYLES
from ._ranks import check_layers
from ._targets import Targets, TargetScaler, leave_to_mean
from ._training import OPTIMIZERS, AffectNet, standard_callbacks

#: Parameters that do not change the model, and the backbone, which its weights identify.
_NOT_IDENTIFYING = ("backbone", "callbacks", "checkpoint", "n_workers", "verbose")


@dataclass(frozen=True)
class TrainingSettings:
    """The parameters of :class:`JointAffectEstimator` that decide how its network is trained.

    Those that are not described here are described there.

    Attributes
    ----------
    identity : dict of str to object
        All parameters of the estimator that change the result, to identify a checkpoint.
    """

    heads: str
    loss: str
    optimizer: str
    learning_rate: float
    weight_decay: float
    schedule: str
    max_epochs: int
    batch_size: int
    personality_fraction: float
    max_grad_norm: float | None
    augmentation: str | None
    early_stopping: bool
    n_iter_no_change: int
    precision: str
    callbacks: list[Any] | None
    checkpoint: str | PathLike[str] | None
    shuffle: str
    verbose: int
    identity: dict[str, Any]

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Choose the settings among the parameters of the estimator."""
        names = {field.name for field in fields(cls)} - {"identity"}
        identity = {name: value for name, value in params.items() if name not in _NOT_IDENTIFYING}
        return cls(identity=identity, **{name: params[name] for name in names})


def find_present(clips: Sequence[NDArray[Any]], weight: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the samples that have a face and a weight; one warning names those without a face."""
    has_face = np.array([len(clip) > 0 for clip in clips])
    if not has_face.all():
        which = name_samples(np.flatnonzero(~has_face).tolist())
        warn_user(f"{which} no face; left out of the training.", NoFaceWarning)
    return np.flatnonzero(has_face & (weight > 0))


def read_lambdas(params: Mapping[str, Any]) -> dict[str, float]:
    """Return the weight of each term: the paper's four, then those of `extra_lambdas`.

    Raises
    ------
    ValueError
        If a term is not registered, is one of the four, or has no valid weight.
    """
    lambdas = {name: float(params[f"lambda_{name}"]) for name in PAPER_TERMS}
    for name, weight in (params["extra_lambdas"] or {}).items():
        get_term(name)
        if name in lambdas:
            raise ValueError(f"extra_lambdas: the weight of {name!r} is lambda_{name}.")
        if not isinstance(weight, Real) or not 0 <= float(weight) < np.inf:
            raise ValueError(
                f"extra_lambdas: {name!r} has the weight {weight!r}, which is not a number >= 0."
            )
        lambdas[name] = float(weight)
    return lambdas


def choose_losses(
    lambdas: Mapping[str, float], targets: Targets, fem_learns: bool
) -> tuple[dict[str, float], NDArray[np.intp]]:
    """Choose the losses that have training data, and the samples that they use.

    Parameters
    ----------
    lambdas : mapping of str to float
        The weight of each term.
    targets : Targets
        Labels of the samples that are present.
    fem_learns : bool
        Whether the features are trained; if not, coherence is left out.

    Returns
    -------
    lambdas : dict of str to float
        The weights, 0 for losses without training data.
    kept : ndarray of int
        Samples that a loss uses.

    Raises
    ------
    ValueError
        If no loss that learns from labels is left.
    """
    serving = {name: _find_serving(get_term(name), targets, fem_learns) for name in lambdas}
    found = {name: weight if serving[name].any() else 0.0 for name, weight in lambdas.items()}
    learnt = [name for name, weight in found.items() if weight > 0]
    if not any(get_term(name).labels for name in learnt):
        counts = [
            f"{targets.rated_in(group).sum()} a face and {_article(group)} label"
            for group in targets.groups
        ]
        counts[0] = counts[0].replace(" a face", " samples have a face", 1)
        weights = [f"{_parameter(name)}={lambdas[name]}" for name in lambdas if name != "coh"]
        raise ValueError(f"Nothing to train on: {', '.join(counts)}, with {', '.join(weights)}.")
    needed = np.zeros(len(targets.values), dtype=bool)
    for name in learnt:
        needed |= serving[name]
    return found, np.flatnonzero(needed)


def _find_serving(term: LossTerm, targets: Targets, fem_learns: bool) -> NDArray[np.bool_]:
    """Return the samples that a term uses; none if it cannot be trained."""
    none = np.zeros(len(targets.values), dtype=bool)
    if term.joins_sets:
        by_per, by_emo = targets.rated.T
        both_sides = (by_per & ~by_emo).any() and (by_emo & ~by_per).any()
        return by_per | by_emo if both_sides and fem_learns else none
    if term.reads is not None and not targets.groups[term.reads]:
        return none
    return ~none if term.labels is None else targets.rated_in(term.labels)


def _article(group: str) -> str:
    return f"an {group}" if group[0] in "aeiou" else f"a {group}"


def _parameter(name: str) -> str:
    return f"lambda_{name}" if name in PAPER_TERMS else f"extra_lambdas[{name!r}]"


def make_scaler(
    targets: Targets, weight: NDArray[np.float64], *, standardize: bool
) -> TargetScaler:
    """Make the scaler of the labels; extra terms decide about their own labels."""
    scaled = np.full(len(targets.in_order), standardize)
    for name in targets.extra:
        scaled[targets.columns(name)] = get_term(name).standardize
    scaler = TargetScaler(targets.values, weight, scaled)
    leave_to_mean(scaler, targets.values, targets.in_order)
    return scaler


def label_clips(
    clips: Sequence[NDArray[Any]],
    targets: Targets,
    scaler: TargetScaler,
    weight: NDArray[np.float64],
    n_segments: int,
) -> LabelledClips:
    """Join clips with their labels, in the units of the network."""
    y = scaler.transform(targets.values).astype(np.float32)
    by_per, by_emo = targets.rated.T
    labels: dict[str, NDArray[Any]] = {
        group: y[:, targets.columns(group)] for group in targets.groups
    }
    labels["weight"] = weight.astype(np.float32)
    # A sample of both sets, or of neither, cannot be used to compare them.
    domain = np.select([by_per == by_emo, by_per], [-1, 0], default=1)
    labels["domain"] = domain.astype(np.int64)
    return LabelledClips(clips, labels, n_segments)


def hold_out(
    data: LabelledClips,
    targets: Targets,
    groups: NDArray[Any],
    fraction: float,
    rng: np.random.RandomState,
) -> tuple[LabelledClips, LabelledClips]:
    """Hold out whole groups for early stopping, with both kinds of label on each side."""
    emotion = targets.columns("emotion")
    # The splitter knows two kinds: labels of extra terms count as the first.
    first = [name for name in targets.in_order if name not in targets.emotion]
    values = np.delete(targets.values, emotion, axis=1)
    splitter = AffectGroupShuffleSplit(
        1, test_size=fraction, random_state=rng, personality=first, emotion=targets.emotion
    )
    values = np.concatenate([values, targets.values[:, emotion]], axis=1)
    train_rows, held_out_rows = next(splitter.split(groups, values, groups))
    return data.subset(train_rows), data.subset(held_out_rows)


def make_network(
    backbone: Backbone, targets: Targets, lambdas: Mapping[str, float], heads: str
) -> PersEmoN:
    """Build the network, with the heads that the losses train.

    Parameters
    ----------
    backbone : Backbone
    targets : Targets
        Only its groups and names are used.
    lambdas : mapping of str to float
        The weight of each term; a head whose term has none is not built.
    heads : str
        As in :class:`JointAffectEstimator`.
    """
    taught = [get_term(name) for name, weight in lambdas.items() if weight > 0]
    network = PersEmoN(
        backbone,
        len(targets.personality),
        len(targets.emotion),
        heads=[term.head for term in taught if term.build_head is None],
        **HEAD_STYLES[heads],
        extra_heads={
            term.head: term.build_head(backbone.n_features, len(targets.extra.get(term.name, ())))
            for term in taught
            if term.build_head is not None
        },
    )
    if backbone.input_size is not None:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def make_losses(lambdas: Mapping[str, float], regression: str) -> PersEmoNLoss:
    """Build the losses from the weight of each term and the name of the regression loss."""
    four = {f"lambda_{name}": lambdas[name] for name in PAPER_TERMS}
    extra = {name: weight for name, weight in lambdas.items() if name not in PAPER_TERMS}
    return PersEmoNLoss(**four, regression=regression, extra_lambdas=extra)


def make_net(
    network: PersEmoN,
    criterion: PersEmoNLoss,
    data: LabelledClips,
    held_out: LabelledClips | None,
    settings: TrainingSettings,
    rng: np.random.RandomState,
    randomness: OwnRandomness,
    device: str,
) -> AffectNet:
    """Assemble a network, its loss and its training, and initialise them."""
    check_layers(network)
    frames = [len(clip) for clip in data.clips]
    labels = {name: values.tobytes() for name, values in data.labels.items()}
    check_equal("Samples and labels", hashlib.sha256(f"{frames}{labels}".encode()).hexdigest())
    on_faces = network.fem.input_size is not None
    penalties = None
    if not on_faces and settings.heads == "linear":
        penalties = start_heads(network, data, criterion)
    batches = partial(
        MixedBatches,
        batch_size=settings.batch_size,
        personality_fraction=settings.personality_fraction,
        rng=rng,
        shuffle=settings.shuffle,
    )
    checkpoint = None
    if settings.checkpoint is not None:
        arrays = (array for part in (data, held_out) if part is not None for array in part.arrays())
        training = fingerprint(settings.identity, network.state_dict(), arrays)
        checkpoint = Checkpoint(StateFile(settings.checkpoint, training), rng, randomness)
    optimizer, options = OPTIMIZERS[settings.optimizer]
    net = AffectNet(
        network,
        criterion,
        batches=batches,
        weight_decay=settings.weight_decay,
        augmentation=settings.augmentation if on_faces else None,
        precision=settings.precision,
        penalties=penalties,
        randomness=randomness,
        optimizer=optimizer,
        lr=settings.learning_rate,
        max_epochs=settings.max_epochs,
        batch_size=settings.batch_size,
        device=device,
        train_split=None,
        verbose=0,
        callbacks__print_log=None,
        callbacks=standard_callbacks(
            schedule=settings.schedule,
            n_steps=settings.max_epochs * len(batches(data)),
            max_grad_norm=settings.max_grad_norm,
            patience=settings.n_iter_no_change if settings.early_stopping else None,
            verbose=bool(settings.verbose),
            extra=settings.callbacks,
            checkpoint=checkpoint,
        ),
        **{f"optimizer__{name}": value for name, value in options.items()},
    )
    return net.initialize()
