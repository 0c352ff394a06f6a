"""Figures to a terminal, to files, and into docs/dht.md."""

import platform
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from simulations.dht.outcome import Outcome
from simulations.pages import replaced, table

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "dht.md"
PLOTS: Final = ROOT / "docs" / "plots"
WHOSE: Final = {"steady": "Forge", "baseline": "kademlia 2.2.3"}
"""Who ran an ordinary hour."""
RESULTS: Final = Path(__file__).parent / "results"


def text(outcome: Outcome) -> str:
    """For a terminal."""
    lines = [f"{outcome.name}: {outcome.title} (seed {outcome.seed}, trace {outcome.trace}, {outcome.cpu:.0f} s)"]
    lines += [f"  {name:32} {_number(value)}" for name, value in outcome.figures.items()]
    lines += [f"  {'reached' if reached else 'MISSED'}: {bar}" for bar, reached in outcome.bars.items()]
    return "\n".join(lines)


def save(outcome: Outcome, *, usual: bool) -> None:
    """`usual`: of the usual number of nodes. Others have it in their names."""
    if not usual:
        outcome = replace(outcome, name=f"{outcome.name}-{outcome.plan['nodes']:.0f}")
    RESULTS.mkdir(exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(outcome), indent=0)
    (RESULTS / f"{outcome.name}.json").write_bytes(encoded + b"\n")


def load_all() -> dict[str, Outcome]:
    """The outcomes of earlier runs."""
    found = [msgspec.json.decode(path.read_bytes(), type=Outcome) for path in sorted(RESULTS.glob("*.json"))]
    return {outcome.name: outcome for outcome in found}


def write_page(outcomes: Mapping[str, Outcome]) -> None:
    """Rewrites the figures in the document; plots are `plots`'."""
    page = PAGE.read_text("utf-8")
    for name, section in (("hour", _hour_table(outcomes)), ("days", _day_table(outcomes))):
        page = replaced(page, "dht", name, section)
    PAGE.write_text(page, "utf-8")


def of_hours(outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """The ordinary hours, ours and the package's, by the heads of their columns."""
    hours = [one for name, one in outcomes.items() if name.partition("-")[0] in WHOSE]
    hours.sort(key=lambda one: (-one.plan["nodes"], one.name))
    return {f"{WHOSE[one.name.partition('-')[0]]}, {one.plan['nodes']:,.0f} nodes": one for one in reversed(hours)}


def _hour_table(outcomes: Mapping[str, Outcome]) -> str:
    columns = of_hours(outcomes)
    ours = outcomes["steady"]
    rows = [[name, *(_number(one.figures[name]) for one in columns.values())] for name in ours.figures]
    rows.append(["seconds of processor time for the run", *(_number(one.cpu) for one in columns.values())])
    return f"{table([['', *columns], *rows])}\n\n{_note(ours)}"


def _day_table(outcomes: Mapping[str, Outcome]) -> str:
    rows = [["", "nodes", "lookups", "success", "queries a lookup", "median s", "p99 s", "recovery, minutes"]]
    rows += [_day(outcome) for outcome in outcomes.values() if outcome.name.partition("-")[0] not in WHOSE]
    return table(rows)


def _day(outcome: Outcome) -> list[str]:
    figures = outcome.figures
    recovery = [f"{_number(value)} ({name.rpartition(' ')[2]})" for name, value in figures.items() if "minutes" in name]
    keys = ("lookups", "success", "queries a lookup", "median seconds", "p99 seconds")
    return [
        outcome.title,
        _number(outcome.plan["nodes"]),
        *(_number(figures[key]) for key in keys),
        ", ".join(recovery),
    ]


def _note(outcome: Outcome) -> str:
    plan = outcome.plan
    return (
        f"<sub>{plan['nodes']:g} nodes, {plan['hours']:g} h, {100 * plan['churn']:g} % replaced an hour, "
        f"seed {outcome.seed}, trace {outcome.trace}, {datetime.now(UTC):%Y-%m-%d}, "
        f"CPython {platform.python_version()}</sub>"
    )


def _number(value: float) -> str:
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:.4f}" if 0.9 < value < 1 else f"{value:.2f}"
