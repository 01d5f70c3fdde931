"""Prediction with a fitted joint network."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, RegressorMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted
from torch import nn

from persona_affect._arrays import read_labels
from persona_affect.metrics import SCORERS, affect_report
from persona_affect.networks import PersEmoNOutput
from persona_affect.objectives import TERMS

from ._clips import (
    check_embeddings,
    check_face_clips,
    check_matrix,
    has_no_samples,
    holds_faces,
)
from ._engine import RunByEngine
from ._inference import average_mirrors, pass_size, pool_frames, run_frames
from ._modules import Affine, HeadsAndEmbedding, JoinedHeads, MirrorAverage, Pick
from ._targets import Targets, TargetScaler
from ._training import AffectNet


class JointPrediction(
    RunByEngine, ClassNamePrefixFeaturesOutMixin, TransformerMixin, RegressorMixin
):
    """The methods of :class:`JointAffectEstimator` that need it fitted.

    It is a transformer itself: in scikit-learn, `set_output` has no effect on other classes.
    """

    n_segments: int
    mirror: bool
    verbose: int
    net_: AffectNet
    target_names_: list[str]
    personality_names_: list[str]
    emotion_names_: list[str]
    _groups: Targets
    _scaler: TargetScaler
    _order: list[int]
    _one_dimensional: bool
    _n_features_out: int

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predict all targets of each sample, averaged over the centre frames of its segments.

        Parameters
        ----------
        X : array-like of n_samples face clips, or embeddings
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_targets) or (n_samples,)
            In the units and the column order of `y`. A sample without a face is a row of NaN; a
            target without labels is a column of NaN.

        Raises
        ------
        InvalidImageError
            If a sample is not a face clip of the backbone's size.
        ValueError
            If `X` holds embeddings but the model was fitted on faces, or the reverse; or if a row
            of embeddings is partly NaN.

        Warns
        -----
        NoFaceWarning
            If samples have no face; the message names them.
        """
        frames = self._run(X, "targets", n_segments=self.n_segments)
        values = self._in_callers_units(pool_frames(frames, len(self.target_names_)))
        return values[:, 0] if self._one_dimensional else values

    def predict_frames(self, X: Any) -> list[NDArray[np.float64]]:
        """Predict all targets of each frame.

        Parameters
        ----------
        X : array-like of n_samples face clips, or embeddings
            As in `fit`.

        Returns
        -------
        list of ndarray of shape (n_frames, n_targets)
            One for each sample; an array without rows for a sample without a face.

        Raises
        ------
        InvalidImageError, ValueError
            As for :meth:`predict`.
        """
        frames = self._run(X, "targets", n_segments=None)
        width = len(self.target_names_)
        return [self._in_callers_units(np.reshape(f, (-1, width)).astype(float)) for f in frames]

    def predict_from_emotion(self, emotion: Any) -> NDArray[np.float64]:
        """Predict personality from emotion alone, with the relationship module (RAM).

        Parameters
        ----------
        emotion : array-like of shape (n_samples, n_emotion)
            In the units of `y`, in the order of `emotion_names_`.

        Returns
        -------
        ndarray of shape (n_samples, n_personality)
            In the units of `y`, in the order of `personality_names_`.

        Raises
        ------
        ValueError
            If the RAM was not trained, or the width is wrong.
        """
        check_is_fitted(self)
        ram = self.net_.module_.ram
        if ram is None:
            raise ValueError(
                "This model has no RAM: it was fitted with lambda_ram=0, or without personality "
                "labels or emotion targets."
            )
        if has_no_samples(emotion):
            emotion = np.empty((0, len(self.emotion_names_)))
        emotion = check_array(emotion, dtype=np.float64, ensure_min_samples=0, input_name="emotion")
        if emotion.shape[1] != len(self.emotion_names_):
            raise ValueError(
                f"emotion has {emotion.shape[1]} columns, expected {self.emotion_names_}."
            )
        traits, scaler = self._groups.columns("personality"), self._scaler
        own = self._groups.columns("emotion")
        scaled = (emotion - scaler.shift[own]) / scaler.divisor[own]
        with torch.inference_mode():
            inputs = torch.from_numpy(scaled).float().to(self.net_.device)
            scores = ram(inputs).double().cpu().numpy()
        return scores * scaler.scale[traits] + scaler.shift[traits]

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed each sample with the trained FEM, averaged over the centre frames of its segments.

        Parameters
        ----------
        X : array-like of n_samples face clips, or embeddings
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float32
            A sample without a face is a row of NaN.

        Raises
        ------
        InvalidImageError, ValueError
            As for :meth:`predict`.
        """
        frames = self._run(X, "embedding", n_segments=self.n_segments)
        return pool_frames(frames, self._n_features_out).astype(np.float32)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination over observed labels, averaged over targets.

        Parameters
        ----------
        X : array-like of n_samples face clips, or embeddings
            As in `fit`.
        y : array-like or DataFrame of shape (n_samples, n_targets)
            NaN where not rated. A sample without a face counts as predicted by the mean label.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        float
            At most 1; 0 for a model that predicts the mean labels.

        Raises
        ------
        InvalidImageError, ValueError
            As for :meth:`predict`; also if `y` has another shape.
        """
        return cast(float, SCORERS["r2"](self, X, y, sample_weight=sample_weight))

    def score_terms(self, X: Any, y: Any, sample_weight: Any = None) -> pd.Series:
        """Score the predictions of each term of the loss, by the metric of the term.

        Parameters
        ----------
        X : array-like of n_samples face clips, or embeddings
            As in `fit`.
        y : array-like or DataFrame of shape (n_samples, n_targets)
            As for `score`.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        Series
            A value for each trained term that predicts targets, averaged over them, with names
            ``<term>_<metric>``, such as ``"per_ccc"``.

        Raises
        ------
        InvalidImageError, ValueError
            As for :meth:`predict`; also if `y` has other targets.
        """
        predicted = np.reshape(self.predict(X), (-1, len(self.target_names_)))
        if isinstance(y, pd.DataFrame):
            y = y[self.target_names_]
        report = affect_report(
            np.reshape(read_labels(y), predicted.shape),
            predicted,
            target_names=self.target_names_,
            groups=self._groups.groups,
            sample_weight=sample_weight,
            nan_predictions="mean",
        )
        # The RAM predicts from emotion, not from faces.
        weights = self.net_.criterion_.weights
        trained = [TERMS[name] for name, weight in weights.items() if weight]
        judged = [t for t in trained if t.metric and t.labels is not None and t.reads is None]
        return pd.Series(
            {f"{t.name}_{t.metric}": report.loc[f"{t.labels} mean", t.metric] for t in judged},
            dtype=float,
        )

    def _run(
        self,
        X: Any,
        what: Literal["targets", "embedding"],
        *,
        n_segments: int | None,
    ) -> list[NDArray[np.float32]]:
        check_is_fitted(self)
        fem = self.net_.module_.fem
        takes_faces = fem.input_size is not None
        if holds_faces(X) != takes_faces and not has_no_samples(X):
            raise ValueError(
                f"X = {'faces' if not takes_faces else 'embeddings'}, but this model was fitted on "
                f"{'faces' if takes_faces else 'embeddings'}."
            )
        clips: Sequence[NDArray[Any]]
        if takes_faces:
            clips = check_face_clips(X, fem.input_size)
        else:
            X = check_matrix(self, X, dtype=np.float32, ensure_all_finite="allow-nan", reset=False)
            clips = check_embeddings(X)

        read, n_targets = self._target_reader(), len(self.target_names_)

        def run(frames: torch.Tensor) -> torch.Tensor:
            if self._engine is not None:
                both = self._engine(frames)
                return both[:, :n_targets] if what == "targets" else both[:, n_targets:]

            def infer(part: torch.Tensor) -> torch.Tensor:
                output = self.net_.infer(part)
                return read(output) if what == "targets" else output.embedding

            mirrored = takes_faces and self.mirror
            return average_mirrors(infer, frames, len(frames)) if mirrored else infer(frames)

        return run_frames(
            run,
            clips,
            size=pass_size(str(self.net_.device), faces=takes_faces),
            n_segments=n_segments,
            verbose=bool(self.verbose),
        )

    def _target_reader(self) -> Callable[[PersEmoNOutput], torch.Tensor]:
        """Make the function that joins the heads; it keeps neither the network nor the net."""
        scaled_mean = torch.from_numpy(self._scaler.transform(self._scaler.mean))
        groups, weights = self._groups, self.net_.criterion_.weights
        terms = [(TERMS[name], weights[name]) for name in ("per", "emo", *groups.extra)]
        columns = [groups.columns(str(term.labels)) for term, _ in terms]

        def read(output: PersEmoNOutput) -> torch.Tensor:
            # Targets without a loss get their mean label, or NaN without labels.
            rest = scaled_mean.to(output.embedding).expand(output.embedding.shape[0], -1)
            found = {"pam": output.personality, "eam": output.emotion, **output.extra}
            parts = []
            for (term, weight), own in zip(terms, columns, strict=True):
                values = found.get(term.head) if weight else None
                parts.append(rest[:, own] if values is None else values)
            return torch.where(rest.isnan(), rest, torch.cat(parts, dim=1))

        return read

    def _as_module(self) -> nn.Module:
        check_is_fitted(self)
        takes_faces = self.net_.module_.fem.input_size is not None
        heads: nn.Module = JoinedHeads(self.net_.module_, self._target_reader())
        scaler, order = self._scaler, self._order
        units = Affine(scaler.scale[order], scaler.shift[order])
        heads = MirrorAverage(heads) if takes_faces and self.mirror else heads
        return nn.Sequential(heads, Pick(order), units)

    def _get_network(self, *, mirror: bool = True) -> nn.Module:
        network = HeadsAndEmbedding(self.net_.module_, self._target_reader())
        takes_faces = self.net_.module_.fem.input_size is not None
        return MirrorAverage(network) if takes_faces and self.mirror and mirror else network

    def _get_input_shape(self) -> tuple[int, ...]:
        fem = self.net_.module_.fem
        return (fem.n_features,) if fem.input_size is None else (*fem.input_size, 3)

    def _in_callers_units(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._scaler.inverse_transform(values)[:, self._order]
