"""One picture of a scenario: how the content spread, and what it cost."""

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simulations.labs.report import Outcome

mpl.use("Agg")


def plot(outcome: "Outcome", path: Path) -> None:
    """Left: content received over time by the average agent, and by the slowest and fastest (shaded), a line for each
    contender; dashed: what the origin has sent. Right: the two ratios of the medians."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    _spread(outcome, left)
    _costs(outcome, right)
    figure.suptitle(outcome.scenario.title, fontsize=11)
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _spread(outcome: "Outcome", axes: "Axes") -> None:
    for index, name in enumerate(outcome.turns):
        rows = outcome.representative(name)
        if not rows:
            continue
        seconds, sent, least, mean, most = zip(*rows, strict=True)
        color = f"C{index}"
        axes.plot(seconds, mean, color=color, label=name)
        axes.fill_between(seconds, least, most, color=color, alpha=0.15, linewidth=0)
        axes.plot(seconds, sent, color=color, linestyle="--", linewidth=0.8)
    axes.set_xlabel("seconds")
    axes.set_ylabel("copies got by an agent; dashed: sent by the origin", fontsize=8)
    axes.set_ylim(0, 2.2)
    axes.set_xlim(0)
    axes.legend(fontsize=8)


def _costs(outcome: "Outcome", axes: "Axes") -> None:
    names = list(outcome.turns)
    bars = outcome.scenario.bars
    for offset, (figure, label, bar) in enumerate(
        [("last", "last agent ÷ one copy", bars.last), ("copies", "origin, copies", bars.copies)]
    ):
        values = [outcome.median(name, figure) for name in names]
        places = [index + offset * 0.4 - 0.2 for index in range(len(names))]
        drawn = axes.barh(places, values, height=0.38, label=label, color=f"C{7 + offset}")
        axes.bar_label(drawn, fmt="%.2f", fontsize=8, padding=2)
        if bar:
            axes.axvline(bar, color=f"C{7 + offset}", linestyle=":", linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.legend(fontsize=8)
