"""The skorch net of the joint estimator, and the training loop of all estimators."""

import copy
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from skorch.helper import predefined_split
from skorch.utils import to_tensor
from torch import Tensor

from persona_affect._progress import tqdm
from persona_affect._random import OwnRandomness
from persona_affect._ranks import n_ranks, rank
from persona_affect._read_ahead import ReadAhead
from persona_affect.exceptions import TrainingDivergedError
from persona_affect.networks import parameter_groups
from persona_affect.objectives import PAPER_TERMS, TERMS

from ._augmentation import augment
from ._batches import BatchFrames, Feed, LabelledClips
from ._ranks import AverageGradients, gather_output

OPTIMIZERS: Final[dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]]] = {
    "adamw": (torch.optim.AdamW, {}),
    "sgd": (torch.optim.SGD, {"momentum": 0.9}),
}
_OWN_CALLBACKS: Final = {"schedule", "ranks", "clip", "stop", "checkpoint", "bar"}
PRECISIONS: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class StopTraining(Exception):  # noqa: N818
    """Raised when a callback stops the training."""


class AffectNet(NeuralNet):
    """A skorch net whose batches are face clips with labels of two kinds.

    It overrides only hooks of skorch: the groups of parameters, the batches, how the network runs
    on a batch, and the loss. skorch's own parameters apply.

    Parameters
    ----------
    module : torch.nn.Module or callable
        Network of frames.
    criterion : torch.nn.Module
        ``(output, labels, heads) -> dict`` of terms and their ``total``.
    batches : callable
        Makes a training sampler from a `LabelledClips`.
    weight_decay : float
        Weight decay of the parameters that have any.
    augmentation : {"vary", "mirror"} or None
        Augmentation of frames in training.
    precision : {"float32", "bfloat16"}
        Precision of convolutions and matrix products.
    penalties : dict of str to torch.Tensor, optional
        By linear head, the factor p of a penalty ``p / 2 |w|^2`` on each output's weights.
    randomness : OwnRandomness, optional
        Generators of what the network and further terms of the loss draw in training.
    ahead : ReadAhead, optional
        Processes that read batches ahead.
    """

    def __init__(
        self,
        module: Any,
        criterion: Any,
        *,
        batches: Any = None,
        weight_decay: float = 0.0,
        augmentation: str | None = None,
        precision: str = "float32",
        penalties: dict[str, Tensor] | None = None,
        randomness: OwnRandomness | None = None,
        ahead: ReadAhead | None = None,
        **kwargs: Any,
    ) -> None:
        self.batches = batches
        self.weight_decay = weight_decay
        self.augmentation = augmentation
        self.precision = precision
        self.penalties = penalties
        self.randomness = randomness
        self.ahead = ahead
        super().__init__(module, criterion, **kwargs)

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Notify callbacks; a callback may stop the training after an epoch.

        In skorch, callbacks do this by KeyboardInterrupt. At other times it comes from the user.
        """
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt:
            if method_name != "on_epoch_end":
                raise
            raise StopTraining from None

    def get_params_for_optimizer(self, prefix: str, named_parameters: Any) -> Any:
        """Return parameter groups with the published multipliers."""
        _, kwargs = super().get_params_for_optimizer(prefix, named_parameters)
        rate = kwargs.pop("lr", self.lr)
        return (parameter_groups(self.module_, rate, self.weight_decay),), {**kwargs, "lr": rate}

    def get_iterator(self, dataset: LabelledClips, training: bool = False) -> Feed:
        """Return mixed batches in training, and all samples in order otherwise."""
        generator = None if self.randomness is None else self.randomness.generator()
        if not training:
            return dataset.centres(self.batch_size, generator, self.ahead)
        return dataset.load(self.batches(dataset), generator, self.ahead)

    def _own_randomness(self, draws: bool) -> AbstractContextManager[Any]:
        """Return the context for what may draw; it slows small operations, so not for others."""
        return self.randomness if draws and self.randomness is not None else nullcontext()

    def infer(self, x: Any, **fit_params: Any) -> Any:
        """Run the network on frames, or on this rank's part of a batch; return the whole output."""
        batch = x if isinstance(x, BatchFrames) else None
        frames = to_tensor(x if batch is None else batch.frames, device=self.device)
        dtype = PRECISIONS[self.precision]
        device_type = torch.device(self.device).type
        with self._own_randomness(self.module_.training):
            if batch is not None and self.module_.training and self.augmentation is not None:
                frames = augment(self.augmentation, frames, batch.clip)
            with torch.autocast(device_type, dtype, enabled=dtype != torch.float32):
                output = self.module_(frames)
        return output if batch is None else gather_output(output, batch.clip)

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Tensor:
        """Return the total loss, and record its terms."""
        labels = to_tensor(y_true, device=self.device)
        with self._own_randomness(
            training and not self.criterion_.weights.keys() <= {*PAPER_TERMS}
        ):
            terms = self.criterion_(y_pred, labels, self.module_.heads)
        total: Tensor = terms.pop("total")
        if not torch.isfinite(total):
            raise TrainingDivergedError(
                f"The loss became {total.item()} in epoch {len(self.history)}; "
                f"lower learning_rate={self.lr} or set max_grad_norm."
            )
        for head, strength in (self.penalties or {}).items():
            size = getattr(self.module_, head)[0].weight.square().sum(1)
            total = total + (strength.to(size) * size).sum() / 2
        stage = "train" if training else "valid"
        for name, term in terms.items():
            self.history.record_batch(f"{stage}_{name}", term.item())
        return total

    def on_train_end(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Drop what only training needs: the sampler holds the training data."""
        super().on_train_end(net, X, y, **kwargs)
        self.batches = self.penalties = self.randomness = self.ahead = None


class Schedule:
    """Learning rate as a multiple of its start, by step.

    Parameters
    ----------
    kind : {"cosine", "step", "constant"}
        ``cosine`` increases during the first tenth, then decreases to zero; ``step`` divides by ten
        after each quarter.
    n_steps : int
        Steps in the whole training.
    """

    def __init__(self, kind: str, n_steps: int) -> None:
        self.kind = kind
        self.n_steps = n_steps

    def __call__(self, step: int) -> float:
        """Return the factor for `step`, counted from 0."""
        done = step / self.n_steps
        if self.kind == "cosine":
            warm_up = min((step + 1) / (0.1 * self.n_steps), 1.0)
            return warm_up * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return 0.1 ** int(4 * done) if self.kind == "step" else 1.0


class TrainingBar(Callback):
    """A progress bar for the whole training, with the losses."""

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Open the bar."""
        self.bar_ = tqdm(
            total=net.max_epochs, initial=len(net.history), desc="Training", unit="epoch"
        )

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Advance by an epoch."""
        last = net.history[-1]
        losses = {k: f"{last[k]:.4f}" for k in ("train_loss", "valid_loss") if k in last}
        self.bar_.set_postfix(losses, refresh=False)
        self.bar_.update()

    def on_train_end(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar_.close()


def standard_callbacks(
    *,
    schedule: str,
    n_steps: int,
    max_grad_norm: float | None,
    patience: int | None,
    verbose: bool,
    extra: Sequence[Any] | None,
    checkpoint: Callback | None = None,
) -> list[tuple[str, Callback]]:
    """Assemble callbacks; those of the caller are copied, so that clones and refits share none."""
    own = [_name_callback(i, callback) for i, callback in enumerate(extra or ())]
    callbacks: list[tuple[str, Callback]] = []
    # Ours sets the rate at each step, and would undo what the caller's does.
    if not any(isinstance(callback, LRScheduler) for _, callback in own):
        steps = LRScheduler(
            torch.optim.lr_scheduler.LambdaLR,
            lr_lambda=Schedule(schedule, n_steps),
            step_every="batch",
            event_name=None,
        )
        callbacks.append(("schedule", steps))
    if n_ranks() > 1:
        callbacks.append(("ranks", AverageGradients()))
    if max_grad_norm is not None:
        callbacks.append(("clip", GradientNormClipping(max_grad_norm)))
    if patience is not None:
        # The best weights are kept in memory: parallel searches would overwrite files.
        stop = EarlyStopping(patience=patience, load_best=True, sink=lambda _: None)
        callbacks.append(("stop", stop))
    if checkpoint is not None:
        # After callbacks whose state it restores, before those that use the restored state.
        callbacks.append(("checkpoint", checkpoint))
    if verbose and rank() == 0:
        callbacks.append(("bar", TrainingBar()))
    for name, callback in own:
        if name in _OWN_CALLBACKS or name in dict(callbacks):
            raise ValueError(f"callbacks: the name {name!r} is taken; choose another.")
        callbacks.append((name, copy.deepcopy(callback)))
    return callbacks


def _name_callback(i: int, given: Any) -> tuple[str, Any]:
    """Read a callback in one of skorch's forms: alone, its class, or a pair of a name and one."""
    name, callback = given if isinstance(given, tuple) and len(given) == 2 else (f"user_{i}", given)
    if isinstance(callback, type) and issubclass(callback, Callback):
        callback = callback()
    if not isinstance(name, str) or not isinstance(callback, Callback):
        raise ValueError(
            f"callbacks[{i}] is {given!r}, neither a skorch callback nor a pair of a name and one."
        )
    return name, callback


def train(net: NeuralNet, data: Any, held_out: Any = None) -> None:
    """Train an initialised net in place, then drop what only training needs.

    skorch's own ``fit`` ignores an interrupt and returns. Here the interrupt is raised, so that a
    half-trained model never looks like a trained one.
    """
    net.train_split = None if held_out is None else predefined_split(held_out)
    net.notify("on_train_begin", X=data, y=None)
    try:
        # Some epochs may come from a checkpoint.
        net.fit_loop(data, epochs=net.max_epochs - len(net.history))
    except StopTraining:
        net.history[-1]["stopped"] = True
    finally:
        net.notify("on_train_end", X=data, y=None)
    settle(net)


def settle(net: NeuralNet) -> None:
    """Drop all parts of a net that prediction does not need, in place; a refit builds a new net."""
    # The state of the optimiser is up to twice as large as the weights.
    del net.optimizer_
    net.module, net.criterion = type(net.module_), type(net.criterion_)
    net.callbacks_, net.callbacks = [], None
    net.train_split = None
    net.module_.eval()


def history_table(net: NeuralNet) -> pd.DataFrame:
    """Tabulate the history: a row per epoch, the total loss and its terms as columns."""
    rows = []
    for epoch in net.history:
        row: dict[str, float] = {"epoch": epoch["epoch"]}
        for stage in ("train", "valid"):
            if f"{stage}_loss" in epoch:
                row[f"{stage}_loss"] = epoch[f"{stage}_loss"]
            for term in TERMS:
                values = [b[f"{stage}_{term}"] for b in epoch["batches"] if f"{stage}_{term}" in b]
                if values:
                    row[f"{stage}_{term}"] = float(np.mean(values))
        row["seconds"] = epoch["dur"]
        rows.append(row)
    return pd.DataFrame(rows)
