"""The relationship analysis module alone: personality from emotion."""

from numbers import Integral, Real
from typing import Any, ClassVar, Self, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags, check_array, check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from skorch.dataset import Dataset
from torch import Tensor

from persona_affect._arrays import check_names, read_labels
from persona_affect._device import resolve_device
from persona_affect._random import OwnRandomness
from persona_affect._sklearn import Interval, check_sample_weight, fit_context
from persona_affect.metrics import SCORERS
from persona_affect.networks import RAM
from persona_affect.objectives import masked_half_squared_error

from ._clips import check_matrix
from ._state import (
    Facts,
    Tensors,
    add_prefix,
    fill_network,
    pack_inputs,
    pack_scaler,
    pack_table,
    take,
    unpack_inputs,
    unpack_scaler,
    unpack_table,
)
from ._targets import TargetScaler, leave_to_mean
from ._training import history_table, settle, standard_callbacks, train


class _RAMNet(NeuralNet):
    """A net that trains on full batches: the RAM has few weights, and the relation is noisy."""

    def get_iterator(self, dataset: Dataset, training: bool = False) -> list[tuple[Tensor, Tensor]]:
        return [(torch.from_numpy(dataset.X), torch.from_numpy(dataset.y))]

    def get_loss(
        self, y_pred: Tensor, y_true: Tensor, X: Any = None, training: bool = False
    ) -> Tensor:
        # The last column of y holds the sample weights.
        y_true = y_true.to(y_pred)
        return masked_half_squared_error(y_pred, y_true[:, :-1], y_true[:, -1])


def make_ram_net(network: RAM, **settings: Any) -> NeuralNet:
    """Put a RAM into an uninitialised net, to train it without the joint network."""
    return _RAMNet(
        network,
        torch.nn.Identity,
        optimizer=torch.optim.AdamW,
        train_split=None,
        verbose=0,
        callbacks__print_log=None,
        **settings,
    )


