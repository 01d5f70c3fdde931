"""The fitted state of the joint network: set by `fit`, saved to a file, and loaded."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data
from torch import nn

from persona_affect._arrays import check_names
from persona_affect._device import resolve_device
from persona_affect._optional import missing_registration
from persona_affect.networks import Backbone, EmbeddingAdapter
from persona_affect.objectives import PAPER_TERMS, TERMS

from ._assembly import make_losses, make_network
from ._backbone_params import BackboneParams
from ._clips import check_embeddings, check_face_clips, holds_faces
from ._engine import Run
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
from ._targets import Targets, TargetScaler
from ._training import AffectNet, settle


class JointState(BackboneParams):
    """The fitted attributes of :class:`JointAffectEstimator`."""

    adapter_rank: int
    batch_size: int
    device: str
    heads: str
    loss: str
    precision: str
    net_: AffectNet
    history_: pd.DataFrame
    n_iter_: int
    target_names_: list[str]
    personality_names_: list[str]
    emotion_names_: list[str]
    extra_names_: dict[str, list[str]]
    target_means_: NDArray[np.float64]
    target_stds_: NDArray[np.float64]
    _scaler: TargetScaler
    _one_dimensional: bool
    _engine: Run | None

    def _start(self, X: Any) -> tuple[Backbone, Sequence[NDArray[Any]]]:
        """Build the FEM, and convert `X` to its input."""
        if holds_faces(X):
            backbone = self._make_backbone(self.weights)
            for stale in ("n_features_in_", "feature_names_in_"):
                self.__dict__.pop(stale, None)
            return backbone, check_face_clips(X, backbone.input_size)
        X = validate_data(
            self, X, dtype=np.float32, ensure_all_finite="allow-nan", ensure_min_samples=2
        )
        return EmbeddingAdapter(X.shape[1], self.adapter_rank), check_embeddings(X)

    def _keep(
        self, net: AffectNet, history: pd.DataFrame, targets: Targets, scaler: TargetScaler
    ) -> None:
        """Set the fitted attributes; only the names of `targets` are used."""
        self.net_ = net
        self._engine = None
        self.history_ = history
        self.n_iter_ = len(history)
        self.target_names_ = targets.names
        self.personality_names_, self.emotion_names_ = targets.personality, targets.emotion
        self.extra_names_ = targets.extra
        self._scaler = scaler
        self._one_dimensional = targets.one_dimensional
        self._groups = targets[np.empty(0, np.intp)]
        self._order = [targets.in_order.index(name) for name in targets.names]
        self.target_means_ = scaler.mean[self._order]
        self.target_stds_ = scaler.std[self._order]
        self._n_features_out = net.module_.fem.n_features

    def _get_state(self) -> tuple[Facts, Tensors]:
        network, losses = self.net_.module_, self.net_.criterion_.weights
        facts = {
            "target_names": self.target_names_,
            "personality": self.personality_names_,
            "emotion": self.emotion_names_,
            "one_dimensional": self._one_dimensional,
            "lambdas": {f"lambda_{term}": losses[term] for term in PAPER_TERMS},
            "extra": {
                name: {
                    "weight": weight,
                    "targets": self.extra_names_.get(name, []),
                    "package": TERMS[name].package,
                }
                for name, weight in losses.items()
                if name not in PAPER_TERMS
            },
            "n_features": None if network.fem.input_size is not None else network.fem.n_features,
            "history": list(self.history_.columns),
            **pack_inputs(self),
        }
        tensors = {
            **add_prefix("network", network.state_dict()),
            **add_prefix("targets", pack_scaler(self._scaler)),
            **add_prefix("history", pack_table(self.history_)),
        }
        return facts, tensors

    def _set_state(self, facts: Facts, tensors: Tensors) -> None:
        personality, emotion = check_names(facts["personality"]), check_names(facts["emotion"])
        names = check_names(facts["target_names"])
        # Files written before there were extra terms do not have them.
        further = facts.get("extra", {})
        _require_terms(further)
        extra = {name: check_names(term["targets"]) for name, term in further.items()}
        targets = Targets(
            np.empty((0, len(names))),
            personality,
            emotion,
            names,
            bool(facts["one_dimensional"]),
            {name: own for name, own in extra.items() if own},
        )
        if sorted(names) != sorted(targets.in_order):
            raise ValueError(f"the targets {names} are not {targets.groups}")
        lambdas = {name: float(facts["lambdas"][f"lambda_{name}"]) for name in PAPER_TERMS}
        if len(facts["lambdas"]) != len(PAPER_TERMS):
            raise ValueError(f"the weights {sorted(facts['lambdas'])} are not {PAPER_TERMS}")
        lambdas |= {name: float(term["weight"]) for name, term in further.items()}
        width = facts["n_features"]

        def build() -> nn.Module:
            on_faces = width is None
            backbone = (
                self._make_backbone(None)
                if on_faces
                else EmbeddingAdapter(width, self.adapter_rank)
            )
            return make_network(backbone, targets, lambdas, self.heads)

        net = AffectNet(
            fill_network(build, take("network", tensors)),
            make_losses(lambdas, self.loss),
            batch_size=self.batch_size,
            precision=self.precision,
            device=resolve_device(self.device),
            train_split=None,
            verbose=0,
            callbacks__print_log=None,
        ).initialize()
        settle(net)
        scaler = unpack_scaler(take("targets", tensors), len(names))
        history: Any = unpack_table(facts["history"], take("history", tensors))
        self._keep(net, history, targets, scaler)
        unpack_inputs(self, facts, width)


def _require_terms(further: Mapping[str, Any]) -> None:
    """Raise if a term is not registered; the message names the module to import."""
    for name in further.keys() - TERMS.keys():
        raise missing_registration("term", name, further[name]["package"])
