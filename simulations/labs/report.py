"""Figures to files: every turn as JSON in results/, medians as sections of docs/labs.md, plots in docs/plots/."""

import json
import re
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from simulations.labs.plays import PLAYS
from simulations.labs.plays.outcome import Row, Turn
from simulations.labs.scenario import Scenario
from simulations.labs.topology import ROOT
from simulations.pages import replaced, table
from simulations.versus import report as versus

PAGE = ROOT / "docs" / "labs.md"
PLOTS = ROOT / "docs" / "plots"
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One scenario's turns by contender."""

    name: str
    scenario: Scenario
    size: int
    turns: Mapping[str, Sequence[Turn]]

    @property
    def forge(self) -> str:
        """The contender that the bars are for: the scenario's first system."""
        return self.scenario.systems[0]

    def median(self, contender: str, figure: str) -> float:
        return statistics.median(turn.figures[figure] for turn in self.turns[contender])

    def representative(self, contender: str) -> list[Row]:
        """The timeline of the turn nearest to the median, of those that have one."""
        median = self.median(contender, "seconds")
        shown = [turn for turn in self.turns[contender] if turn.timeline]
        return min(shown, key=lambda turn: abs(turn.figures["seconds"] - median)).timeline if shown else []

    def verdicts(self) -> list[str]:
        """One line for each bar, of Forge alone."""
        if self.forge not in self.turns:
            return []
        return [f"{'reached' if reached else 'MISSED'}: {text}" for text, reached in self._bars()]

    def _bars(self) -> list[tuple[str, bool]]:
        bars = self.scenario.bars
        failed = sum(len(turn.failures) for name, turns in self.turns.items() if name == self.forge for turn in turns)
        found = [("everybody who was not killed finishes with the right bytes", failed == 0)]
        if bars.last:
            text = f"the last agent within {bars.last} times one copy over the uplink"
            found.append((text, self.median(self.forge, "last") <= bars.last))
        if bars.copies:
            text = f"at most {bars.copies} copies from the origin"
            found.append((text, self.median(self.forge, "copies") <= bars.copies))
        if bars.goodput:
            share = self.median(f"{self.forge}, no loss", "seconds") / self.median(self.forge, "seconds")
            text = f"more than {bars.goodput:.0%} of the goodput without loss"
            found.append((f"{text}: {share:.0%}", share > bars.goodput))
        if bars.amplification:
            text = f"a stranger gets at most {bars.amplification} times what it sends"
            found.append((text, self.median(self.forge, "amplification") <= bars.amplification))
        if bars.seconds:
            found.append((f"within {bars.seconds} s", self.median(self.forge, "seconds") <= bars.seconds))
        return found


def section(outcome: Outcome) -> str:
    """The markdown between a scenario's marks."""
    columns = {
        figure: head
        for figure, head in PLAYS[outcome.scenario.play].columns.items()
        if any(figure in turn.figures for turns in outcome.turns.values() for turn in turns)
    }
    rows = [["", *columns.values()]]
    rows += [[name, *(_cell(outcome, name, figure) for figure in columns)] for name in outcome.turns]
    rounds = max(len(turns) for turns in outcome.turns.values())
    command = f"`python -m simulations.labs --scenario {outcome.name}`"
    parts = [
        f"### {outcome.scenario.title}",
        table(rows),
        outcome.scenario.note.strip(),
        "\n".join(f"- {line}" for line in outcome.verdicts()),
        f"![{outcome.scenario.title}](plots/lab-{outcome.name}.png)" if _has_timeline(outcome) else "",
        f"<sub>{command}, {rounds} rounds, {datetime.now(UTC):%Y-%m-%d}, {versus.machine()}</sub>",
    ]
    return "\n\n".join(part for part in parts if part)


def _cell(outcome: Outcome, contender: str, figure: str) -> str:
    """The median, and the range of the first figures where there is one."""
    values = [turn.figures[figure] for turn in outcome.turns[contender] if figure in turn.figures]
    if not values:
        return ""
    median, low, high = statistics.median(values), min(values), max(values)
    text = _number(median)
    return text if _number(low) == _number(high) else f"{text} ({_number(low)}-{_number(high)})"


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.4f}"


def with_earlier(outcome: Outcome) -> Outcome:
    """Also with the turns of contenders that were not played this time, from the file of an earlier time."""
    path = RESULTS / f"{outcome.name}.json"
    if not path.exists():
        return outcome
    earlier = json.loads(path.read_text("utf-8"))
    told = {name: _turns(turns, earlier["timelines"][name]) for name, turns in earlier["turns"].items()}
    return replace(outcome, turns={**told, **outcome.turns})


def _turns(told: list[dict[str, Any]], timeline: list[list[float]]) -> list[Turn]:
    """One contender's turns out of a file. The first of them gets the timeline."""
    turns = [Turn({key: each[key] for key in each if key != "failures"}, each["failures"]) for each in told]
    rows = [(row[0], row[1], row[2], row[3], row[4]) for row in timeline]
    return [replace(turns[0], timeline=rows), *turns[1:]]


def write(outcome: Outcome) -> None:
    """All files. Raises `ValueError` when the page has no marks for the scenario."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{outcome.name}.json").write_text(_compact(json.dumps(as_json(outcome), indent=1)) + "\n")
    if _has_timeline(outcome):
        from simulations.labs.plot import plot

        PLOTS.mkdir(exist_ok=True)
        plot(outcome, PLOTS / f"lab-{outcome.name}.png")
    PAGE.write_text(replaced(PAGE.read_text("utf-8"), "lab", outcome.name, section(outcome)), "utf-8")


def _compact(text: str) -> str:
    """With lists of numbers on one line each."""
    return re.sub(r"\[[^\[\]{}]*\]", lambda match: re.sub(r"\s+", " ", match[0]), text)


def as_json(outcome: Outcome) -> dict[str, object]:
    """All turns, and one timeline for each contender."""
    turns = {
        name: [{**turn.figures, "failures": turn.failures} for turn in turns] for name, turns in outcome.turns.items()
    }
    return {
        "scenario": outcome.name,
        "title": outcome.scenario.title,
        "bytes": outcome.size,
        "verdicts": outcome.verdicts(),
        "turns": turns,
        "timelines": {name: outcome.representative(name) for name in outcome.turns},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": versus.machine(),
        "versions": {**versus.versions(), **_versions()},
    }


def _versions() -> dict[str, str]:
    """Of what runs beside Forge, and how the kernel's TCP avoids congestion."""
    nginx = shutil.which("nginx")
    told = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=False).stderr if nginx else "absent"
    try:
        libtorrent = version("libtorrent")
    except PackageNotFoundError:
        libtorrent = "absent"
    return {
        "nginx": told.strip(),
        "libtorrent": libtorrent,
        "tcp": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text("utf-8").strip(),
    }


def _has_timeline(outcome: Outcome) -> bool:
    return any(turn.timeline for turns in outcome.turns.values() for turn in turns)
