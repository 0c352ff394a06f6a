"""Figures to files: every outcome as JSON in results/, a picture in docs/plots/, a table in docs/swarm.md."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from simulations.pages import replaced, table
from simulations.swarm.play import Outcome
from simulations.swarm.scenarios import SCENARIOS, Bars

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs" / "swarm.md"
PLOT = ROOT / "docs" / "plots" / "swarm.png"


def write(name: str, outcomes: Sequence[Outcome]) -> Path:
    """Replaces what was known of a scenario."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    bars = SCENARIOS[name][1] if name in SCENARIOS else None
    told = {
        "scenario": name,
        "verdicts": bars.verdicts(outcomes) if bars else [],
        "outcomes": [outcome.figures() for outcome in outcomes],
    }
    path.write_text(json.dumps(told, indent=1) + "\n")
    return path


def write_page() -> None:
    """Rewrites the table of the document from all that is known."""
    head = ["", "agents", "plays", "last agent ÷ bound", "at most", "origin, copies", "at most", "sent twice", "wrong"]
    rows = [_row(name, bars, _outcomes(name)) for name, (_, bars) in SCENARIOS.items() if _outcomes(name)]
    PAGE.write_text(replaced(PAGE.read_text("utf-8"), "swarm", "plays", table([head, *rows])), "utf-8")


def _row(name: str, bars: Bars, outcomes: Sequence[dict[str, Any]]) -> list[str]:
    def spread(key: str, form: str) -> str:
        values = sorted(outcome[key] for outcome in outcomes)
        middle = f"{median(values):{form}}"
        return middle if len(values) == 1 else f"{middle} ({values[0]:{form}}-{values[-1]:{form}})"

    return [
        name,
        str(outcomes[0]["agents"]),
        str(len(outcomes)),
        spread("ratio", ".2f"),
        f"{bars.ratio:g}",
        spread("copies", ".2f"),
        f"{bars.copies:g}",
        spread("duplicates", ".2%"),
        spread("corrupt", ".2%"),
    ]


def _outcomes(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.json"
    return list(json.loads(path.read_text())["outcomes"]) if path.exists() else []


def plot() -> Path:
    """When agents were done, in every scenario there are results of, in units of its bound."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.use("Agg")
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for name in SCENARIOS:
        for first in _outcomes(name)[:1]:
            ends = [end / first["bound"] for end in first["ends"]]
            shares = [(at + 1) / len(ends) for at in range(len(ends))]
            axes.step([0, *ends], [0, *shares], where="post", label=f"{name} ({first['copies']:.2f} copies)")
    axes.set_xlabel("time, in units of the bandwidth bound")
    axes.set_ylabel("share of the agents that are done")
    axes.set_xlim(0.9, 1.6)
    axes.legend(fontsize=8)
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, dpi=100, metadata={"Software": None})
    return PLOT