class RAMRegressor(RegressorMixin, BaseEstimator):
    """Personality from emotion alone, by PersEmoN's relationship analysis module (RAM).

    One hidden layer of ReLU units between standardised emotion and standardised traits.

    Parameters
    ----------
    hidden : int, default=32
        Width of the hidden layer; 32 in the network that the authors released.
    learning_rate : float, default=0.02
        Highest learning rate of AdamW, on full batches.
    weight_decay : float, default=0.1
        Weight decay of AdamW.
    max_epochs : int, default=200
        Number of steps, each on all samples.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"`` or ``"auto"``. The module is too small for a GPU to be faster.
    random_state : int, RandomState instance or None, default=None
        Seed of the initialisation. The same seed gives the same model, bit by bit, on one machine.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the :class:`persona_affect.networks.RAM`.
    target_names_ : list of str
        Names of the predicted columns: those of a DataFrame `y`, else ``y0``, ``y1``, ...
    history_ : pandas.DataFrame
        The training loss by epoch.
    n_features_in_ : int
        Number of emotion columns.

    References
    ----------
    Zhang et al., PersEmoN, arXiv 1811.08657, section 3.4; width from the released training
    definition. Standardisation, weight decay and optimiser are ours.

    See Also
    --------
    JointAffectEstimator.predict_from_emotion : The same module inside the joint network.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect import RAMRegressor
    >>> emotion = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    >>> traits = 0.5 + 0.1 * emotion @ [[1, -1], [0.5, 1]]
    >>> round(RAMRegressor(random_state=0).fit(emotion, traits).score(emotion, traits), 2)
    1.0
    """

    target_names_: list[str]
    history_: pd.DataFrame

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "hidden": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        hidden: int = 32,
        *,
        learning_rate: float = 0.02,
        weight_decay: float = 0.1,
        max_epochs: int = 200,
        device: str = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.hidden = hidden
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the relation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_emotion)
            Emotion: arousal and valence, or other targets.
        y : array-like of shape (n_samples, n_personality) or (n_samples,)
            Traits, NaN where not rated.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If no sample of positive weight has a label, two columns have one name, or shapes do not
            agree.

        Warns
        -----
        FewLabelsWarning
            Naming traits with fewer than three labels, or with equal ones: they are predicted by
            their mean.
        """
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        names = [str(name) for name in y.columns] if isinstance(y, pd.DataFrame) else None
        if len(set(names or ())) < len(names or ()):
            raise ValueError(f"y has two columns of one name: {names}.")
        X = check_matrix(self, X, dtype=np.float64, reset=True)
        y = check_array(
            read_labels(y),
            ensure_2d=False,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            input_name="y",
        )
        check_consistent_length(X, y)
        weight = check_sample_weight(sample_weight, X, ensure_non_negative=True)
        self._one_dimensional = y.ndim == 1
        y = y.reshape(len(X), -1)
        rated = (~np.isnan(y)).any(1) & (weight > 0)
        if not rated.any():
            raise ValueError("Nothing to train on: no sample of positive weight has a label.")
        X, y, weight = X[rated], y[rated], weight[rated]
        self.target_names_ = names or [f"y{i}" for i in range(y.shape[1])]
        self._input, self._output = TargetScaler(X, weight), TargetScaler(y, weight)
        leave_to_mean(self._output, y, self.target_names_)
        X = self._input.transform(X)
        y = self._output.transform(y)
        device = resolve_device(self.device)
        rng = check_random_state(self.random_state)
        with OwnRandomness(rng.randint(2**31 - 1)):
            # In double precision, a sample weight of two equals the sample twice.
            network = RAM(X.shape[1], y.shape[1], self.hidden, "identity").double()
        self.net_ = make_ram_net(
            network,
            optimizer__weight_decay=self.weight_decay,
            lr=self.learning_rate,
            max_epochs=self.max_epochs,
            device=device,
            callbacks=standard_callbacks(
                schedule="cosine",
                n_steps=self.max_epochs,
                max_grad_norm=None,
                patience=None,
                verbose=bool(self.verbose),
                extra=None,
            ),
        ).initialize()
        train(self.net_, Dataset(X, np.column_stack([y, weight])))
        self.history_ = history_table(self.net_)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict traits from emotion.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_emotion)
            Emotion, as in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_personality) or (n_samples,)
            In the units of `y`; a trait that was never rated is a column of NaN.
        """
        check_is_fitted(self)
        X = self._input.transform(check_matrix(self, X, dtype=np.float64, reset=False))
        with torch.inference_mode():
            scores = self.net_.infer(torch.from_numpy(X)).cpu().numpy()
        y = self._output.inverse_transform(scores)
        y[:, np.isnan(self._output.mean)] = np.nan
        return y[:, 0] if self._one_dimensional else y

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination over observed labels, averaged over traits.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_emotion)
            Emotion, as in `fit`.
        y : array-like of shape (n_samples, n_personality)
            Traits, NaN where not rated.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        float
            At most 1; 0 for a model that predicts the mean labels.
        """
        return cast(float, SCORERS["r2"](self, X, y, sample_weight=sample_weight))

    def _get_state(self) -> tuple[Facts, Tensors]:
        facts = {
            "target_names": self.target_names_,
            "one_dimensional": self._one_dimensional,
            "history": list(self.history_.columns),
            **pack_inputs(self),
        }
        tensors = {
            **add_prefix("network", self.net_.module_.state_dict()),
            **add_prefix("inputs", pack_scaler(self._input)),
            **add_prefix("targets", pack_scaler(self._output)),
            **add_prefix("history", pack_table(self.history_)),
        }
        return facts, tensors

    def _set_state(self, facts: Facts, tensors: Tensors) -> None:
        names, n_features = check_names(facts["target_names"]), facts["n_features_in"]
        network = fill_network(
            lambda: RAM(n_features, len(names), self.hidden, "identity").double(),
            take("network", tensors),
        )
        self.net_ = make_ram_net(network, device=resolve_device(self.device)).initialize()
        settle(self.net_)
        self._input = unpack_scaler(take("inputs", tensors), n_features)
        self._output = unpack_scaler(take("targets", tensors), len(names))
        self.history_ = unpack_table(facts["history"], take("history", tensors))
        self.target_names_ = names
        self._one_dimensional = bool(facts["one_dimensional"])
        unpack_inputs(self, facts, n_features)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
