"""Figures of a run."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from simulations.dht.population import Plan, Trial

BIN: Final = 2
"""Minutes in which lookups are counted together."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: what was asked for, and what came of it. Seconds and counts."""

    name: str
    title: str
    seed: int
    plan: dict[str, float]
    figures: dict[str, float]
    bars: dict[str, bool]
    """What it had to reach, and whether it did."""
    seconds: list[float] = field(default_factory=list)
    """Until a live provider was named: percentiles 0 to 100."""
    queries: list[float] = field(default_factory=list)
    """Queries a lookup: percentiles 0 to 100."""
    minutes: list[tuple[float, float]] = field(default_factory=list)
    """(minute, share of the lookups begun in it and the next that found a live provider)."""
    events: dict[str, float] = field(default_factory=dict)
    """Minutes at which something happened."""
    trace: str = ""
    cpu: float = 0.0
    """Seconds of processor time that the run took."""


def figures(trials: Sequence[Trial], node_hours: float, queries: int) -> dict[str, float]:
    """Of a set of lookups, and of the traffic meanwhile."""
    good = [trial for trial in trials if trial.found >= 0]
    took = [trial.found - trial.began for trial in good]
    return {
        "lookups": len(trials),
        "success": len(good) / max(1, len(trials)),
        "median hops": statistics.median(trial.hops for trial in good),
        "queries a lookup": statistics.mean(trial.queries for trial in good),
        "median seconds": statistics.median(took),
        "mean seconds": statistics.mean(took),
        "p99 seconds": percentiles(took)[99],
        "queries a node and hour": queries / node_hours,
    }


def ended(trials: Sequence[Trial]) -> list[Trial]:
    """Those that count: over, by somebody who was there to the end."""
    return [trial for trial in trials if trial.ended >= 0]


def percentiles(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [round(ordered[min(len(ordered) - 1, len(ordered) * at // 100)], 4) for at in range(101)] if ordered else []


def by_minute(trials: Sequence[Trial], start: float) -> list[tuple[float, float]]:
    bins: dict[int, list[bool]] = {}
    for trial in trials:
        bins.setdefault(int((trial.began - start) // (60 * BIN)) * BIN, []).append(trial.found >= 0)
    return [(float(minute), round(statistics.mean(found), 4)) for minute, found in sorted(bins.items())]


def recovered_after(minutes: Sequence[tuple[float, float]], event: float, share: float = 0.99) -> float:
    """Minutes from an event to the end of the last bin in which fewer than `share` of the lookups succeeded."""
    late = [minute for minute, success in minutes if minute + BIN > event and success < share]
    return max(late) + BIN - event if late else 0.0


def hops_bar(nodes: int) -> float:
    return math.log2(nodes) / 2


def plan_of(plan: Plan) -> dict[str, float]:
    return asdict(plan)
