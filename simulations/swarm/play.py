"""One run: who is there and what befalls them, how it ends, and what has to be true of it."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from time import process_time

from forge_p2p.content.link import hash_bytes
from forge_p2p.proto.swarm import Item, SwarmLimits
from simulations.swarm.clock import Clock
from simulations.swarm.machine import LAB_COSTS, Costs, Processors
from simulations.swarm.node import Line, Node

MBIT = 125_000.0
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scenario:
    """Rates in bytes a second, sizes in bytes, times in seconds; `spread`: within which agents start. `killed` and
    `liars` and `silent` and `slow` are numbers of agents; `origin_dies`: as soon as one copy of everything is out."""

    name: str
    agents: int
    size: int
    piece: int = 64 * 1024
    origin_up: float = 100 * MBIT
    agent_up: float = 1000 * MBIT
    agent_down: float = 1000 * MBIT
    delay: float = 0.0005
    connections: int = 10
    origin_connections: int = 16
    spread: float = 0.2
    killed: int = 0
    liars: int = 0
    silent: int = 0
    slow: int = 0
    slow_up: float = 1 * MBIT
    origin_dies: bool = False
    window: int = 16 * MIB
    patience: float = 600.0
    processors: int = 0
    """Of one machine that all nodes share, as in the lab; 0: each has its own, and as many as it needs."""
    costs: Costs = LAB_COSTS


@dataclass(frozen=True, slots=True)
class Outcome:
    """`bound`: seconds below which no schedule of these links can come; `copies`: of the content that the origin sent;
    `ratio`: time until the last honest agent was done over the bound."""

    scenario: str
    seed: int
    agents: int
    finished: int
    expected: int
    seconds: float
    bound: float
    ratio: float
    median: float
    copies: float
    duplicates: float
    corrupt: float
    events: int
    processor_seconds: float
    chunk_microseconds: float
    ends: list[float] = field(repr=False)
    trace: str = ""

    def figures(self) -> dict[str, object]:
        """For JSON."""
        told = asdict(self)
        told["ends"] = [round(end, 3) for end in _thinned(self.ends, 101)]
        return told


class Play:
    """A scenario and a seed; `run` once."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.clock = Clock()
        self.seed = seed
        self._chance = random.Random(seed)
        self.items = _items(scenario)
        limits = _limits(scenario)
        far = Line(scenario.origin_up, scenario.origin_up)
        near = Line(scenario.agent_up, scenario.agent_down)
        self.machine = Processors(self.clock, scenario.processors, scenario.costs) if scenario.processors else None
        self.origin = Node(0, self.clock, far, scenario.delay, limits, seed, self.machine)
        self.origin.hold(self.items, origin=True)
        self.agents = [
            Node(number + 1, self.clock, near, scenario.delay, limits, seed * 100_003 + number, self.machine)
            for number in range(scenario.agents)
        ]
        self._left = 0
        self._misfortunes()
        self._connect()

    def run(self) -> Outcome:
        """Plays to the end and checks the invariants. Raises `AssertionError`."""
        began = process_time()
        self.clock.run(self.scenario.patience, lambda: not self._left)
        outcome = self._outcome(process_time() - began)
        self._check(outcome)
        return outcome

    def _misfortunes(self) -> None:
        scenario, clock = self.scenario, self.clock
        chosen = self._chance.sample(self.agents, scenario.killed + scenario.liars + scenario.silent + scenario.slow)
        one_copy = scenario.size / scenario.origin_up
        for agent in _take(chosen, scenario.killed):
            clock.at(one_copy * self._chance.uniform(0.3, 0.7), agent.kill)
            agent.doomed = True
        for agent in _take(chosen, scenario.liars):
            agent.honest = False
        for agent in _take(chosen, scenario.silent):
            agent.answers = False
        for agent in _take(chosen, scenario.slow):
            agent.line = Line(scenario.slow_up, scenario.agent_down)
        if scenario.origin_dies:
            clock.after(0.1, self._kill_origin)

    def _kill_origin(self) -> None:
        if self.origin.answering.sent_once == len(self.items):
            self.clock.after(0.5, self.origin.kill)
        else:
            self.clock.after(0.1, self._kill_origin)

    def _connect(self) -> None:
        scenario, chance = self.scenario, self._chance
        starts = {agent: chance.random() * scenario.spread for agent in self.agents}
        for agent, start in starts.items():
            agent.on_finished = self._finished
            self.clock.at(start, self._start, agent)
        self._left = sum(1 for agent in self.agents if not agent.doomed)
        for one, other in _regular_graph(self.agents, scenario.connections, chance):
            when = max(starts[one], starts[other]) + 4 * scenario.delay
            self.clock.at(when, one.connect, other)
            self.clock.at(when, other.connect, one)
        direct = chance.sample(self.agents, min(scenario.origin_connections, len(self.agents)))
        for agent in direct:
            self.clock.at(starts[agent] + 2 * scenario.delay, agent.connect, self.origin)

    def _start(self, agent: Node) -> None:
        agent.want(self.items)

    def _finished(self, agent: Node) -> None:
        if not agent.doomed:
            self._left -= 1

    def _outcome(self, processor_seconds: float) -> Outcome:
        scenario = self.scenario
        ends = sorted(agent.finished_at for agent in self.agents if agent.finished_at is not None and not agent.doomed)
        received = sum(agent.counts.received for agent in self.agents)
        bound = self._bound()
        last = ends[-1] if ends else 0.0
        return Outcome(
            scenario=scenario.name,
            seed=self.seed,
            agents=scenario.agents,
            finished=len(ends),
            expected=sum(1 for agent in self.agents if not agent.doomed),
            seconds=round(last, 3),
            bound=round(bound, 3),
            ratio=round(last / bound, 4),
            median=round(ends[len(ends) // 2], 3) if ends else 0.0,
            copies=round(self.origin.counts.sent / scenario.size, 4),
            duplicates=round(sum(agent.counts.duplicates for agent in self.agents) / max(received, 1), 5),
            corrupt=round(sum(agent.counts.corrupt for agent in self.agents) / max(received, 1), 5),
            events=self.clock.events,
            processor_seconds=round(processor_seconds, 2),
            chunk_microseconds=round(processor_seconds * 1e6 * scenario.piece / max(received, 1), 1),
            ends=ends,
            trace=hash_bytes(repr((self.clock.events, ends, self.origin.counts.sent)).encode()).hex()[:16],
        )

    def _bound(self) -> float:
        """Content has to leave the origin, come in everywhere, and be sent by all together as often as it comes in."""
        scenario = self.scenario
        slow = scenario.slow + scenario.silent + scenario.liars
        uplinks = scenario.origin_up + (scenario.agents - slow - scenario.killed) * scenario.agent_up
        together = scenario.agents * scenario.size / uplinks
        return max(scenario.size / scenario.origin_up, scenario.size / scenario.agent_down, together)

    def _check(self, outcome: Outcome) -> None:
        where = f"{self.scenario.name}, seed {self.seed}"
        assert outcome.finished == outcome.expected, f"{where}: only {outcome.finished} of {outcome.expected} finished"
        wanted = {item.hash for item in self.items}
        for agent in self.agents:
            if agent.complete:
                assert agent.have == wanted, f"{where}: agent {agent.name} has not what it says"
        assert outcome.ratio >= 0.999, f"{where}: faster than possible"


def _items(scenario: Scenario) -> list[Item]:
    count = -(-scenario.size // scenario.piece)
    sizes = [scenario.piece] * (count - 1) + [scenario.size - scenario.piece * (count - 1)]
    return [Item(hash_bytes(number.to_bytes(8, "big")), size) for number, size in enumerate(sizes)]


def _limits(scenario: Scenario) -> SwarmLimits:
    """Those of the product; where pieces stand for many chunks, what is counted in chunks is as much larger."""
    usual = SwarmLimits()
    return SwarmLimits(
        window=scenario.window,
        pipeline_first=max(usual.pipeline_first, 2 * scenario.piece),
        pipeline_least=max(usual.pipeline_least, scenario.piece),
    )


def _regular_graph(agents: Sequence[Node], degree: int, chance: random.Random) -> list[tuple[Node, Node]]:
    """A random graph in which each has about `degree` neighbours, none more: shuffled cycles laid upon each other."""
    if len(agents) <= degree + 1:
        return [(one, other) for at, one in enumerate(agents) for other in agents[:at]]
    edges: dict[frozenset[Node], tuple[Node, Node]] = {}
    for _ in range(degree // 2):
        circle = list(agents)
        chance.shuffle(circle)
        for one, other in zip(circle, [*circle[1:], circle[0]], strict=True):
            edges.setdefault(frozenset((one, other)), (one, other))
    return list(edges.values())


def _take(chosen: list[Node], count: int) -> list[Node]:
    taken, chosen[:] = chosen[:count], chosen[count:]
    return taken


def _thinned(values: Sequence[float], count: int) -> list[float]:
    if len(values) <= count:
        return list(values)
    return [values[round(at * (len(values) - 1) / (count - 1))] for at in range(count)]
