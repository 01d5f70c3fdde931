"""Groups of targets, partly missing: names, domains, units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_array

from persona_affect._arrays import read_labels
from persona_affect._warnings import warn_user
from persona_affect.exceptions import FewLabelsWarning
from persona_affect.metrics import EMOTION_NAMES, PERSONALITY_NAMES

#: Labels from which a target can be learnt; below, one cannot be left out to choose a penalty.
MIN_LABELS: Final = 3
#: Standard deviation, as a share of the mean (of 1, if that is more), up to which labels are equal:
#: rounding alone makes differences of this size.
_EQUAL: Final = 1e-12


@dataclass(frozen=True)
class Targets:
    """Labels in groups: personality, emotion, and one for each extra term with labels.

    Attributes
    ----------
    values : ndarray of shape (n_samples, n_targets), float64
        Personality first, then emotion, then the others; NaN where not observed.
    personality, emotion : list of str
        Names, in the order of the columns.
    extra : dict of str to list of str
        Names of the targets of each extra term.
    names : list of str
        All names, in the order of the caller's columns: the order of predictions.
    one_dimensional : bool
        Whether the caller passed a one-dimensional `y`, and gets predictions of the same form.
    """

    values: NDArray[np.float64]
    personality: list[str]
    emotion: list[str]
    names: list[str]
    one_dimensional: bool
    extra: dict[str, list[str]] = field(default_factory=dict)

    @property
    def groups(self) -> dict[str, list[str]]:
        """All groups, in the order of their columns."""
        return {"personality": self.personality, "emotion": self.emotion, **self.extra}

    @property
    def in_order(self) -> list[str]:
        """All names, in the order of the columns."""
        return [name for names in self.groups.values() for name in names]

    def columns(self, group: str) -> slice:
        """Return the columns of a group."""
        before = 0
        for name, names in self.groups.items():
            if name == group:
                return slice(before, before + len(names))
            before += len(names)
        raise KeyError(group)

    def rated_in(self, group: str) -> NDArray[np.bool_]:
        """Return whether each sample has a label of a group: (n_samples,)."""
        return np.asarray(~np.isnan(self.values[:, self.columns(group)]).all(axis=1))

    def __getitem__(self, samples: NDArray[np.intp]) -> "Targets":
        return replace(self, values=self.values[samples])

    @property
    def rated(self) -> NDArray[np.bool_]:
        """Whether each sample has a personality and an emotion label, (n_samples, 2)."""
        return np.stack([self.rated_in("personality"), self.rated_in("emotion")], axis=1)


def read_targets(
    y: Any,
    personality: Sequence[str] | None,
    emotion: Sequence[str] | None,
    extra: Mapping[str, Sequence[str]] | None = None,
) -> Targets:
    """Match the columns of `y` with the groups of names.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_targets), or DataFrame
        Labels, NaN where not observed. A DataFrame's columns are matched by name, in any order;
        so is a Series that has the name of a target.
    personality, emotion : sequence of str or None
        Names of the groups. With both None, a DataFrame's columns must be among the default seven,
        and for an array the number of columns decides: 7 (all), 5 (the Big Five), 2 (arousal,
        valence), or 1 (one target, treated as personality), besides those of `extra`.
    extra : mapping of str to sequence of str, optional
        Names of the targets of each extra term; in an array they come last.

    Returns
    -------
    Targets

    Raises
    ------
    ValueError
        If names and columns do not match, or labels are infinite or not numbers.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    columns: list[str] | None = None
    groups = personality is not None or emotion is not None
    per, emo = list(personality or ()), list(emotion or ())
    further = {term: list(names) for term, names in (extra or {}).items()}
    own = [name for names in further.values() for name in names]
    if len({*per, *emo, *own}) < len(per + emo + own):
        beside = f", and {further}" if further else ""
        raise ValueError(f"A target is named twice: personality={per}, emotion={emo}{beside}.")
    values = read_labels(y)
    one_dimensional = values.ndim == 1
    known = {*PERSONALITY_NAMES, *EMOTION_NAMES, *per, *emo, *own}
    if isinstance(y, pd.Series) and y.name in known:
        y, values = y.to_frame(), values[:, np.newaxis]
    if isinstance(y, pd.DataFrame):
        columns = [str(name) for name in y.columns]
        if len(set(columns)) < len(columns):
            raise ValueError(f"y has two columns of one name: {columns}.")
        if not groups:
            per = [name for name in PERSONALITY_NAMES if name in columns]
            emo = [name for name in EMOTION_NAMES if name in columns]
        if sorted(columns) != sorted(per + emo + own):
            expected = per + emo if groups else [*PERSONALITY_NAMES, *EMOTION_NAMES]
            expected += own
            raise ValueError(
                f"y has columns {columns}, expected {expected}. Name your own targets with "
                "personality=[...] and emotion=[...]."
            )
        values = values[:, [columns.index(name) for name in per + emo + own]]
    values = check_array(
        values, ensure_2d=False, dtype=np.float64, ensure_all_finite="allow-nan", input_name="y"
    )
    values = values.reshape(len(values), -1)
    if not groups and not per and not emo and values.shape[1] != len(own):
        per, emo = _default_names(values.shape[1], len(own))
    names = per + emo + own
    if values.shape[1] != len(names):
        beside = f", with {further}," if further else ""
        raise ValueError(
            f"y has {values.shape[1]} columns, but personality={per} and emotion={emo}{beside} "
            f"name {len(names)}."
        )
    return Targets(values, per, emo, columns or names, one_dimensional, further)


