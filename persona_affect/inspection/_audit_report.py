"""The result of an audit: tables, a plot, Markdown, and a web page."""

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from persona_affect._files import atomic_write

from ._pages import figure_to_svg, make_page, table_to_markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What is shown of each measure.
_TITLES: Final = {
    "error": "mean absolute error",
    "ccc": "CCC",
    "pearson": "Pearson r",
    "bias": "bias (mean of prediction less rating)",
    "coverage": "coverage of the intervals",
}
_CAVEAT: Final = (
    "Predictions are *apparent* traits: impressions that faces make on raters, not what people "
    "are. Equal errors are not fairness: the ratings contain the prejudices of the raters, and a "
    "model that predicts them without error has the same."
)


@dataclass(frozen=True, eq=False)
class Audit:
    """What :func:`audit` found.

    Attributes
    ----------
    overall : DataFrame
        A row per target: ``n`` (labels), and for ``error`` (mean absolute error), ``ccc``,
        ``pearson``, ``bias`` (mean of prediction less rating) and, with intervals, ``coverage``,
        the value, ``<name>_low`` and ``<name>_high``.
    groups : DataFrame
        The same for each ``feature``, ``group`` and ``target``; intersections of all features are
        under the feature ``"a and b"``. A group with fewer samples than the minimum has its ``n``
        and nothing else.
    stability : DataFrame
        A row per ``disturbance`` and ``target``: the mean absolute change of predictions,
        ``movement``, with ``movement_low`` and ``movement_high``, and the mean signed change,
        ``shift``, all in standard deviations of the ratings. Empty if nothing was disturbed.
    settings : dict
        What was done: numbers of samples, the minimum size of a group, and so on.

    See Also
    --------
    audit : Makes it.
    AuditDisplay : Draws it.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from sklearn.linear_model import Ridge
    >>> from persona_affect.inspection import audit
    >>> X, old = np.random.default_rng(0).normal(size=(90, 3)), np.arange(90) % 2
    >>> y = pd.DataFrame({"happy": X[:, 0] + old + 0.1})
    >>> found = audit(Ridge().fit(X, X[:, 0]), X, y, sensitive={"old": old}, disturbances=[])
    >>> found.features, found.measures
    (['old'], ['error', 'ccc', 'pearson', 'bias'])
    >>> found.table("error", "old", worst_first=True).round(1).to_dict()
    {'n': {'1': 45, '0': 45}, 'happy': {'1': 1.1, '0': 0.1}}
    """

    overall: pd.DataFrame
    groups: pd.DataFrame
    stability: pd.DataFrame
    settings: dict[str, Any]

    @property
    def measures(self) -> list[str]:
        """Names of the measures."""
        return [name for name in _TITLES if name in self.overall]

    def table(
        self,
        measure: str,
        feature: str | None = None,
        *,
        intervals: bool = False,
        digits: int = 2,
        worst_first: bool = False,
    ) -> pd.DataFrame:
        """Return one measure by group and target.

        Parameters
        ----------
        measure : {"error", "ccc", "pearson", "bias", "coverage"}
            Its name; ``"coverage"`` only if there are intervals.
        feature : str, optional
            All samples together by default.
        intervals : bool, default=False
            Give texts with the intervals, such as ``"4.1 (3.8 to 4.4)"``.
        digits : int, default=2
            Of these texts.
        worst_first : bool, default=False
            Begin with the group that is worst on average over the targets: with the greatest
            errors, or the greatest absolute bias, in units of each target's error over all
            samples; or with the lowest CCC, r or coverage. Groups that were not judged come last.

        Returns
        -------
        DataFrame
            A row per group, ``n`` (the largest of any target) first, then a column per target.

        Raises
        ------
        ValueError
            If there is no such measure or feature.
        """
        if measure not in self.measures:
            raise ValueError(f"measure={measure!r} is none of {self.measures}.")
        if feature is None:
            rows = self.overall.rename_axis("target").reset_index().assign(group="all")
        else:
            rows = self.groups[self.groups["feature"] == feature]
            if rows.empty:
                raise ValueError(f"feature={feature!r} is none of {self.features}.")
        values = rows[measure]
        if intervals:
            ends = zip(values, rows[f"{measure}_low"], rows[f"{measure}_high"], strict=True)
            values = pd.Series(
                [
                    "" if np.isnan(v) else f"{v:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
                    for v, low, high in ends
                ],
                index=rows.index,
            )
        targets = list(self.overall.index)
        table = rows.assign(value=values).pivot(index="group", columns="target", values="value")
        order = list(dict.fromkeys(rows["group"]))
        if worst_first:
            badness = self._badness(measure, rows).reindex(order)
            order = list(badness.sort_values(ascending=False, kind="stable").index)
        table = table.reindex(index=order, columns=targets)
        table.insert(0, "n", rows.groupby("group")["n"].max())
        return table.rename_axis(index=None, columns=None)

    @property
    def features(self) -> list[str]:
        """Names of the features, the intersection last."""
        return [] if self.groups.empty else list(dict.fromkeys(self.groups["feature"]))

    def stability_table(self) -> pd.DataFrame:
        """Return ``movement`` by disturbance (in words) and target.

        Returns
        -------
        DataFrame
            A row for each disturbance, in words, and a column for each target.
        """
        table = self.stability.pivot(index="text", columns="target", values="movement")
        order = list(dict.fromkeys(self.stability["text"]))
        return table.loc[order, list(self.overall.index)].rename_axis(index=None, columns=None)

    def to_markdown(
        self,
        *,
        intervals: bool = True,
        digits: int = 2,
        level: int = 2,
        n_worst: int | None = None,
    ) -> str:
        """Write all tables as Markdown, the worst groups first.

        Parameters
        ----------
        intervals : bool, default=True
            With the intervals of the bootstrap.
        digits : int, default=2
            Digits after the point.
        level : int, default=2
            Level of the headings.
        n_worst : int, optional
            Of the groups by all features together, show this many. By default all.

        Returns
        -------
        str
            The tables, with a heading each.
        """
        done, mark, n_features = self.settings, "#" * level, len(self.settings["features"])
        parts = [_CAVEAT, _describe(done), f"{mark} All persons"]
        parts.append(table_to_markdown(self._overall_table(intervals, digits), index="target"))
        for i, feature in enumerate(self.features):
            parts.append(f"{mark} By {feature}")
            shown = n_worst if i == n_features else None
            if shown is not None:
                parts.append(self._count_groups(feature, shown))
            for measure in ("error", "bias", *(["coverage"] if "coverage" in self.overall else [])):
                table = self.table(
                    measure, feature, intervals=intervals, digits=digits, worst_first=True
                )
                title = _TITLES[measure]
                parts += [f"{title[0].upper()}{title[1:]}, worst first:"]
                parts += [table_to_markdown(table[:shown], index="group", digits=digits)]
        if len(self.stability):
            parts += [
                f"{mark} When the photo changes a little",
                f"Mean absolute change of the predictions of {done['n_disturbed']} faces, in "
                "standard deviations of the ratings. 0 is a model that does not react.",
                table_to_markdown(self.stability_table(), index="face", digits=2),
            ]
        return "\n\n".join(parts) + "\n"

    def to_html(self, *, title: str = "Audit of a model of impressions") -> str:
        """Write one web page with all tables and plots, which needs no other file.

        Parameters
        ----------
        title : str
            The heading of the page.

        Returns
        -------
        str
            The page as HTML.

        Raises
        ------
        MissingDependencyError
            If the extra ``inspect`` is not installed.
        """
        from matplotlib.figure import Figure

        figures, parts = {}, [f"# {title}", self.to_markdown()]
        for feature in self.features[: len(self.settings["features"])]:
            for measure in ("error", "bias"):
                figure = Figure(layout="constrained")
                draw_groups(self, figure.subplots(), feature, measure)
                figures[f"{measure} {feature}"] = figure_to_svg(figure)
                parts.append(f"{{{measure} {feature}}}")
        return make_page(title, "\n\n".join(parts), figures)

    def save_html(self, path: str | PathLike[str], **settings: Any) -> None:
        """Write the page of :meth:`to_html` to a file.

        Parameters
        ----------
        path : path-like
            The file to create or replace.
        **settings
            As for :meth:`to_html`.

        Raises
        ------
        OutputError
            If it cannot be written.
        MissingDependencyError
            If the extra ``inspect`` is not installed.
        """
        with atomic_write(path) as draft:
            draft.write_text(self.to_html(**settings), encoding="utf-8")

    def _badness(self, measure: str, rows: pd.DataFrame) -> "pd.Series[float]":
        """Return how bad each group is, on average over the targets; NaN if it was not judged."""
        values = rows.pivot(index="group", columns="target", values=measure)
        if measure in ("error", "bias"):
            return (values.abs() / self.overall["error"]).mean(axis=1)
        return -values.mean(axis=1)

    def _count_groups(self, feature: str, n_worst: int) -> str:
        rows = self.groups[self.groups["feature"] == feature]
        judged = int(rows.groupby("group")["error"].any().sum())
        n_small = rows["group"].nunique() - judged
        return (
            f"The worst {min(n_worst, judged)} of {judged} groups; {n_small} more have fewer than "
            f"{self.settings['min_group_size']} samples. The worst of many groups look worse than "
            "they are, by chance: look at the intervals."
        )

    def _overall_table(self, intervals: bool, digits: int) -> pd.DataFrame:
        columns: dict[str, Any] = {"n": self.overall["n"]}
        for measure in self.measures:
            row = self.table(measure, intervals=intervals, digits=digits).iloc[0]
            columns[_TITLES[measure].partition(" (")[0]] = row.drop("n")
        return pd.DataFrame(columns, index=self.overall.index)


