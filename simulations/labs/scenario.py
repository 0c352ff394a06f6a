"""Scenarios: short TOML files that say who is there, what goes wrong when, and what must hold. `docs/labs.md` has the
vocabulary; this is its grammar. A word that is not in it is an error."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from simulations.labs.tools import LabError
from simulations.labs.topology import Cable

FOLDER = Path(__file__).parent / "scenarios"

STRANGER = "stranger"
"""The host that floods others, where a scenario has floods."""

UNITS = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "kB": 10**3, "MB": 10**6, "GB": 10**9}


class Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cable as a scenario describes it: rates as text, delay in milliseconds, loss and reordering as shares."""

    up: str = "1gbit"
    down: str = "1gbit"
    delay: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0

    def cable(self, *, clean: bool = False) -> Cable:
        """`clean`: without loss and reordering."""
        loss, reorder = (0.0, 0.0) if clean else (self.loss, self.reorder)
        return Cable(number(self.up), number(self.down), self.delay / 1000, loss, reorder)


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conditions, of which the first to be met counts: seconds since all were told to start, seconds since the event
    before, copies that the origin has sent, share of the content that the agents have received (mean), agents done."""

    at: float | None = None
    after: float | None = None
    origin_sent: float | None = None
    received: float | None = None
    done: int | None = None


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens, in the order of these fields. Each takes names of hosts, `heal` excepted."""

    when: When
    kill: tuple[str, ...] = ()
    """SIGKILL to all that runs there. Nobody waits for these agents."""
    suspend: tuple[str, ...] = ()
    wake: tuple[str, ...] = ()
    """SIGSTOP and SIGCONT to all that runs there, as a laptop's lid does."""
    unplug: tuple[str, ...] = ()
    plug: tuple[str, ...] = ()
    move: tuple[str, ...] = ()
    """To another cable and another address."""
    part: tuple[str, ...] = ()
    """These from all others."""
    heal: bool = False
    restart: tuple[str, ...] = ()
    """SIGKILL to the node, and the node started anew."""
    start: tuple[str, ...] = ()
    """These agents begin to fetch only now."""
    flood: tuple[str, ...] = ()
    """A stranger begins handshakes with these and finishes none."""


class Bars(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Forge has to reach. Zero: no bar. That all agents that were not killed finish with the right bytes holds in
    any case."""

    last: float = 0.0
    """Time until the last agent is done ÷ time for one copy over the origin's uplink, at most."""
    copies: float = 0.0
    """Bytes that the origin sends ÷ size of the content, at most."""
    goodput: float = 0.0
    """Time without loss ÷ time with it, at least."""
    amplification: float = 0.0
    """Bytes that a flooding stranger got ÷ bytes that it sent, at most."""
    seconds: float = 0.0
    """The scenario's own figure (connected, first byte), at most."""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file. `size` is that of the content; `quick_size` that of a run that only tries the lab out."""

    title: str
    play: str = "spread"
    systems: tuple[str, ...] = ("forge",)
    size: str = "0MB"
    quick_size: str = "4MB"
    agents: int = 1
    origin: Wire = Wire()
    agent: Wire = Wire()
    liars: tuple[str, ...] = ()
    lan: bool = True
    """Whether nodes look for one another by multicast."""
    events: tuple[Event, ...] = ()
    bars: Bars = Bars()
    rounds: int = 3
    flood_port: int = 4747
    flood_rate: int = 10_000
    flood_seconds: float = 10.0
    """Handshakes a second, and for how long."""
    note: str = ""

    def names(self) -> list[str]:
        """The agents'."""
        return [f"agent{number}" for number in range(1, self.agents + 1)]

    def cables(self, *, clean: bool = False) -> dict[str, Cable]:
        """Of all hosts by name."""
        agent = self.agent.cable(clean=clean)
        strangers = {STRANGER: Wire().cable()} if self.flooded else {}
        return {"origin": self.origin.cable(clean=clean), **dict.fromkeys(self.names(), agent), **strangers}

    @property
    def flooded(self) -> bool:
        """Whether there is a stranger that floods somebody."""
        return any(event.flood for event in self.events)

    def late(self) -> set[str]:
        """Agents that an event starts."""
        return {name for event in self.events for name in event.start}


def number(text: str) -> int:
    """A rate or a size: "100mbit" in bits a second, "200MB" in bytes."""
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    try:
        return int(float(digits) * UNITS[text[len(digits) :]])
    except (KeyError, ValueError):
        raise LabError(f"{text!r} is no rate or size: a number and one of {', '.join(UNITS)}") from None


def load(name: str) -> Scenario:
    """The scenario in `scenarios/NAME.toml`. Raises `LabError` saying what is wrong with it."""
    path = FOLDER / f"{name}.toml"
    try:
        scenario = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Scenario)
    except FileNotFoundError:
        raise LabError(f"there is no scenario {name!r}; there are: {', '.join(names())}") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise LabError(f"{path}: {error}") from error
    known = {"origin", *scenario.names()}
    for named in _named(scenario):
        if named not in known:
            raise LabError(f"{path}: there is no host {named!r}")
    return scenario


def names() -> list[str]:
    """Of all scenarios."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def _named(scenario: Scenario) -> Iterator[str]:
    yield from scenario.liars
    for event in scenario.events:
        yield from (*event.kill, *event.suspend, *event.wake, *event.unplug, *event.plug, *event.move)
        yield from (*event.part, *event.restart, *event.start, *event.flood)