def _default_names(width: int, n_extra: int) -> tuple[list[str], list[str]]:
    names = {
        7: (list(PERSONALITY_NAMES), list(EMOTION_NAMES)),
        5: (list(PERSONALITY_NAMES), []),
        2: ([], list(EMOTION_NAMES)),
        1: (["y"], []),
    }
    width -= n_extra
    if width not in names:
        beside = f" besides the {n_extra} of extra terms" if n_extra else ""
        raise ValueError(
            f"y has {width} columns{beside}; without names it may have 7 (Big Five, arousal, "
            "valence), 5, 2 or 1. Name your own targets with personality=[...] and emotion=[...]."
        )
    return names[width]


class TargetScaler:
    """Scales labels to zero mean and unit variance, and predictions back.

    Parameters
    ----------
    y : ndarray of shape (n_samples, n_targets)
        NaN where not observed.
    weight : ndarray of shape (n_samples,)
        Sample weights.
    standardize : bool, or ndarray of bool of shape (n_targets,)
        Where False, units are not changed; `mean` is still computed.

    Attributes
    ----------
    mean : ndarray of shape (n_targets,)
        NaN for a target that was never observed.
    """

    def __init__(
        self,
        y: NDArray[np.float64],
        weight: NDArray[np.float64],
        standardize: bool | NDArray[np.bool_] = True,
    ) -> None:
        mass = ~np.isnan(y) * weight[:, None]
        with np.errstate(invalid="ignore"):
            self.mean = (mass * np.nan_to_num(y)).sum(0) / mass.sum(0)
            variance = (mass * np.nan_to_num(y - self.mean) ** 2).sum(0) / mass.sum(0)
        observed = ~np.isnan(self.mean)
        scale = np.sqrt(np.where(observed, variance, 1.0))
        # A constant target is predicted exactly by its mean; its scale does not matter.
        scale[_are_equal(scale, self.mean)] = 1.0
        self.shift = np.where(standardize, np.nan_to_num(self.mean), 0.0)
        self.scale = np.where(standardize, scale, 1.0)

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of the labels, (n_targets,); NaN where it was not computed."""
        known = self.shift == self.mean
        return np.where(known, self.divisor, np.nan)

    @property
    def divisor(self) -> NDArray[np.float64]:
        """Divisor of the labels: `scale`, or 1 for a target that is predicted by its mean."""
        return np.where(self.scale == 0, 1.0, self.scale)

    def predict_by_mean(self, targets: NDArray[np.bool_]) -> None:
        """Let `inverse_transform` give the mean label of some targets, whatever is predicted."""
        self.shift = np.where(targets, np.nan_to_num(self.mean), self.shift)
        self.scale = np.where(targets, 0.0, self.scale)

    def transform(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scale (n_samples, n_targets) labels."""
        return (y - self.shift) / self.divisor

    def inverse_transform(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert (n_samples, n_targets) predictions to the units of the labels."""
        return y * self.scale + self.shift


def _are_equal(std: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return for each target whether its labels differ by rounding alone."""
    return std <= _EQUAL * np.maximum(1.0, np.abs(np.nan_to_num(mean)))


def leave_to_mean(scaler: TargetScaler, y: NDArray[np.float64], names: Sequence[str]) -> None:
    """Let targets that nothing can be learnt about be predicted by their mean label.

    Parameters
    ----------
    scaler : TargetScaler
        Changed in place.
    y : ndarray of shape (n_samples, n_targets)
        Labels of the samples that are trained on, NaN where not observed.
    names : sequence of str
        Of the targets.

    Warns
    -----
    FewLabelsWarning
        Naming targets with fewer than three labels, or with labels that are equal but for rounding.
    """
    observed = ~np.isnan(y)
    n_labels = observed.sum(axis=0)
    mean = np.where(observed, y, 0.0).sum(axis=0) / np.maximum(n_labels, 1)
    squares = np.where(observed, y - mean, 0.0) ** 2
    std = np.sqrt(squares.sum(axis=0) / np.maximum(n_labels, 1))
    barely = (n_labels > 0) & ((n_labels < MIN_LABELS) | _are_equal(std, mean))
    if barely.any():
        scaler.predict_by_mean(barely)
        which = ", ".join(f"{names[i]} ({n_labels[i]})" for i in np.flatnonzero(barely).tolist())
        warn_user(
            f"Predicted by their mean label, since they have fewer than {MIN_LABELS} labels or all "
            f"labels are equal, but for rounding: {which}.",
            FewLabelsWarning,
        )
