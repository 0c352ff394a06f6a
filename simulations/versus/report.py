"""Figures to files: every turn as JSON, medians and spreads as sections of docs/measurements.md."""

import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from simulations.pages import replaced, table
from simulations.versus.bench import Case, Medians, Trial, Turn
from simulations.versus.inputs import MB

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "measurements.md"
PROGRAMS = {
    "rsync": "--version",
    "git": "--version",
    "restic": "version",
    "casync": "--version",
    "zsync": "-V",
    "syncthing": "--version",
}
"""Peers, and how each is asked for its version."""

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case's turns, ready to be written."""

    case: Case
    trial: Trial
    turns: Mapping[str, Sequence[Turn]]

    @property
    def medians(self) -> Medians:
        seconds = {name: statistics.median(turn.seconds for turn in turns) for name, turns in self.turns.items()}
        figures = {
            name: {key: statistics.median(turn.figures[key] for turn in turns) for key in turns[0].figures}
            for name, turns in self.turns.items()
        }
        return Medians(seconds, figures)

    def verdicts(self) -> list[str]:
        """One line for each bar."""
        medians = self.medians
        return [f"{'reached' if bar.reached(medians) else 'MISSED'}: {bar.text}" for bar in self.trial.bars]


def section(outcome: Outcome, machine: str) -> str:
    """The markdown between a case's marks."""
    medians = outcome.medians
    keys = list(dict.fromkeys(key for figures in medians.figures.values() for key in figures))
    head = ["", "median s", "min-max s", "ratio", *(["MB/s"] if outcome.trial.size else []), *keys]
    rows = [head, *(_row(outcome, name, keys) for name in outcome.turns)]
    rounds = len(next(iter(outcome.turns.values())))
    parts = [
        f"### {outcome.case.title}",
        table(rows),
        *([outcome.trial.note] if outcome.trial.note else []),
        "\n".join(f"- {line}" for line in outcome.verdicts()),
        f"<sub>{rounds} rounds, {datetime.now(UTC):%Y-%m-%d}, {machine}</sub>",
    ]
    return "\n\n".join(part for part in parts if part)


def _row(outcome: Outcome, name: str, keys: Sequence[str]) -> list[str]:
    medians, seconds = outcome.medians, [turn.seconds for turn in outcome.turns[name]]
    ours = medians.seconds[next(iter(outcome.turns))]
    cells = [
        name,
        f"{medians.seconds[name]:.3f}",
        f"{min(seconds):.3f}-{max(seconds):.3f}",
        f"{medians.seconds[name] / ours:.2f}",
    ]
    if outcome.trial.size:
        cells.append(f"{outcome.trial.size / medians.seconds[name] / MB:.0f}")
    return cells + [_number(medians.figures[name].get(key)) for key in keys]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def write(outcome: Outcome) -> None:
    """Both files. Raises `ValueError` when the page has no marks for the case."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{outcome.case.name}.json").write_text(json.dumps(as_json(outcome), indent=1) + "\n")
    page = PAGE.read_text("utf-8")
    PAGE.write_text(replaced(page, "versus", outcome.case.name, section(outcome, machine())), "utf-8")


def as_json(outcome: Outcome) -> dict[str, object]:
    """All turns, for whoever wants to compute anew."""
    turns = {
        name: [{"seconds": turn.seconds, **turn.figures} for turn in turns] for name, turns in outcome.turns.items()
    }
    return {
        "case": outcome.case.name,
        "title": outcome.case.title,
        "bytes": outcome.trial.size,
        "bars": {bar.text: bar.reached(outcome.medians) for bar in outcome.trial.bars},
        "turns": turns,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
    }


def machine() -> str:
    """Processor, cores, memory and kernel in one line."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{cpu[1] if cpu else platform.machine()}, {cores} cores, {memory:.0f} GiB, Linux {platform.release()}"


def versions() -> dict[str, str]:
    """Everything whose speed is measured here."""
    found = {"python": platform.python_version(), "forge": _commit()}
    for name in ("blake3", "lmdb", "lz4", "msgspec", "pyfastcdc", "qh3", "trio", "zstandard"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    for name, word in PROGRAMS.items():
        try:
            told = subprocess.run([name, word], capture_output=True, text=True, check=False).stdout
        except FileNotFoundError:
            told = "absent"
        found[name] = told.partition("\n")[0].strip()
    return found


def _commit() -> str:
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
