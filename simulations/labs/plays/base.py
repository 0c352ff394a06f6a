"""What is played in a lab, and by whom."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from simulations.labs.plays.outcome import Turn
from simulations.labs.scenario import Scenario
from simulations.labs.systems.base import System


@dataclass(frozen=True, slots=True)
class Contender:
    """A system, on the scenario's cables or on the same cables without loss and reordering."""

    system: System
    clean: bool = False

    @property
    def name(self) -> str:
        return f"{self.system.name}, no loss" if self.clean else self.system.name


@dataclass(frozen=True, slots=True)
class Occasion:
    """What one turn is played with. `folder` is empty and the turn's own; `content` is the file to spread."""

    scenario: Scenario
    contender: Contender
    content: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Play:
    """`columns` name the figures to show, with their heads."""

    turn: Callable[[Occasion], Turn]
    columns: dict[str, str]
