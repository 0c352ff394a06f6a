"""What is played, and what has to come of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from simulations.swarm.machine import LAB_COSTS, Costs
from simulations.swarm.play import MBIT, MIB, Outcome, Scenario


@dataclass(frozen=True, slots=True)
class Bars:
    """The most that may be needed: of the bound, and of copies from the origin. Medians over the seeds played."""

    ratio: float
    copies: float

    def verdicts(self, outcomes: Sequence[Outcome]) -> list[str]:
        """One line a bar."""
        told = []
        for what, most, found in (
            ("time over the bound", self.ratio, median(outcome.ratio for outcome in outcomes)),
            ("copies", self.copies, median(outcome.copies for outcome in outcomes)),
        ):
            told.append(f"{'reached' if found <= most else 'MISSED'}: {what} at most {most}: {found:.3f}")
        return told


LAB = Scenario("lab", agents=8, size=200_000_000)
"""Eight machines on a gigabit switch, a narrow uplink to what all of them want."""

CROWD = Scenario(
    "crowd",
    agents=1000,
    size=1_000_000_000,
    piece=1 * MIB,
    origin_up=1000 * MBIT,
    delay=0.005,
    window=64 * MIB,
)
"""A thousand at once; every link 1 Gbit/s. Pieces of 1 MiB stand for sixteen chunks each, and the window is wider for
that: the product's is 16 such pieces."""

NARROW = replace(
    LAB,
    name="fifty-narrow",
    agents=50,
    size=10_000_000,
    origin_connections=50,
    origin_up=5 * MBIT,
    agent_up=100 * MBIT,
    agent_down=100 * MBIT,
)
"""The cables of the lab's `fifty`."""

SHARED = replace(NARROW, name="fifty-shared", processors=2)
"""That lab, where all agents have two processors between them."""

BUSY = replace(SHARED, name="fifty-busy", costs=Costs(message=1.25 * LAB_COSTS.message, byte=1.25 * LAB_COSTS.byte))
"""The same with processors too slow for it."""

SCENARIOS: Mapping[str, tuple[Scenario, Bars]] = {
    "crowd": (CROWD, Bars(1.3, 1.5)),
    "lab": (LAB, Bars(1.25, 1.2)),
    "lab-two-killed": (replace(LAB, name="lab-two-killed", killed=2), Bars(1.25, 1.2)),
    "lab-origin-dies": (replace(LAB, name="lab-origin-dies", origin_dies=True), Bars(1.25, 1.2)),
    "lab-liar": (replace(LAB, name="lab-liar", liars=1), Bars(1.25, 1.2)),
    "lab-silent": (replace(LAB, name="lab-silent", silent=1), Bars(1.25, 1.2)),
    "lab-slow": (replace(LAB, name="lab-slow", slow=2), Bars(1.5, 1.5)),
    "fifty": (replace(LAB, name="fifty", agents=50, origin_connections=50), Bars(1.25, 1.2)),
    "fifty-narrow": (NARROW, Bars(1.25, 1.2)),
    "fifty-shared": (SHARED, Bars(1.6, 1.2)),
    "fifty-busy": (BUSY, Bars(1.9, 1.2)),
    "fifty-bad-day": (
        replace(LAB, name="fifty-bad-day", agents=50, origin_connections=50, killed=10, liars=2, silent=2, slow=4),
        Bars(1.6, 1.6),
    ),
}
