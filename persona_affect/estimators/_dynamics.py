"""Person-specific facial dynamics as a scikit-learn transformer."""

from collections.abc import Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from persona_affect._device import resolve_device
from persona_affect._random import OwnRandomness
from persona_affect._ranks import check_random_state
from persona_affect._sklearn import Interval, StrOptions, fit_context
from persona_affect.networks import UNET_LEVELS, DynamicsUNet

from ._checkpoint import StateFile, check_checkpoint, fingerprint
from ._dynamics_adaptation import Whitening
from ._dynamics_samples import check_sizes, hold_out, prepare_clip, read_persons
from ._dynamics_training import train_generic
from ._dynamics_transform import DynamicsTransform
from ._state import (
    Facts,
    Tensors,
    add_prefix,
    check_finite,
    fill_network,
    pack_table,
    take,
    unpack_table,
)

#: Persons whose gradients the whitening is estimated from; for few channels this is enough.
_WHITENING_PERSONS = 64
#: Windows of each of their clips, at most.
_WHITENING_WINDOWS = 32


class PersonDynamicsEncoder(DynamicsTransform):
    r"""Describe persons by how they move: by weights of filters that learn from their clips.

    `fit` trains a generic U-net on unlabelled face clips to recognise the order of frames in time,
    at several temporal scales. `transform` freezes it, inserts filters, and trains them on one
    person's clips by the same rank loss; the change of their weights is the descriptor. No labels
    are used, so that descriptors can predict self-reported and apparent traits.

    Where the paper trains the filters for many steps, the default takes one step of whitened
    gradient descent from zero: the descriptor is then a mean over the person's windows.

    Each sample is one person: a clip, or a list of clips (of several tasks, for example). The
    frames of a clip follow each other at equal times, and those of all clips at the same rate:
    ``FaceAligner(rate=25)`` makes such clips, and says where the face was lost, so that nothing is
    learnt across a gap (:class:`persona_affect.faces.FaceClip`).

    Parameters
    ----------
    scales : sequence of int, default=(1, 2, 4, 8)
        Temporal scales k: a window holds the k frames before its centre frame and the k after it.
        At 25 frames a second the defaults are 0.04, 0.08, 0.16 and 0.32 seconds to either side.
    context : int, default=3
        Number of input frames of the network, odd. 1, as published, is a single frame; 3 adds its
        neighbours, and with them the direction of motion, which a single frame rarely shows.
    spacing : int or "scale", default="scale"
        Distance between the input frames. ``"scale"``: as far as the window of each scale reaches,
        as in dilated convolutions, with one pass for each scale. This is not in the paper. It ranks
        frames much better at large scales, and tells real persons apart better. 1, neighbours, is
        faster: one pass serves all scales.
    image_size : tuple of (height, width), default=(28, 24)
        Faces are shrunk to this size, and the clip's mean face is subtracted.
    widths : tuple of three int, default=(8, 16, 32)
        Channels of the U-net's levels, multiples of 8.
    filter_levels : sequence of str, default=all of :data:`persona_affect.networks.UNET_LEVELS`
        Levels after which person filters are inserted.
    filter_lags : sequence of int, default=(0,)
        Frames over which filters reach: each lag has filters of its own, which read the features of
        the window so many frames later. ``(-4, 0, 4)`` tells styles of movement apart better on
        rendered persons, with three times the features. On halves of 1.5 seconds of six real
        speakers it is worse than 0 alone. Not in the paper. Lags other than 0 need ``n_steps=1``
        and ``n_windows=None``.
    n_steps : int, default=1
        Training steps of the filters.
    step_size : float, default=1.0
        Learning rate of the filters. With one step it only scales the descriptor.
    whiten : bool, default=True
        Whiten the gradients of the filters by their second moments over the persons of `fit`.
    filter_margin : float, default=10.0
        Margin of the rank loss of the filters. If it is larger than all differences of scores, like
        the default, every pair of frames counts; with a small margin, only pairs in the wrong
        order.
    n_windows : int or None, default=None
        Number of windows of a clip, evenly spaced, that the filters learn from; None for all. Fewer
        are faster, and make descriptors of long clips noisier.
    batch_persons : int, default=8
        Persons adapted at once. It limits the memory, and changes results by rounding only. On a
        GPU, more is faster; on a CPU, a few fit better into the caches.
    margin : float, default=1.0
        Margin of the rank loss of the generic network.
    learning_rate, weight_decay : float, default=2e-3, 0.01
        Settings of AdamW for the generic network; the rate decreases along a cosine.
    max_epochs : int, default=60
        Passes over the clips.
    batch_size, windows_per_clip : int, default=8, 8
        Clips in a training batch, and windows drawn from each.
    early_stopping : bool, default=True
        Hold out `validation_fraction` of the samples, stop when their frames have not been ranked
        better for `n_iter_no_change` epochs, and keep the best weights.
    validation_fraction : float, default=0.1
        Fraction held out by `early_stopping`, at least one sample.
    n_iter_no_change : int, default=15
        Patience of `early_stopping`, in epochs.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU if there is one.
    random_state : int, RandomState instance or None, default=None
        Seed of initialisation and batches. On a CPU the same seed gives the same model, bit by bit,
        also beside other fits in threads and processes, if torch uses as many threads in each.
        (joblib gives its processes fewer, unless ``inner_max_num_threads`` is set.)
    checkpoint : path-like, default=None
        Write the state of the training of the generic network to this file after each epoch, and
        resume from it if it exists. The model is then the same, bit by bit, as without the
        interruption. Each fit needs a file of its own, and an integer `random_state`; remove the
        file after the training.
    verbose : int, default=0
        1 shows progress bars, in training with the loss and the held-out accuracy.

    Attributes
    ----------
    net_ : DynamicsUNet
        The generic network, on the CPU.
    whitening_ : Whitening
        Statistics that whiten the gradients.
    history_ : pandas.DataFrame
        A row per epoch: `epoch`, `train_loss`, `valid_accuracy` and `seconds`.
    n_iter_ : int
        Epochs trained.

    Notes
    -----
    The method follows Song et al.; sizes, scores, the form of the filters and their training rule
    are our reconstruction. The paper trains the filters on the person's videos for many steps. By
    default we take one step only: the whitened gradient, from zero, over all windows;
    :func:`song2021_params` gives the recipe of the paper. In our
    measurements 24 and 100 steps of Adam or SGD on the hinge with margin 1 made descriptors worse.

    References
    ----------
    Song, Jaiswal, Sanchez, Tzimiropoulos, Shen, Valstar, "Self-supervised Learning of
    Person-specific Facial Dynamics for Automatic Personality Recognition", IEEE Transactions on
    Affective Computing, 2021, doi 10.1109/TAFFC.2021.3064601.

    See Also
    --------
    TaskFusion : Descriptors of several tasks, fused early or late.
    persona_affect.FaceAligner : Makes face clips from videos.
    song2021_params : The paper's recipe.

    Examples
    --------
    >>> from persona_affect import PersonDynamicsEncoder
    >>> from persona_affect.datasets import make_dynamic_clips
    >>> clips = make_dynamic_clips(4, n_frames=20, random_state=0)
    >>> encoder = PersonDynamicsEncoder(scales=(1, 2), max_epochs=1, random_state=0)
    >>> encoder.fit_transform(clips.data).shape
    (8, 7424)
    """

    history_: pd.DataFrame
    n_iter_: int

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "scales": ["array-like"],
        "context": [Interval(Integral, 1, None, closed="left")],
        "spacing": [StrOptions({"scale"}), Interval(Integral, 1, None, closed="left")],
        "image_size": [tuple, list],
        "widths": [tuple, list],
        "filter_levels": ["array-like"],
        "filter_lags": ["array-like"],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "step_size": [Interval(Real, 0, None, closed="neither")],
        "whiten": ["boolean"],
        "filter_margin": [Interval(Real, 0, None, closed="neither")],
        "n_windows": [Interval(Integral, 1, None, closed="left"), None],
        "batch_persons": [Interval(Integral, 1, None, closed="left")],
        "margin": [Interval(Real, 0, None, closed="neither")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "windows_per_clip": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "checkpoint": [str, PathLike, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        scales: Sequence[int] = (1, 2, 4, 8),
        context: int = 3,
        spacing: str | int = "scale",
        image_size: tuple[int, int] = (28, 24),
        widths: tuple[int, int, int] = (8, 16, 32),
        filter_levels: Sequence[str] = UNET_LEVELS,
        filter_lags: Sequence[int] = (0,),
        n_steps: int = 1,
        step_size: float = 1.0,
        whiten: bool = True,
        filter_margin: float = 10.0,
        n_windows: int | None = None,
        batch_persons: int = 8,
        margin: float = 1.0,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
        max_epochs: int = 60,
        batch_size: int = 8,
        windows_per_clip: int = 8,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 15,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        checkpoint: str | PathLike[str] | None = None,
        verbose: int = 0,
    ) -> None:
        self.scales = scales
        self.context = context
        self.spacing = spacing
        self.image_size = image_size
        self.widths = widths
        self.filter_levels = filter_levels
        self.filter_lags = filter_lags
        self.n_steps = n_steps
        self.step_size = step_size
        self.whiten = whiten
        self.filter_margin = filter_margin
        self.n_windows = n_windows
        self.batch_persons = batch_persons
        self.margin = margin
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.windows_per_clip = windows_per_clip
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.random_state = random_state
        self.checkpoint = checkpoint
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the generic network on unlabelled face clips.

        Parameters
        ----------
        X : array-like of n_samples persons
            Each a face clip (T, H, W, 3), uint8, as :class:`persona_affect.FaceAligner` returns
            them, or a list of several.
        y : None
            Ignored.

        Returns
        -------
        self

        Raises
        ------
        InvalidImageError
            If a sample is not a face clip, or has a clip too short for the largest scale.
        ValueError
            If a parameter is out of range, no sample has a face, or `checkpoint` is another's.
        ModelFormatError
            If `checkpoint` is damaged.
        OutputError
            If `checkpoint` cannot be written; the state before is unchanged.
        TrainingDivergedError
            If the loss becomes infinite or NaN.

        Warns
        -----
        NoFaceWarning
            If samples have no face; the message names them, and they are left out.
        """
        self._check_sizes()
        check_checkpoint(self.checkpoint, self.random_state)
        rng = check_random_state(self.random_state)
        device = resolve_device(self.device)
        randomness = OwnRandomness(rng.randint(2**31 - 1))
        with randomness:
            net = self._make_network().to(device)
        persons = [
            [prepare_clip(clip, self.image_size).to(device) for clip in clips]
            for clips in read_persons(X, net, self.image_size, "left out of the training")
            if clips
        ]
        train_set, held_out = hold_out(
            persons, self.validation_fraction if self.early_stopping else None, rng
        )
        parts = [[clip for clips in part for clip in clips] for part in (train_set, held_out)]
        self.history_ = train_generic(
            net,
            *parts,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            windows_per_clip=self.windows_per_clip,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            margin=self.margin,
            patience=self.n_iter_no_change,
            # Of the CPU, so that a seed means the same windows on every device.
            generator=randomness.generator("cpu"),
            checkpoint=self._state_file(net, parts),
            verbose=bool(self.verbose),
        )
        # Without gradients of the training, which copies and pickles do not need.
        net.requires_grad_(False).zero_grad()
        self.whitening_ = (
            Whitening.estimate(
                net,
                train_set[:_WHITENING_PERSONS],
                list(self.filter_levels),
                margin=self.filter_margin,
                n_windows=min(self.n_windows or _WHITENING_WINDOWS, _WHITENING_WINDOWS),
                device=device,
            )
            if self.whiten
            else Whitening.identity(net, self.filter_levels)
        )
        self.net_ = net.cpu()
        self.n_iter_ = len(self.history_)
        return self

    def _state_file(self, net: DynamicsUNet, parts: list[list[Tensor]]) -> StateFile | None:
        """Return the file of `checkpoint`, for a training of `net` on these clips."""
        if self.checkpoint is None:
            return None
        params = {k: v for k, v in self.get_params().items() if k not in ("checkpoint", "verbose")}
        arrays = (clip.cpu().numpy() for part in parts for clip in part)
        return StateFile(self.checkpoint, fingerprint(params, net.state_dict(), arrays))

    def _check_sizes(self) -> None:
        check_sizes(
            scales=self.scales,
            context=self.context,
            image_size=self.image_size,
            widths=self.widths,
            filter_levels=self.filter_levels,
        )
        self._check_lags()

    def _make_network(self) -> DynamicsUNet:
        return DynamicsUNet(self.scales, self.context, self.widths, self.spacing)

    def _get_state(self) -> tuple[Facts, Tensors]:
        tensors = {
            **add_prefix("network", self.net_.state_dict()),
            **add_prefix("before", self.whitening_.before),
            **add_prefix("after", self.whitening_.after),
            **add_prefix("history", pack_table(self.history_)),
        }
        return {"history": list(self.history_.columns)}, tensors

    def _set_state(self, facts: Facts, tensors: Tensors) -> None:
        self._check_sizes()
        network = fill_network(self._make_network, take("network", tensors))
        before, after = take("before", tensors), take("after", tensors)
        for level in self.filter_levels:
            width = network.level_widths[level]
            expected = (len(network.scales), width, width)
            for found in (before[level], after[level]):
                if (tuple(found.shape), found.dtype) != (expected, torch.float32):
                    raise ValueError(
                        f"the whitening of {level} is {tuple(found.shape)}, not {expected}"
                    )
                check_finite(f"the whitening of {level}", found)
        if not before.keys() == after.keys() == set(self.filter_levels):
            raise ValueError(
                f"whitening for {sorted(before | after)}, not for {self.filter_levels}"
            )
        # Copies: tensors of a file are views of its memory.
        self.whitening_ = Whitening(
            {level: tensor.clone() for level, tensor in before.items()},
            {level: tensor.clone() for level, tensor in after.items()},
        )
        self.net_ = network.requires_grad_(False)
        self.history_ = unpack_table(facts["history"], take("history", tensors))
        self.n_iter_ = len(self.history_)
