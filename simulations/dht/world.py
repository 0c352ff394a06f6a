"""A network in memory under a virtual clock: delays, losses, slow links and partitions, all from one seed.

Events are taken from a heap in the order of their time, and of their making where times are equal, so that the same
seed gives the same trace. `trace` is a checksum over all deliveries.
"""

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

PROPAGATION: Final = 0.12
"""Seconds one way from one corner of the world to the next."""
BASE_DELAY: Final = 0.003
JITTER: Final = 0.2
BLOCKS: Final = 2500
"""/16 networks of the Internet that nodes are in; a few of them have many (clouds, universities)."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the network is like."""

    loss: float = 0.01
    """Of messages, either way."""
    slow: float = 0.05
    """Share of nodes with a slow link."""
    slow_delay: float = 0.6
    """Seconds that a slow link adds, one way."""


class Site:
    """Where a node is: on the map, in the Internet, and on which side of a partition."""

    __slots__ = ("delay", "host", "side", "x", "y")

    def __init__(self, host: str, x: float, y: float, delay: float) -> None:
        self.host = host
        self.x = x
        self.y = y
        self.delay = delay
        self.side = 0


class World:
    """The clock, the events, and what lies between nodes."""

    def __init__(self, seed: int, conditions: Conditions | None = None) -> None:
        self.now = 0.0
        self.rng = random.Random(seed)
        self.conditions = conditions or Conditions()
        self.parted = False
        self.trace = 0
        self.events = 0
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._sequence = 0
        self._hosts: set[str] = set()
        self._blocks = [f"{first}.{second}" for first, second in self._draw_blocks()]

    def at(self, when: float, what: Callable[..., object], *values: Any) -> None:
        """Calls `what` at that time."""
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, what, values))

    def run(self, until: float) -> None:
        """Lets everything happen up to a time."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= until:
            self.now, _, what, values = pop(heap)
            self.events += 1
            what(*values)
        self.now = until

    def mark(self, value: int) -> None:
        """Takes something that happened into the trace."""
        self.trace = (self.trace * 1_000_003 ^ value ^ int(self.now * 1e6)) & 0xFFFF_FFFF_FFFF_FFFF

    def new_site(self, block: str | None = None) -> Site:
        """A place with an address that nobody has."""
        rng = self.rng
        host = ""
        while not host or host in self._hosts:
            prefix = block or self._blocks[int(BLOCKS * rng.random() ** 2)]
            host = f"{prefix}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
        self._hosts.add(host)
        slow = rng.random() < self.conditions.slow
        return Site(host, rng.random(), rng.random(), self.conditions.slow_delay if slow else 0.0)

    def delay(self, a: Site, b: Site) -> float | None:
        """Seconds that a message takes one way; `None` if it gets lost."""
        rng = self.rng
        if (self.parted and a.side != b.side) or rng.random() < self.conditions.loss:
            return None
        distance = math.hypot(a.x - b.x, a.y - b.y)
        return (BASE_DELAY + PROPAGATION * distance + a.delay + b.delay) * (1.0 + JITTER * rng.random())

    def _draw_blocks(self) -> list[tuple[int, int]]:
        # Prefixes of the global unicast space: those reserved lie below 11 and above 126, or are 100.64 to 100.127.
        numbers = self.rng.sample([n for n in range(11 << 8, 126 << 8) if not 100 << 8 <= n < 101 << 8], BLOCKS)
        return [(number >> 8, number & 0xFF) for number in numbers]
