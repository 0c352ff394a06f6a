"""Figures to files: every outcome as JSON in results/, a picture in docs/plots/."""

import json
from collections.abc import Sequence
from pathlib import Path

from simulations.swarm.play import Outcome
from simulations.swarm.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
PLOT = ROOT / "docs" / "plots" / "swarm.png"


def write(name: str, outcomes: Sequence[Outcome]) -> Path:
    """Replaces what was known of a scenario."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    bars = SCENARIOS[name][1] if name in SCENARIOS else None
    told = {
        "scenario": name,
        "verdicts": [line for outcome in outcomes for line in (bars.verdicts(outcome) if bars else [])],
        "outcomes": [outcome.figures() for outcome in outcomes],
    }
    path.write_text(json.dumps(told, indent=1) + "\n")
    return path


def plot() -> Path:
    """When agents were done, in every scenario there are results of, in units of its bound."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.use("Agg")
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for name in SCENARIOS:
        path = RESULTS / f"{name}.json"
        if path.exists():
            first = json.loads(path.read_text())["outcomes"][0]
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
