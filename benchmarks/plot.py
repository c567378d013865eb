"""Plots for the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from report import Figure

OURS, OTHERS = "#0b6e4f", "#9aa5b1"
STYLE = {
    "font.size": 9,
    "svg.fonttype": "none",  # text stays text: small, and the reader's own fonts
    "svg.hashsalt": "tach",  # the same figures make the same file
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}


def costs(file: Path, found: Mapping[str, Figure]) -> None:
    """Draw nanoseconds as bars on a logarithmic scale, the shortest first."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    ordered = sorted(found.items(), key=lambda item: -item[1].median)
    titles = [title for title, _ in ordered]
    values = [max(each.median, 1.0) for _, each in ordered]
    colours = [OURS if title.startswith("tach") else OTHERS for title in titles]
    with pyplot.rc_context(STYLE):
        picture, axes = pyplot.subplots(figsize=(8, 0.6 + 0.3 * len(titles)))
        bars = axes.barh(titles, values, color=colours)
        axes.bar_label(bars, [f"{value:,.0f} ns" for value in values], padding=3)
        axes.set_xscale("log")
        axes.set_xlim(10, max(values) * 4)
        axes.tick_params("y", length=0)
        axes.set_xlabel("what measuring adds to the call of a function, in ns (each line: tenfold)")
        axes.grid(axis="x", alpha=0.4)
        axes.set_axisbelow(True)
        picture.savefig(file, metadata={"Date": None}, bbox_inches="tight", facecolor="white")
        pyplot.close(picture)
