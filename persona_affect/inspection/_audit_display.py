"""An audit as a plot."""

from typing import TYPE_CHECKING, Any, Self

from ._audit import audit
from ._audit_report import Audit, draw_groups
from ._display import NotebookDisplay
from ._reference import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class AuditDisplay(NotebookDisplay):
    """One measure of an audit by group, with bootstrap intervals.

    Parameters
    ----------
    audit : Audit
        What :func:`audit` found.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    lines_ : dict of str to matplotlib.container.ErrorbarContainer
        By target.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from persona_affect.inspection import AuditDisplay
    >>> X, old = np.random.default_rng(0).normal(size=(90, 3)), np.arange(90) % 2
    >>> model = Ridge().fit(X, X[:, 0])
    >>> display = AuditDisplay.from_estimator(
    ...     model, X, X[:, :1], sensitive={"old": old}, disturbances=[]
    ... )
    >>> display.ax_.get_xlabel()
    'mean absolute error'
    """

    def __init__(self, audit: Audit) -> None:
        self.audit = audit

    @classmethod
    def from_estimator(
        cls,
        model: Any,
        X: Any,
        y: Any,
        *,
        feature: str | None = None,
        measure: str = "error",
        ax: "Axes | None" = None,
        **settings: Any,
    ) -> Self:
        """Audit a model, and plot one measure.

        Parameters
        ----------
        model, X, y, **settings
            As for :func:`audit`; `settings` must have `sensitive`.
        feature, measure, ax
            As for :meth:`plot`.

        Returns
        -------
        AuditDisplay
        """
        return cls(audit(model, X, y, **settings)).plot(feature, measure=measure, ax=ax)

    def plot(
        self, feature: str | None = None, *, measure: str = "error", ax: "Axes | None" = None
    ) -> Self:
        """Draw a row for each group, and in it a point for each target.

        Parameters
        ----------
        feature : str, optional
            The first by default.
        measure : {"error", "ccc", "pearson", "bias", "coverage"}, default="error"
        ax : matplotlib axes, optional
            A new figure by default.

        Returns
        -------
        AuditDisplay
            Itself.

        Raises
        ------
        ValueError
            If there are no groups, or no such feature or measure.
        """
        if not self.audit.features:
            raise ValueError("The audit has no groups: give sensitive=.")
        ax = new_axes() if ax is None else ax
        feature = self.audit.features[0] if feature is None else feature
        self.lines_ = draw_groups(self.audit, ax, feature, measure)
        self.ax_ = ax
        self.figure_ = ax.figure
        return self
