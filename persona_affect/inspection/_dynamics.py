"""Dynamic maps of a clip, and where and at which scales a person differs from others."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from persona_affect.estimators import PersonDynamicsEncoder
from persona_affect.faces import split_pieces

from ._display import NotebookDisplay
from ._reference import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class DynamicsDisplay(NotebookDisplay):
    """Maps of facial dynamics: a row a time scale, over the face that they belong to.

    Two kinds: the dynamic maps of a clip over time (:meth:`from_estimator`), red where values
    increase around that moment, blue where they decrease; and the map of what sets a person apart
    (:meth:`from_difference`), red where the difference is.

    Parameters
    ----------
    maps : ndarray of shape (n_rows, n_columns, height, width)
        Values of the pixels, of either sign.
    rows, columns : sequence of str
        Labels of the maps: scales, and moments.
    faces : ndarray of shape (n_columns, height, width), optional
        Grey faces to show below the maps, 0 to 255.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    image_ : matplotlib.image.AxesImage
        All maps in one picture.

    Examples
    --------
    >>> import numpy as np
    >>> from persona_affect.inspection import DynamicsDisplay
    >>> maps = np.random.RandomState(0).standard_normal((2, 3, 28, 24))
    >>> display = DynamicsDisplay(maps, rows=["0.04 s", "0.32 s"], columns=["0 s", "1 s", "2 s"])
    >>> display.plot().image_.get_array().shape
    (56, 72)
    """

    def __init__(
        self,
        maps: NDArray[np.floating],
        *,
        rows: Sequence[str],
        columns: Sequence[str],
        faces: NDArray[np.floating] | None = None,
    ) -> None:
        self.maps = maps
        self.rows = rows
        self.columns = columns
        self.faces = faces

    @classmethod
    def from_estimator(
        cls,
        estimator: PersonDynamicsEncoder,
        clip: NDArray[np.uint8],
        *,
        rate: float = 25.0,
        n_moments: int = 6,
        ax: "Axes | None" = None,
    ) -> Self:
        """Show the dynamic maps of a clip at some moments.

        Parameters
        ----------
        estimator : PersonDynamicsEncoder
            Fitted.
        clip : ndarray of shape (T, H, W, 3), uint8
            A face clip.
        rate : float, default=25.0
            Frames a second, for the labels.
        n_moments : int, default=6
            Moments, evenly spread over the windows of the clip.
        ax : matplotlib axes, optional
            A new figure by default.

        Returns
        -------
        DynamicsDisplay

        Raises
        ------
        ValueError
            If the clip has no window.
        """
        maps, centres = estimator.dynamic_maps(clip)
        if not len(centres):
            raise ValueError("The clip has no face, so that there is no map to show.")
        chosen = np.unique(np.linspace(0, len(centres) - 1, n_moments).round().astype(int))
        return cls(
            maps[chosen].mean(axis=-1).swapaxes(0, 1),
            rows=_name_scales(estimator, rate),
            columns=[f"{centres[i] / rate:.2f} s" for i in chosen],
            faces=np.stack([_shrink(clip[centres[i]], maps.shape[2:4]) for i in chosen]),
        ).plot(ax=ax)

    @classmethod
    def from_difference(
        cls,
        estimator: PersonDynamicsEncoder,
        person: Any,
        others: Any,
        *,
        rate: float = 25.0,
        ax: "Axes | None" = None,
    ) -> Self:
        """Show which regions of the face, at which scales, set a person apart from others.

        Parameters
        ----------
        estimator : PersonDynamicsEncoder
            Fitted.
        person, others
            As for :meth:`persona_affect.PersonDynamicsEncoder.map_difference`.
        rate : float, default=25.0
            Frames a second, for the labels.
        ax : matplotlib axes, optional
            A new figure by default.

        Returns
        -------
        DynamicsDisplay
            With one column; the label of a row has the scale's share of the difference.
        """
        maps = estimator.map_difference(person, others)
        shares = maps.sum(axis=(1, 2)) / maps.sum()
        names = _name_scales(estimator, rate)
        first = split_pieces(person[0] if isinstance(person, list | tuple) else person)[0]
        return cls(
            maps[:, None],
            rows=[f"{name}, {share:.0%}" for name, share in zip(names, shares, strict=True)],
            columns=["difference"],
            faces=_shrink(first.mean(axis=0), maps.shape[1:])[None],
        ).plot(ax=ax)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw the plot.

        Parameters
        ----------
        ax : matplotlib axes, optional
            A new figure by default.

        Returns
        -------
        DynamicsDisplay
            Itself.

        Raises
        ------
        ValueError
            If there are not as many labels as rows and columns of maps.
        """
        n_rows, n_columns, height, width = self.maps.shape
        if (len(self.rows), len(self.columns)) != (n_rows, n_columns):
            raise ValueError(
                f"{n_rows} x {n_columns} maps need as many labels, not {len(self.rows)} and "
                f"{len(self.columns)}."
            )
        ax = new_axes() if ax is None else ax
        # Scales differ in size: each row has its own unit, so that all can be seen.
        unit = np.abs(self.maps).max(axis=(1, 2, 3), keepdims=True)
        maps = self.maps / np.where(unit > 0, unit, 1)
        if self.faces is not None:
            faces = np.tile(np.hstack(list(self.faces)), (n_rows, 1))
            ax.imshow(faces, cmap="gray", vmin=0, vmax=255)
        tiled = maps.swapaxes(1, 2).reshape(n_rows * height, n_columns * width)
        self.image_ = ax.imshow(
            tiled, cmap="RdBu_r", vmin=-1, vmax=1, alpha=1.0 if self.faces is None else 0.6
        )
        ax.set_xticks((np.arange(n_columns) + 0.5) * width - 0.5, list(self.columns))
        ax.set_yticks((np.arange(n_rows) + 0.5) * height - 0.5, list(self.rows))
        ax.tick_params(length=0)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


def _name_scales(estimator: PersonDynamicsEncoder, rate: float) -> list[str]:
    return [f"\N{PLUS-MINUS SIGN}{scale / rate:.2f} s" for scale in estimator.net_.scales]


def _shrink(face: NDArray[Any], size: Sequence[int]) -> NDArray[np.floating]:
    """Average a face (H, W, 3) over areas and colours; (height, width)."""
    grey = np.asarray(face, np.float64).mean(axis=-1)
    rows, columns = (
        np.add.reduceat(np.eye(n), np.linspace(0, n, m, endpoint=False).astype(int), axis=0)
        for n, m in zip(grey.shape, size, strict=True)
    )
    rows, columns = (part / part.sum(axis=1, keepdims=True) for part in (rows, columns))
    return np.asarray(rows @ grey @ columns.T)
