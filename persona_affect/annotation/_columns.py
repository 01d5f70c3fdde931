"""Columns that a caller may ask for beside the targets: intervals, and how reliable they are."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from persona_affect.estimators import ConformalAffect
from persona_affect.faces import Detections, measure_quality
from persona_affect.media import Frame

from ._reliability import rate_reliability

#: The columns about reliability.
RELIABILITY: Final = ("reliability", "remarks")


class FaceColumns:
    """Predictions of aligned faces, with the columns that are asked for.

    Parameters
    ----------
    model : Pipeline
        It starts with a :class:`persona_affect.FaceAligner`.
    calibrated : ConformalAffect or None
        The calibration of `model`, if it has one.
    interval : float or None
        Probability that intervals contain a rating; None for no intervals.
    reliability : bool
        Whether to rate how reliable each face is.
    widen : bool
        Whether intervals grow where the reliability is below 1.

    Attributes
    ----------
    names : list of str
        The targets.
    extras : list of str
        ``<target>_low`` and ``<target>_high`` of each target, then ``reliability`` and ``remarks``.
    """

    def __init__(
        self,
        model: Pipeline,
        calibrated: ConformalAffect | None,
        interval: float | None,
        reliability: bool,
        widen: bool = False,
    ) -> None:
        self.names = list(model[-1].target_names_)
        self._predictor = model[1:]
        self._calibrated = None if calibrated is None else calibrated.skip_steps(1)
        self._interval, self._reliability = interval, reliability
        self._widen = widen and interval is not None
        self.extras: list[str] = []
        if interval is not None:
            self.extras += [f"{name}_{end}" for name in self.names for end in ("low", "high")]
        if reliability:
            self.extras += RELIABILITY

    def predict(
        self, frames: Sequence[Frame], seen: Sequence[Detections], clips: NDArray[np.object_]
    ) -> tuple[NDArray[np.float64], list[list[float | str]]]:
        """Predict the faces of some frames.

        Parameters
        ----------
        frames : sequence of Frame
        seen : sequence of Detections
            Of each frame.
        clips : ndarray of object, shape (n_faces,)
            All faces of all frames, aligned.

        Returns
        -------
        values : ndarray of shape (n_faces, n_targets)
        extras : list of list
            For each face, the values of `extras`.
        """
        if not len(clips):
            return np.empty((0, len(self.names))), []
        distances = bounds = None
        if self._interval is not None:
            assert self._calibrated is not None
            values, bounds, distances = self._calibrated.predict_parts(clips, 1 - self._interval)
        elif self._reliability and self._calibrated is not None:
            values, distances = self._calibrated.describe_faces(clips)
        else:
            values = np.reshape(self._predictor.predict(clips), (-1, len(self.names)))
        extras: list[list[float | str]] = [[] for _ in clips]
        rated: list[tuple[float, str]] = []
        if self._reliability or self._widen:
            for frame, faces in zip(frames, seen, strict=True):
                block = slice(len(rated), len(rated) + len(faces))
                far = None if distances is None else distances[block]
                scores, remarks = rate_reliability(measure_quality(frame.image, faces), far)
                rated += zip(scores.tolist(), remarks, strict=True)
        if bounds is not None:
            if self._widen:
                assert self._calibrated is not None
                bounds = self._calibrated.widen(bounds, [score for score, _ in rated])
            for row, own in zip(extras, bounds.reshape(len(clips), -1).tolist(), strict=True):
                row += own
        if self._reliability:
            for row, said in zip(extras, rated, strict=True):
                row += said
        return values, extras
