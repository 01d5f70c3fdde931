"""Draw the curves of benchmarks/results/scale.md from the tables beside it.

    python benchmarks/plot_scale.py

`face_feed.py --curve --csv` and `shards.py --csv` write the tables. The pictures are SVG, with a
white background, so that they can be read on light and dark pages.
"""

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
import pandas as pd

RESULTS = Path(__file__).parent / "results"
BLUE, ORANGE = "#0b5fa5", "#b3541e"


def draw_feeding(table: pd.DataFrame) -> None:
    figure, (memory, opening) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for column, name, colour in (
        ("opened_mib", "store opened", BLUE),
        ("peak_mib", "peak of an epoch", ORANGE),
    ):
        memory.plot(table["faces"], table[column] - table["before_mib"], "o-", c=colour, label=name)
    everything = table["faces"] * 112 * 96 * 3 / 2**20
    memory.plot(table["faces"], everything, ":", c="grey", label="all faces in memory")
    memory.set(ylabel="MiB more than before", title="Memory")
    for column, name, colour in (
        ("opened_first_s", "first time, with checksums", ORANGE),
        ("opened_again_s", "again", BLUE),
    ):
        opening.plot(table["faces"], table[column], "o-", c=colour, label=name)
    opening.set(ylabel="seconds", title="Opening a store")
    finish(figure, "faces", "scale_feeding.svg")


def draw_shards(table: pd.DataFrame) -> None:
    figure, (memory, listing) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for (form, rows), colour in zip(table.groupby("form"), (BLUE, ORANGE), strict=True):
        more = rows["peak_mib"] - rows["before_mib"]
        memory.plot(rows["samples"], more, "o-", c=colour, label=form)
        listing.plot(rows["samples"], rows["listed_s"], "o-", c=colour, label=form)
    memory.set(ylabel="MiB more than before", title="Peak memory")
    listing.set(ylabel="seconds", title="Listing the samples")
    finish(figure, "samples", "scale_shards.svg")


def finish(figure: plt.Figure, what: str, name: str) -> None:
    for ax in figure.axes:
        ax.set(xscale="log", yscale="log", xlabel=what)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize="small")
    # Without the date: the same table gives the same file.
    figure.savefig(RESULTS / name, metadata={"Date": None})


def main() -> None:
    plt.rcParams.update({"svg.hashsalt": "scale", "svg.fonttype": "none", "font.size": 9})
    draw_feeding(pd.read_csv(RESULTS / "scale_feeding.csv"))
    draw_shards(pd.read_csv(RESULTS / "scale_shards.csv"))


if __name__ == "__main__":
    main()