def _describe(done: dict[str, Any]) -> str:
    missing = done["n_without_prediction"]
    faceless = f" {missing} of them have no prediction: no face was found." if missing else ""
    text = (
        f"{done['n_samples']} samples.{faceless} Intervals are {done['confidence']:.0%}, from "
        f"{done['n_resamples']} bootstrap draws over samples. Groups of fewer than "
        f"{done['min_group_size']} are counted, and not judged."
    )
    if done["alpha"] is not None:
        text += f" Coverage is that of intervals for {1 - done['alpha']:.0%} of the ratings."
    return text.replace("%", " %")


def draw_groups(audit: Audit, ax: "Axes", feature: str, measure: str) -> dict[str, Any]:
    """Draw a row for each group of a feature, and in it a point for each target."""
    table = audit.table(measure, feature)
    rows = audit.groups[audit.groups["feature"] == feature].set_index(["target", "group"])
    targets = list(table.columns[1:])
    places, lines = np.arange(len(table), dtype=float), {}
    for k, target in enumerate(targets):
        own = rows.loc[target].reindex(table.index)
        ends = own[[f"{measure}_low", f"{measure}_high"]].to_numpy(float)
        # A percentile interval need not contain the value itself.
        bars = np.clip([-1, 1] * (ends - own[[measure]].to_numpy(float)), 0, None)
        lines[target] = ax.errorbar(
            own[measure],
            places + 0.6 * (k - (len(targets) - 1) / 2) / len(targets),
            xerr=bars.T,
            fmt="o",
            markersize=4,
            label=target,
        )
    if measure == "bias":
        ax.axvline(0, color="0.6", linewidth=1, zorder=0)
    ax.set_yticks(places, [f"{group} ({n})" for group, n in table["n"].items()])
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set(xlabel=_TITLES[measure], title=feature)
    ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    return lines
