"""Pictures for docs/dht.md."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from simulations.dht.outcome import Outcome
from simulations.dht.report import PLOTS, of_hours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

mpl.use("Agg")


def draw(outcomes: Mapping[str, Outcome]) -> None:
    """Draws what there are outcomes for."""
    PLOTS.mkdir(exist_ok=True)
    hours = of_hours(outcomes)
    if hours:
        _save(_lookups(hours), "dht-lookups.png")
    days = [outcome for outcome in outcomes.values() if outcome.events]
    if days:
        _save(_recoveries(days), "dht-recovery.png")


def _lookups(hours: Mapping[str, Outcome]) -> Figure:
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for whose, outcome in hours.items():
        success = outcome.figures["success"]
        left.plot(outcome.seconds, [at * success for at in range(101)], label=whose)
        right.plot(outcome.queries, range(101), label=whose, drawstyle="steps-post")
    left.set_xscale("log")
    left.set_xlabel("seconds until a live provider was named")
    left.set_ylabel("% of lookups")
    right.set_xlabel("queries a lookup")
    right.set_xlim(0, 20)
    _finish(left)
    _finish(right)
    return figure


def _recoveries(days: list[Outcome]) -> Figure:
    figure = Figure(figsize=(9, 1.7 * len(days)), layout="constrained")
    for axes, outcome in zip(figure.subplots(len(days), 1, squeeze=False)[:, 0], days, strict=True):
        minutes, success = zip(*outcome.minutes, strict=True)
        axes.plot(minutes, [100 * share for share in success], linewidth=1)
        for event, minute in outcome.events.items():
            axes.axvline(minute, color="C3", linestyle=":", linewidth=1)
            axes.annotate(event, (minute, 42), fontsize=8, xytext=(3, 0), textcoords="offset points")
        axes.set_title(outcome.title, fontsize=9)
        axes.set_ylim(40, 102)
        axes.set_xlim(0, max(minutes))
        axes.set_ylabel("% found", fontsize=8)
        axes.grid(visible=True, linewidth=0.3)
    axes.set_xlabel("minutes")
    return figure


def _finish(axes: "Axes") -> None:
    axes.grid(visible=True, linewidth=0.3)
    axes.legend(fontsize=8)


def _save(figure: Figure, name: str) -> None:
    figure.savefig(PLOTS / name, dpi=90, metadata={"Software": None})
