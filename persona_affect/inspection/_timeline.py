"""Affect over the time of a clip."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from persona_affect.annotation import FrameAnnotator

from ._display import NotebookDisplay
from ._reference import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE_STYLES = ("-", "--", ":", "-.")


class AffectTimelineDisplay(NotebookDisplay):
    """Predictions of each frame of a clip as lines over time: a colour a target, a style a face.

    A line is interrupted where its face is not seen.

    Parameters
    ----------
    table : DataFrame
        With a row per frame and face, as :class:`persona_affect.FrameAnnotator` gives: columns
        ``frame``, ``time`` (seconds), ``face`` and the targets.
    targets : list of str
        Columns to show.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    lines_ : dict of (face, target) to matplotlib.lines.Line2D

    Examples
    --------
    >>> import pandas as pd
    >>> from persona_affect.inspection import AffectTimelineDisplay
    >>> table = pd.DataFrame(
    ...     {"frame": [0, 1], "time": [0.0, 0.04], "face": [0, 0], "valence": [0.1, 0.2]}
    ... )
    >>> display = AffectTimelineDisplay.from_predictions(table, targets=["valence"])
    >>> list(display.lines_)
    [(0, 'valence')]
    """

    def __init__(self, table: pd.DataFrame, *, targets: Sequence[str]) -> None:
        self.table = table
        self.targets = targets

    @classmethod
    def from_predictions(
        cls,
        table: pd.DataFrame,
        *,
        targets: Sequence[str],
        ax: "Axes | None" = None,
    ) -> Self:
        """Plot a table of annotations.

        Parameters
        ----------
        table : DataFrame
            With columns ``frame``, ``time``, ``face`` and the targets.
        targets : list of str
            Columns of the table to plot.
        ax : matplotlib axes, optional
            A new figure by default.

        Returns
        -------
        AffectTimelineDisplay

        Raises
        ------
        ValueError
            If a column is missing.
        """
        return cls(table, targets=targets).plot(ax=ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator,
        source: Any,
        *,
        targets: Sequence[str] | None = None,
        ax: "Axes | None" = None,
        **settings: Any,
    ) -> Self:
        """Annotate a clip and plot it.

        Parameters
        ----------
        estimator : Pipeline
            Fitted, starting with a :class:`persona_affect.FaceAligner`.
        source : path, bytes or ndarray (T, H, W, 3)
            A clip.
        targets : list of str, optional
            By default the model's emotion targets, or all where it has none.
        ax : matplotlib axes, optional
            A new figure by default.
        **settings
            Of :class:`persona_affect.FrameAnnotator`: `smooth`, `detect_every`, `track`, ...

        Returns
        -------
        AffectTimelineDisplay
        """
        annotator = FrameAnnotator(estimator, **settings)
        model = annotator.model[-1]
        if targets is None:
            targets = getattr(model, "emotion_names_", None) or model.target_names_
        return cls.from_predictions(annotator.to_dataframe(source), targets=targets, ax=ax)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw the plot.

        Parameters
        ----------
        ax : matplotlib axes, optional
            A new figure by default.

        Returns
        -------
        AffectTimelineDisplay
            Itself.

        Raises
        ------
        ValueError
            If the table has no column for a target, or for the frame, time or face.
        """
        missing = [
            name
            for name in ("frame", "time", "face", *self.targets)
            if name not in self.table.columns
        ]
        if missing:
            raise ValueError(
                f"The table has no columns {missing}, only {list(self.table.columns)}."
            )
        ax = new_axes() if ax is None else ax
        faces = self.table["face"].dropna().unique()
        self.lines_ = {}
        for row, (face, seen) in enumerate(iter_face_tracks(self.table)):
            for column, target in enumerate(self.targets):
                self.lines_[face, target] = ax.plot(
                    seen["time"],
                    seen[target],
                    _LINE_STYLES[row % len(_LINE_STYLES)],
                    color=f"C{column % 10}",
                    label=target if len(faces) == 1 else f"{target}, face {face}",
                )[0]
        ax.set_xlabel("time (s)")
        if self.lines_:
            ax.legend()
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


def iter_face_tracks(table: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield each face's number and its rows of a table of annotations.

    Parameters
    ----------
    table : DataFrame
        With columns ``frame`` and ``face``, as :class:`persona_affect.FrameAnnotator` gives.

    Yields
    ------
    face : int
    rows : DataFrame
        Its rows, in order, with a row of NaN at each gap, so that a line plot is interrupted there.

    Examples
    --------
    >>> import pandas as pd
    >>> from persona_affect.inspection import iter_face_tracks
    >>> table = pd.DataFrame({"frame": [0, 1, 1], "face": [0, 0, 1], "happy": [60.0, 61.0, 40.0]})
    >>> [(int(face), len(rows)) for face, rows in iter_face_tracks(table)]
    [(0, 2), (1, 1)]
    """
    faces = table.dropna(subset=["face"])
    for face in np.unique(faces["face"].to_numpy(int)):
        seen = faces[faces["face"] == face]
        frames = seen["frame"].to_numpy()
        gaps = np.flatnonzero(np.diff(frames) > 1)
        breaks = pd.DataFrame(np.nan, index=gaps + 0.5, columns=seen.columns)
        yield int(face), pd.concat([seen.reset_index(drop=True), breaks]).sort_index()
