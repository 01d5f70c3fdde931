"""Descriptors of persons from streams: frames are added as they come, and memory does not grow."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from persona_affect._device import network_on
from persona_affect.faces import split_pieces
from persona_affect.networks import DynamicsUNet

from ._dynamics_adaptation import Whitening, describe_first_step, measure_first_step
from ._dynamics_gradients import GradientSums
from ._dynamics_samples import check_faces, resize_faces, subtract_mean_face
from ._dynamics_windows import Windows


@dataclass(frozen=True)
class SessionSettings:
    """Parameters of an encoder that a session uses; see :class:`PersonDynamicsEncoder`."""

    image_size: tuple[int, int]
    filter_levels: tuple[str, ...]
    filter_margin: float
    step_size: float
    filter_lags: tuple[int, ...]
    n_windows: int | None
    piece: int


class DynamicsSession:
    """The descriptor of one person, from frames that are added as they come.

    Made by :meth:`PersonDynamicsEncoder.session`. Frames are collected to pieces. Each piece is
    measured as a clip of its own, then its frames are dropped: only sums remain, whose size does
    not depend on the length of the video. The descriptor is that of the encoder's `transform` for a
    person with these pieces as clips, up to rounding.

    Sessions can be pickled, and merged with others of the same person and encoder: of other tasks,
    other days, other machines.

    Parameters
    ----------
    net : DynamicsUNet
        The generic network of a fitted encoder.
    whitening : Whitening
        Scales of the gradients, from the encoder's training.
    settings : SessionSettings
        What the encoder's parameters say of pieces, windows and steps.
    device : str
        Where pieces are measured.

    Attributes
    ----------
    n_windows : int
        Windows measured so far.
    n_waiting : int
        Frames of the piece in progress.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect import load_model
    >>> session = load_model("dynamics").session()
    >>> session.n_windows
    0
    """

    def __init__(
        self, net: DynamicsUNet, whitening: Whitening, settings: SessionSettings, device: str
    ) -> None:
        self._net, self._whitening, self._settings = net, whitening, settings
        self._device = device
        self._waiting: list[Tensor] = []
        self._sums: list[GradientSums] = []

    @property
    def n_windows(self) -> int:
        """Windows measured so far."""
        return int(self._sums[0].counts) if self._sums else 0

    @property
    def n_waiting(self) -> int:
        """Frames of the piece in progress."""
        return sum(map(len, self._waiting))

    def add(self, faces: NDArray[np.uint8]) -> Self:
        """Add frames that follow those added before without a gap.

        Parameters
        ----------
        faces : ndarray of shape (T, H, W, 3), uint8
            Aligned faces, as :class:`persona_affect.FaceAligner` returns them; T may be 0. The
            gaps of a `FaceClip` end pieces.

        Returns
        -------
        self

        Raises
        ------
        InvalidImageError
            If `faces` is no array of that kind, or smaller than the encoder's `image_size`.
        """
        check_faces(faces, "The array", self._settings.image_size)
        for i, piece in enumerate(split_pieces(faces)):
            if i:
                self.end_piece()
            self._add_piece(piece)
        return self

    def _add_piece(self, faces: NDArray[np.uint8]) -> None:
        start = 0
        while start < len(faces):
            stop = start + self._settings.piece - self.n_waiting
            self._waiting.append(resize_faces(faces[start:stop], self._settings.image_size))
            start = stop
            if self.n_waiting == self._settings.piece:
                self.end_piece()

    def end_piece(self) -> Self:
        """End the piece in progress: the next frames do not follow the last ones.

        To be called where the face was lost, and between recordings. A piece that is too short for
        the largest scale is dropped.

        Returns
        -------
        self
        """
        self._sums = self._measured()
        self._waiting = []
        return self

    def merge(self, other: "DynamicsSession") -> Self:
        """Add all that another session of the same person has; the other stays as it is.

        The piece in progress is ended first.

        Parameters
        ----------
        other : DynamicsSession
            Of the same encoder; it is not changed.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the sessions are not of the same fitted encoder.
        """
        if not self._matches(other):
            raise ValueError(
                "Only sessions of the same fitted encoder can be merged: their networks, whitening "
                "or settings differ."
            )
        self.end_piece()
        self._sums = _merge(self._sums, other._measured())
        return self

    def describe(self) -> NDArray[np.float32]:
        """Return the descriptor of all frames so far, those of the piece in progress included.

        Returns
        -------
        ndarray of shape (n_features,), float32
            As a row of the encoder's `transform`; NaN if there is no window yet.
        """
        sums, settings = self._measured(), self._settings
        if not sums:
            widths = [self._net.level_widths[level] for level in settings.filter_levels]
            n_filters = len(settings.filter_lags) * len(self._net.scales)
            n_features = n_filters * sum(width**2 for width in widths)
            return np.full(n_features, np.nan, np.float32)
        change = describe_first_step(
            self._net, sums, self._whitening, settings.filter_levels, settings.step_size
        )
        return change[0].numpy()

    def _measured(self) -> list[GradientSums]:
        """Return the sums, with those of the piece in progress."""
        if self.n_waiting <= 2 * self._net.margin:
            return self._sums
        settings = self._settings
        net = network_on(self._net, self._device)
        clip = subtract_mean_face(torch.cat(self._waiting))
        windows = Windows.choose(net, [[clip]], settings.n_windows, self._device)
        found = measure_first_step(
            net, windows, settings.filter_levels, settings.filter_margin, settings.filter_lags
        )
        return _merge(self._sums, [sums.cpu() for sums in found])

    def _matches(self, other: Any) -> bool:
        if not isinstance(other, DynamicsSession) or self._settings != other._settings:
            return False
        own, others = (
            {
                **session._net.state_dict(),
                **{f"before.{x}": t for x, t in session._whitening.before.items()},
                **{f"after.{x}": t for x, t in session._whitening.after.items()},
            }
            for session in (self, other)
        )
        return (
            self._net.spacings == other._net.spacings
            and self._net.scales == other._net.scales
            and own.keys() == others.keys()
            and all(torch.equal(tensor, others[name]) for name, tensor in own.items())
        )


def _merge(ours: list[GradientSums], others: list[GradientSums]) -> list[GradientSums]:
    if not ours or not others:
        return ours or others
    return [own.merge(other) for own, other in zip(ours, others, strict=True)]
