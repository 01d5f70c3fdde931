"""Assembles a net that is ready to train, from face clips and partly missing labels."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from ._joint import JointAffectEstimator


def find_present(clips: Sequence[NDArray[Any]], weight: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the samples that have a face and a weight; one warning names those without a face."""
    has_face = np.array([len(clip) > 0 for clip in clips])
    if not has_face.all():
        which = name_samples(np.flatnonzero(~has_face).tolist())
        warn_user(f"{which} no face; left out of the training.", NoFaceWarning)
    return np.flatnonzero(has_face & (weight > 0))


def choose_losses(
    estimator: "JointAffectEstimator", targets: Targets, fem_learns: bool
) -> tuple[dict[str, float], NDArray[np.intp]]:
    """Choose the losses that have training data, and the samples that they use.

    Parameters
    ----------
    estimator : JointAffectEstimator
        Only its four weights are used.
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
        "lambda_per": estimator.lambda_per if by_per.any() else 0.0,
        "lambda_emo": estimator.lambda_emo if by_emo.any() else 0.0,
        "lambda_coh": estimator.lambda_coh if both_sides and fem_learns else 0.0,
        "lambda_ram": estimator.lambda_ram if has_relation else 0.0,
    }
    per, emo, coh, ram = (value > 0 for value in lambdas.values())
    if not (per or emo or ram):
        raise ValueError(
            f"Nothing to train on: {by_per.sum()} samples have a face and a personality label, "
            f"{by_emo.sum()} a face and an emotion label, with lambda_per={estimator.lambda_per}, "
            f"lambda_emo={estimator.lambda_emo}, lambda_ram={estimator.lambda_ram}."
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
    estimator: "JointAffectEstimator",
    backbone: Backbone,
    targets: Targets,
    lambdas: dict[str, float],
) -> tuple[PersEmoN, PersEmoNLoss]:
    """Build the network, with the heads that the losses train, and the losses."""
    term_of_head = {"pam": "per", "eam": "emo", "ram": "ram", "domain": "coh"}
    network = PersEmoN(
        backbone,
        len(targets.personality),
        len(targets.emotion),
        heads=[head for head, term in term_of_head.items() if lambdas[f"lambda_{term}"] > 0],
        **HEAD_STYLES[estimator.heads],
    )
    if backbone.input_size is not None:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, PersEmoNLoss(**lambdas, regression=estimator.loss)


def make_net(
    estimator: "JointAffectEstimator",
    backbone: Backbone,
    targets: Targets,
    lambdas: dict[str, float],
    data: LabelledClips,
    held_out: LabelledClips | None,
    rng: np.random.RandomState,
    device: str,
) -> AffectNet:
    """Assemble the network, its loss and its training, and initialise them."""
    network, criterion = make_network(estimator, backbone, targets, lambdas)
    on_faces = backbone.input_size is not None
    penalties = None
    if not on_faces and estimator.heads == "linear":
        penalties = start_heads(network, data, criterion)
    batches = partial(
        MixedBatches,
        batch_size=estimator.batch_size,
        personality_fraction=estimator.personality_fraction,
        rng=rng,
    )
    checkpoint = None
    if estimator.checkpoint is not None:
        # These do not change the model. A backbone is identified by its weights.
        ignored = ("backbone", "callbacks", "checkpoint", "verbose")
        parameters = {k: v for k, v in estimator.get_params().items() if k not in ignored}
        training = fingerprint(parameters, network.state_dict(), (data, held_out))
        checkpoint = Checkpoint(estimator.checkpoint, training, rng)
    optimizer, settings = OPTIMIZERS[estimator.optimizer]
    net = AffectNet(
        network,
        criterion,
        batches=batches,
        weight_decay=estimator.weight_decay,
        augmentation=estimator.augmentation if on_faces else None,
        precision=estimator.precision,
        penalties=penalties,
        optimizer=optimizer,
        lr=estimator.learning_rate,
        max_epochs=estimator.max_epochs,
        batch_size=estimator.batch_size,
        device=device,
        train_split=None,
        verbose=0,
        callbacks__print_log=None,
        callbacks=standard_callbacks(
            schedule=estimator.schedule,
            n_steps=estimator.max_epochs * len(batches(data)),
            max_grad_norm=estimator.max_grad_norm,
            patience=estimator.n_iter_no_change if estimator.early_stopping else None,
            verbose=bool(estimator.verbose),
            extra=estimator.callbacks,
            checkpoint=checkpoint,
        ),
        **{f"optimizer__{name}": value for name, value in settings.items()},
    )
    return net.initialize()
