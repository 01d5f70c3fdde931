"""PersEmoN as a scikit-learn regressor."""

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils import Tags, check_consistent_length

from persona_affect._device import resolve_device
from persona_affect._random import OwnRandomness
from persona_affect._ranks import check_random_state
from persona_affect._sklearn import Interval, StrOptions, check_sample_weight, fit_context
from persona_affect.networks import Backbone, EmbeddingAdapter
from persona_affect.objectives import REGRESSION_LOSSES, TERMS

from ._assembly import (
    TrainingSettings,
    choose_losses,
    find_present,
    hold_out,
    label_clips,
    make_losses,
    make_net,
    make_network,
    make_scaler,
    read_lambdas,
)
from ._augmentation import AUGMENTATIONS
from ._backbone_params import BACKBONE_CONSTRAINT
from ._batches import start_workers
from ._checkpoint import check_checkpoint
from ._joint_state import JointState
from ._prediction import JointPrediction
from ._presets import HEAD_STYLES
from ._targets import read_targets
from ._training import OPTIMIZERS, PRECISIONS, history_table, train


class JointAffectEstimator(JointPrediction, JointState):
    """Predict apparent personality and emotion from faces, trained jointly (PersEmoN).

    One network: a shared feature extractor (FEM), a head for personality (PAM), a head for arousal
    and valence (EAM), and a module from emotion to personality (RAM). One ``fit`` takes the union
    of a personality set and an emotion set, with NaN for what was not rated, and minimises
    ``L = lambda_per L_per + lambda_emo L_emo + lambda_coh L_coh + lambda_ram L_RAM``.

    Predictions are apparent traits: impressions that faces make on raters, not what people are.

    Parameters
    ----------
    backbone : str or callable, default="sphereface4"
        The FEM: a name in :data:`persona_affect.networks.BACKBONES`, such as ``"sphereface20"``
        (the papers') or ``"resnet29"``, or a function that returns a
        :class:`persona_affect.networks.Backbone`. Not used if `X` holds embeddings.
    weights : path-like or "pretrained", default=None
        Initial weights of the FEM; see :func:`persona_affect.networks.make_backbone`.
    backbone_params : dict, default=None
        Options of the backbone, such as ``{"levels": "pooled"}`` of the ResNet29; see the network's
        class. In a search, ``backbone__levels`` sets one of them.
    mirror : bool, default=True
        Average predictions over each face and its mirror image; it takes twice the time. Not used
        on embeddings.
    lambda_per, lambda_emo : float, default=1.0
        Weights of the personality and the emotion loss.
    lambda_coh : float, default=0.05
        Weight of the coherence loss between the two sets.
    lambda_ram : float, default=0.2
        Weight of the loss of personality predicted from emotion. A loss of weight 0 is not
        computed, its head is not built, and faces that no other loss uses are not read; its
        targets are predicted as their mean.
    extra_lambdas : dict, default=None
        Weights of extra terms of the loss, by their names; see
        :func:`persona_affect.objectives.register_term`. A term may have its own head and targets.
    personality, emotion : sequence of str, default=None
        Names of the targets in `y`, personality first. None for the default seven; see `fit`.
    n_segments : int, default=3
        A clip is divided into this many equal segments. Training draws a random frame from each,
        prediction uses the centre frames, and predictions are averaged over the frames.
    heads : {"linear", "authors", "deeppersonality"}, default="linear"
        Outputs of the heads. ``"linear"`` predicts standardised targets with linear outputs. The
        other two predict raw targets with the published activations; the targets must then be in
        their range ([-1, 1] for emotion).
    loss : {"half_squared_error", "smooth_l1"}, default="half_squared_error"
        The loss of each regression.
    optimizer : {"adamw", "sgd"}, default="adamw"
        SGD has momentum 0.9.
    learning_rate : float, default=1e-3
        Highest learning rate of weights; that of biases is twice as high.
    weight_decay : float, default=0.05
        Weight decay; see :func:`persona_affect.networks.parameter_groups`.
    schedule : {"cosine", "step", "constant"}, default="cosine"
        ``"cosine"`` increases the rate during the first tenth of the training, then decreases it to
        zero; ``"step"`` divides it by ten after each quarter.
    max_epochs : int, default=60
        Passes over the larger of the two sets.
    batch_size : int, default=64
        Samples in a training batch.
    personality_fraction : float, default=0.5
        Fraction of the personality set in each batch, in (0, 1), whatever the sizes of the sets.
    shuffle : {"samples", "blocks"}, default="samples"
        ``"blocks"``: eight samples that follow each other in `X` are used within the same eight
        batches, in any order, so that stored faces are read in longer pieces. It trains another
        model than ``"samples"``. Faster only if samples have one frame; see `n_workers`.
    max_grad_norm : float or None, default=1.0
        Gradients are clipped to this norm.
    augmentation : {"vary", "mirror"} or None, default="vary"
        ``"mirror"`` is that of the authors; ``"vary"`` also rotates, scales and shifts faces, and
        changes the light. Not used on embeddings.
    embedding_scale : {"each", "common"}, default="each"
        Divide each feature of embeddings by its own standard deviation, or all by the same number.
        ``"common"`` is for features in the same unit, such as the pixels of a network's maps: to
        scale up those that are rarely active reduces the accuracy a lot.
    adapter_rank : int, default=0
        On embeddings, rank of a residual linear layer before the heads, which starts at zero. With
        0 the features are fixed, so that the coherence loss has no effect and is left out.
    early_stopping : bool, default=False
        Hold out `validation_fraction` of the samples (of the groups, if `fit` gets any), stop when
        their loss has not improved for `n_iter_no_change` epochs, and keep the best weights.
    validation_fraction : float, default=0.1
        Fraction held out by `early_stopping`, in (0, 1).
    n_iter_no_change : int, default=10
        Patience of `early_stopping`, in epochs.
    precision : {"float32", "bfloat16"}, default="float32"
        Precision of convolutions and matrix products. bfloat16 is about twice as fast on
        processors that support it, and slower on others.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, or ``"auto"``: a GPU if there is one.
    callbacks : list of skorch callbacks, default=None
        Callbacks, or pairs ``("name", callback)``; copied before use. A LRScheduler of skorch
        takes the place of `schedule`.
    checkpoint : path-like, default=None
        A file for the state of the training, written after each epoch. If it exists, `fit` resumes
        from it, and gives the same model, bit by bit, as a training without interruption.
        Parameters and data must be the same, and `random_state` an integer; `callbacks` start from
        the beginning. Each fit needs a file of its own: do not use it in searches.
    n_workers : int, default=0
        Processes that read stored faces (``FaceAligner(cache=...)``) ahead of the training, on
        Linux. It does not change the model. A training on a CPU needs none.
    random_state : int, RandomState instance or None, default=None
        Seed of initialisation, batches and augmentation. The same seed gives the same model, bit by
        bit, on one machine, also while other fits run in threads or processes; torch's global
        generators are not used.
    verbose : int, default=0
        1 shows progress bars.

    Attributes
    ----------
    net_ : AffectNet
        The trained skorch net; ``net_.module_`` is the :class:`persona_affect.networks.PersEmoN`.
    target_names_ : list of str
        Names of the predicted columns, in the order of `y`.
    personality_names_, emotion_names_ : list of str
        The two groups.
    extra_names_ : dict of str to list of str
        Names of the targets of each extra term.
    target_means_ : ndarray of shape (n_targets,)
        Mean label of each target, NaN for a target without labels.
    target_stds_ : ndarray of shape (n_targets,)
        Standard deviation of each target's labels (1 for one predicted by its mean); NaN for a
        target without labels, and with `heads` that predict raw targets.
    history_ : pandas.DataFrame
        A row per epoch: total loss, its terms, and seconds.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Width of the embeddings; only if `X` held embeddings.

    References
    ----------
    Zhang, Peng, Winkler, "PersEmoN: A Deep Network for Joint Analysis of Apparent Personality,
    Emotion and Their Relationship", IEEE Transactions on Affective Computing, arXiv 1811.08657.

    See Also
    --------
    persemon_params : The settings of the papers.
    RAMRegressor : The module from emotion to personality alone.

    Examples
    --------
    >>> from persona_affect import JointAffectEstimator
    >>> from persona_affect.datasets import make_affect_faces
    >>> faces = make_affect_faces(12, aligned=True, random_state=0)
    >>> model = JointAffectEstimator(max_epochs=1, random_state=0).fit(faces.data, faces.truth)
    >>> model.predict(faces.data).shape
    (24, 7)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "backbone": BACKBONE_CONSTRAINT,
        "weights": [str, PathLike, None],
        "backbone_params": [dict, None],
        "mirror": ["boolean"],
        "lambda_per": [Interval(Real, 0, None, closed="left")],
        "lambda_emo": [Interval(Real, 0, None, closed="left")],
        "lambda_coh": [Interval(Real, 0, None, closed="left")],
        "lambda_ram": [Interval(Real, 0, None, closed="left")],
        "extra_lambdas": [dict, None],
        "personality": ["array-like", None],
        "emotion": ["array-like", None],
        "n_segments": [Interval(Integral, 1, None, closed="left")],
        "heads": [StrOptions(set(HEAD_STYLES))],
        "loss": [StrOptions(set(REGRESSION_LOSSES))],
        "optimizer": [StrOptions(set(OPTIMIZERS))],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "schedule": [StrOptions({"cosine", "step", "constant"})],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "personality_fraction": [Interval(Real, 0, 1, closed="neither")],
        "shuffle": [StrOptions({"samples", "blocks"})],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "augmentation": [StrOptions(set(AUGMENTATIONS)), None],
        "embedding_scale": [StrOptions({"each", "common"})],
        "adapter_rank": [Interval(Integral, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "precision": [StrOptions(set(PRECISIONS))],
        "device": [str],
        "callbacks": [list, None],
        "checkpoint": [str, PathLike, None],
        "n_workers": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone: str | Callable[..., Backbone] = "sphereface4",
        *,
        weights: str | PathLike[str] | None = None,
        backbone_params: dict[str, Any] | None = None,
        mirror: bool = True,
        lambda_per: float = 1.0,
        lambda_emo: float = 1.0,
        lambda_coh: float = 0.05,
        lambda_ram: float = 0.2,
        extra_lambdas: dict[str, float] | None = None,
        personality: Sequence[str] | None = None,
        emotion: Sequence[str] | None = None,
        n_segments: int = 3,
        heads: str = "linear",
        loss: str = "half_squared_error",
        optimizer: str = "adamw",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        schedule: str = "cosine",
        max_epochs: int = 60,
        batch_size: int = 64,
        personality_fraction: float = 0.5,
        shuffle: str = "samples",
        max_grad_norm: float | None = 1.0,
        augmentation: str | None = "vary",
        embedding_scale: str = "each",
        adapter_rank: int = 0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        precision: str = "float32",
        device: str = "auto",
        callbacks: list[Any] | None = None,
        checkpoint: str | PathLike[str] | None = None,
        n_workers: int = 0,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.backbone_params = backbone_params
        self.mirror = mirror
        self.lambda_per = lambda_per
        self.lambda_emo = lambda_emo
        self.lambda_coh = lambda_coh
        self.lambda_ram = lambda_ram
        self.extra_lambdas = extra_lambdas
        self.personality = personality
        self.emotion = emotion
        self.n_segments = n_segments
        self.heads = heads
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.personality_fraction = personality_fraction
        self.shuffle = shuffle
        self.max_grad_norm = max_grad_norm
        self.augmentation = augmentation
        self.embedding_scale = embedding_scale
        self.adapter_rank = adapter_rank
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.precision = precision
        self.device = device
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.n_workers = n_workers
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Train on the union of a personality set and an emotion set.

        Parameters
        ----------
        X : array-like of n_samples face clips
            An array of face clips as :class:`persona_affect.FaceAligner` returns, a uint8 array
            (n, H, W, 3) or (n, T, H, W, 3), or a float matrix of embeddings (n, d); the network
            then begins at its heads.
        y : array-like or DataFrame of shape (n_samples, n_targets) or (n_samples,)
            Labels, NaN where a sample was not rated. A DataFrame's columns are matched by name. An
            array has the personality targets first, and those of extra terms last; without
            `personality` and `emotion`, the number of columns decides: 7 (Big Five, arousal,
            valence), 5 (Big Five), 2 (arousal, valence), or 1, besides those of extra terms.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples in the regression losses; samples of weight 0 are left out.
        groups : array-like of shape (n_samples,), default=None
            Person or clip of each sample; `early_stopping` keeps each group on one side.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If names and columns do not match, nothing can be learnt, or `checkpoint` is another's.
        InvalidImageError
            If a sample is not a face clip of the backbone's size.
        ModelFormatError
            If `checkpoint` is damaged.
        OutputError
            If `checkpoint` cannot be written; the state before is unchanged.
        TrainingDivergedError
            If the loss becomes infinite or NaN.

        Warns
        -----
        NoFaceWarning, FewLabelsWarning
            Naming samples without a face, which are left out, and targets with fewer than three
            labels or with equal ones, which are predicted by their mean.
        """
        check_checkpoint(self.checkpoint, self.random_state)
        params = self.get_params()
        lambdas = read_lambdas(params)
        extra = {name: TERMS[name].targets for name in lambdas if TERMS[name].targets}
        targets = read_targets(y, self.personality, self.emotion, extra)
        rng = check_random_state(self.random_state)
        device = resolve_device(self.device)
        randomness = OwnRandomness(rng.randint(2**31 - 1))
        with randomness:
            backbone, clips = self._start(X)
        check_consistent_length(clips, targets.values, groups)
        weight = check_sample_weight(sample_weight, targets.values, ensure_non_negative=True)
        present = find_present(clips, weight)
        clips, targets, weight = [clips[i] for i in present], targets[present], weight[present]
        scaler = make_scaler(targets, weight, standardize=self.heads == "linear")
        fem_learns = not isinstance(backbone, EmbeddingAdapter) or self.adapter_rank > 0
        lambdas, kept = choose_losses(lambdas, targets, fem_learns)
        data = label_clips(clips, targets, scaler, weight, self.n_segments).subset(kept)
        held_out = None
        if self.early_stopping:
            persons = present if groups is None else np.asarray(groups)[present]
            data, held_out = hold_out(
                data, targets[kept], persons[kept], self.validation_fraction, rng
            )
        if isinstance(backbone, EmbeddingAdapter):
            backbone.standardize(
                torch.from_numpy(np.concatenate(data.clips)),
                torch.from_numpy(data.labels["weight"]),
                common=self.embedding_scale == "common",
            )
        with randomness:
            network = make_network(backbone, targets, lambdas, self.heads)
        losses = make_losses(lambdas, self.loss)
        settings = TrainingSettings.from_params(params)
        net = make_net(network, losses, data, held_out, settings, rng, randomness, device)
        parts = [data] if held_out is None else [data, held_out]
        with start_workers(parts, self.n_workers, self.batch_size) as net.ahead:
            train(net, data, held_out)
        self._keep(net, history_table(net), targets, scaler)
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.transformer_tags.preserves_dtype = []
        return tags
