"""What one turn gave."""

from dataclasses import dataclass, field

Row = tuple[float, float, float, float, float]
"""Seconds, then copies of the content: sent by the origin; received by an agent: least, mean, most."""


@dataclass(frozen=True, slots=True)
class Turn:
    """`figures` are what was measured: their medians are compared and held against the bars. `failures` says what went
    wrong, by host."""

    figures: dict[str, float]
    failures: dict[str, str] = field(default_factory=dict)
    timeline: list[Row] = field(default_factory=list)
