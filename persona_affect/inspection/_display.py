"""What a Display shows of itself in a notebook."""

import base64
import html
import io
from typing import Any

import matplotlib as mpl


class NotebookDisplay:
    """A plot whose value in a notebook is its figure, in each cell that ends with it.

    Subclasses set `figure_` when they plot.
    """

    figure_: Any

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if hasattr(self, 'figure_') else 'not plotted'})"

    def _repr_html_(self) -> str:
        """Return the figure as an HTML picture, which a notebook shows and keeps."""
        if not hasattr(self, "figure_"):
            return f"<code>{html.escape(repr(self))}</code>"
        picture = io.BytesIO()
        self.figure_.savefig(picture, format="png", bbox_inches="tight")
        if "inline" in mpl.get_backend():
            # That backend shows open figures after each cell: this one would be there twice.
            import matplotlib.pyplot as plt

            plt.close(self.figure_)
        data = base64.b64encode(picture.getvalue()).decode()
        return f'<img alt="{html.escape(self._describe())}" src="data:image/png;base64,{data}">'

    def _describe(self) -> str:
        """Return the figure's texts in words: its alternative text."""
        texts = [type(self).__name__]
        for ax in self.figure_.axes:
            texts += [ax.get_title(), ax.get_xlabel(), ax.get_ylabel()]
        return ", ".join(filter(None, texts))
