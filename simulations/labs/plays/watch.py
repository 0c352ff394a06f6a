"""Watches agents fetch, and lets a scenario's events happen."""

import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from signal import SIGCONT, SIGKILL, SIGSTOP

from simulations.labs.plays.outcome import Row
from simulations.labs.programs import Program
from simulations.labs.scenario import Event, When
from simulations.labs.systems.base import Stage, System
from simulations.labs.topology import Lab, Traffic

TICK = 0.1
"""Seconds between two looks at the cables: each costs 10 ms of a processor."""

DONE = "done"

NEARLY = 0.01
"""Copies that may come after an agent has received its content: nodes go on talking."""


@dataclass(slots=True)
class Watch:
    """The state of one turn."""

    stage: Stage
    system: System
    fetchers: Mapping[str, Program]
    flooder: Program | None
    size: int
    before: Traffic
    received_before: Mapping[str, int]
    begun: float = 0.0
    done: dict[str, float] = field(default_factory=dict)
    """Seconds that an agent took, from when all were told to start, or from its own start if that was later."""
    failures: dict[str, str] = field(default_factory=dict)
    timeline: list[Row] = field(default_factory=list)
    killed: set[str] = field(default_factory=set)
    started: dict[str, float] = field(default_factory=dict)
    _received: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    """At each look, copies received by agent."""
    _events: list[Event] = field(default_factory=list)
    _last_event: float = 0.0

    def run(self, patience: float) -> None:
        """Until every agent is done, dead or has failed, and every event has happened, or patience is at its end."""
        self._events = list(self.stage.scenario.events)
        self.begun = self._last_event = time.monotonic()
        for name in self.fetchers.keys() - self.stage.scenario.late():
            self._start(name)
        while self._waiting() or self._events:
            self._listen()
            self._look()
            if time.monotonic() - self.begun > patience:
                self.failures |= dict.fromkeys(self._waiting(), f"not done after {patience:.0f} s")
                return

    def received(self) -> float:
        """Seconds until the last of those that are done had received what it was to: the rest is its own work."""
        return max((self._received_by(name) - self.started[name] for name in self.done), default=0.0)

    def _received_by(self, name: str) -> float:
        whole = self._received[-1][1][name]
        return next(when for when, by_name in self._received if by_name[name] >= whole - NEARLY)

    @property
    def lab(self) -> Lab:
        return self.stage.lab

    def _now(self) -> float:
        return time.monotonic() - self.begun

    def _start(self, name: str) -> None:
        self.started[name] = self._now()
        self.fetchers[name].tell()

    def _waiting(self) -> list[str]:
        """Agents that may still get done."""
        ended = self.done.keys() | self.failures.keys() | self.killed
        return [name for name in self.fetchers if name not in ended]

    def _listen(self) -> None:
        end = time.monotonic() + TICK
        while (wait := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self.fetchers[name] for name in self._waiting()], [], [], wait)
            for name in self._waiting():
                if self.fetchers[name] in ready:
                    self._hear(name)

    def _hear(self, name: str) -> None:
        words = self.fetchers[name].lines()
        if DONE in words:
            self.done[name] = self._now() - self.started[name]
        elif not words:
            self.failures[name] = self.lab.hosts[name].errors()

    def _look(self) -> None:
        sent = (self.lab.traffic("origin").sent - self.before.sent) / self.size
        all_received = self.lab.received()
        by_name = {name: (all_received[name] - self.received_before[name]) / self.size for name in self.fetchers}
        received = by_name.values()
        mean = sum(received) / len(received)
        self.timeline.append((self._now(), sent, min(received), mean, max(received)))
        self._received.append((self.timeline[-1][0], by_name))
        while self._events and self._is_time(self._events[0].when, sent, mean):
            self._happen(self._events.pop(0))

    def _is_time(self, when: When, sent: float, received: float) -> bool:
        now = self._now()
        met = [
            (when.at, now),
            (when.after, now - self._last_event),
            (when.origin_sent, sent),
            (when.received, received),
            (when.done, len(self.done)),
        ]
        return any(wanted is not None and value >= wanted for wanted, value in met)

    def _happen(self, event: Event) -> None:
        hosts = self.lab.hosts
        self.killed.update(event.kill)
        one_by_one: list[tuple[Sequence[str], Callable[[str], object]]] = [
            (event.kill, lambda name: hosts[name].send_signal(SIGKILL)),
            (event.suspend, lambda name: hosts[name].send_signal(SIGSTOP)),
            (event.wake, lambda name: hosts[name].send_signal(SIGCONT)),
            (event.unplug, self.lab.unplug),
            (event.plug, self.lab.plug),
            (event.move, self.lab.move),
            (event.restart, lambda name: self.system.restart(self.stage, hosts[name])),
            (event.start, self._start),
            (event.flood, self._flood),
        ]
        if event.part:
            self.lab.partition(event.part)
        if event.heal:
            self.lab.heal()
        for names, happen in one_by_one:
            for name in names:
                happen(name)
        self._last_event = self._now()

    def _flood(self, name: str) -> None:
        assert self.flooder is not None
        self.flooder.tell(f"{self.lab.hosts[name].address} {self.stage.scenario.flood_port}")
