"""What the lab asks of a system under test."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from simulations.labs.programs import Program
from simulations.labs.scenario import Scenario
from simulations.labs.topology import Host, Lab


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a system performs: the hosts, and the file that is to get from the origin to all agents."""

    lab: Lab
    scenario: Scenario
    content: Path

    @property
    def origin(self) -> Host:
        return self.lab.hosts["origin"]

    @property
    def agents(self) -> dict[str, Host]:
        return {name: self.lab.hosts[name] for name in self.scenario.names()}


class System(Protocol):
    """One way to get content to many. Stateless: what belongs to a run is in the stage's folders."""

    @property
    def name(self) -> str: ...

    def open(self, stage: Stage) -> AbstractContextManager[Mapping[str, Program]]:
        """Brings everything up, the content taken in at the origin. Gives a program for each agent, which begins to
        fetch when it is told a line, and says "done" when the content is there; one that ends without a word has
        failed. Everything on hosts is stopped by the lab, not here."""
        ...

    def copy(self, host: Host) -> Path:
        """Where an agent's copy of the content is."""
        ...

    def restart(self, stage: Stage, host: Host) -> None:
        """Kills the agent's node and starts it anew. Raises `LabError` where a system has no such thing."""
        ...
