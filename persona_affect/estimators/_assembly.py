"""Assembles a net that is ready to train, from face clips and partly missing labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from os import PathLike
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from persona_affect._warnings import warn_user
from persona_affect.exceptions import NoFaceWarning
from persona_affect.model_selection import AffectGroupShuffleSplit
from persona_affect.networks import Backbone, PersEmoN
from persona_affect.objectives import PersEmoNLoss

from ._batches import LabelledClips, MixedBatches
from ._checkpoint import Checkpoint, fingerprint
from ._head_start import start_heads
from ._inference import name_samples
from ._presets import HEAD_STYLES
from ._targets import Targets, TargetScaler
from ._training import OPTIMIZERS, AffectNet, standard_callbacks

#: Parameters that do not change the model, and the backbone, which its weights identify.
_NOT_IDENTIFYING = ("backbone", "callbacks", "checkpoint", "verbose")


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


def choose_losses(
    wanted: Mapping[str, float], targets: Targets, fem_learns: bool
) -> tuple[dict[str, float], NDArray[np.intp]]:
    """Choose the losses that have training data, and the samples that they use.

    Parameters
    ----------
    wanted : mapping of str to float
        ``lambda_per``, ``lambda_emo``, ``lambda_coh`` and ``lambda_ram``.
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
        If no loss is left.
    """
    by_per, by_emo = targets.rated.T
    both_sides = bool((by_per & ~by_emo).any() and (by_emo & ~by_per).any())
    has_relation = bool(by_per.any() and targets.emotion)
    lambdas = {
        "lambda_per": wanted["lambda_per"] if by_per.any() else 0.0,
        "lambda_emo": wanted["lambda_emo"] if by_emo.any() else 0.0,
        "lambda_coh": wanted["lambda_coh"] if both_sides and fem_learns else 0.0,
        "lambda_ram": wanted["lambda_ram"] if has_relation else 0.0,
    }
    per, emo, coh, ram = (value > 0 for value in lambdas.values())
    if not (per or emo or ram):
        given = ", ".join(f"{name}={wanted[name]}" for name in wanted if name != "lambda_coh")
        raise ValueError(
            f"Nothing to train on: {by_per.sum()} samples have a face and a personality label, "
            f"{by_emo.sum()} a face and an emotion label, with {given}."
        )
    needed = np.zeros(len(by_per), dtype=bool)
    if per or ram or coh:
        needed |= by_per
    if emo or coh:
        needed |= by_emo
    return lambdas, np.flatnonzero(needed)


def label_clips(
    clips: Sequence[NDArray[Any]],
    targets: Targets,
    scaler: TargetScaler,
    weight: NDArray[np.float64],
    n_segments: int,
) -> LabelledClips:
    """Join clips with their labels, in the units of the network."""
    y = scaler.transform(targets.values).astype(np.float32)
    split, rated = len(targets.personality), targets.rated
    domain = np.select([rated.all(1), rated[:, 0]], [-1, 0], default=1).astype(np.int64)
    labels: dict[str, NDArray[Any]] = {
        "personality": y[:, :split],
        "emotion": y[:, split:],
        "weight": weight.astype(np.float32),
        "domain": domain,
    }
    return LabelledClips(clips, labels, n_segments)


def hold_out(
    data: LabelledClips,
    targets: Targets,
    groups: NDArray[Any],
    fraction: float,
    rng: np.random.RandomState,
) -> tuple[LabelledClips, LabelledClips]:
    """Hold out whole groups for early stopping, with both kinds of label on each side."""
    splitter = AffectGroupShuffleSplit(
        1,
        test_size=fraction,
        random_state=rng,
        personality=targets.personality,
        emotion=targets.emotion,
    )
    train_rows, held_out_rows = next(splitter.split(groups, targets.values, groups))
    return data.subset(train_rows), data.subset(held_out_rows)


def make_network(
    backbone: Backbone, targets: Targets, lambdas: dict[str, float], *, heads: str, loss: str
) -> tuple[PersEmoN, PersEmoNLoss]:
    """Build the network, with the heads that the losses train, and the losses."""
    term_of_head = {"pam": "per", "eam": "emo", "ram": "ram", "domain": "coh"}
    network = PersEmoN(
        backbone,
        len(targets.personality),
        len(targets.emotion),
        heads=[head for head, term in term_of_head.items() if lambdas[f"lambda_{term}"] > 0],
        **HEAD_STYLES[heads],
    )
    if backbone.input_size is not None:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, PersEmoNLoss(**lambdas, regression=loss)


def make_net(
    backbone: Backbone,
    targets: Targets,
    lambdas: dict[str, float],
    data: LabelledClips,
    held_out: LabelledClips | None,
    settings: TrainingSettings,
    rng: np.random.RandomState,
    device: str,
) -> AffectNet:
    """Assemble the network, its loss and its training, and initialise them."""
    network, criterion = make_network(
        backbone, targets, lambdas, heads=settings.heads, loss=settings.loss
    )
    on_faces = backbone.input_size is not None
    penalties = None
    if not on_faces and settings.heads == "linear":
        penalties = start_heads(network, data, criterion)
    batches = partial(
        MixedBatches,
        batch_size=settings.batch_size,
        personality_fraction=settings.personality_fraction,
        rng=rng,
    )
    checkpoint = None
    if settings.checkpoint is not None:
        training = fingerprint(settings.identity, network.state_dict(), (data, held_out))
        checkpoint = Checkpoint(settings.checkpoint, training, rng)
    optimizer, options = OPTIMIZERS[settings.optimizer]
    net = AffectNet(
        network,
        criterion,
        batches=batches,
        weight_decay=settings.weight_decay,
        augmentation=settings.augmentation if on_faces else None,
        precision=settings.precision,
        penalties=penalties,
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
