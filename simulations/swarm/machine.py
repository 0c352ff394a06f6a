"""What simulated nodes share beside cables, if they do: the processors of one machine, and an uplink that carries all
of a node's connections at once.

`Processors` gives every piece of work a time on the first processor that is free, in order of asking, and one node's
pieces one after the other, as a lab's hosts have it. What a piece takes is fitted to the lab `fifty` (`LAB_COSTS`).
`Uplink` is fair queueing as a fluid (A. Demers, S. Keshav and S. Shenker, "Analysis and Simulation of a Fair Queueing
Algorithm", 1989): each connection with something to send has an equal share of the rate at any time.
"""

import heapq
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from simulations.swarm.clock import Clock


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of one processor: for each side of a message (a request, a telling, an ending), and for a byte received,
    verified and stored or sent."""

    message: float
    byte: float


LAB_COSTS = Costs(message=0.0009, byte=0.018 / 1_000_000)
"""With which fifty simulated agents on two processors kept them as busy as the lab's, the origin sent as much, and all
were done as late: 1.6 copies and 1.8 of one copy's time, at a time when the lab's figures were these."""


class Processors:
    """`count` processors for all nodes; none: work takes no time."""

    def __init__(self, clock: Clock, count: int, costs: Costs) -> None:
        self._clock = clock
        self._free = [0.0] * count
        self._costs = costs
        self._done: dict[Hashable, float] = {}
        self.seconds = 0.0

    @property
    def delay(self) -> float:
        """Seconds until a piece of work would begin."""
        return max(min(self._free, default=0.0) - self._clock.now, 0.0)

    def work(self, node: Hashable, size: int, call: Callable[..., None], *arguments: Any) -> None:
        """A node handles a message with `size` bytes of content, and then calls."""
        if not self._free:
            call(*arguments)
            return
        cost = self._costs.message + size * self._costs.byte
        self.seconds += cost
        begin = max(self._clock.now, heapq.heappop(self._free))
        heapq.heappush(self._free, begin + cost)
        self._done[node] = max(begin + cost, self._done.get(node, 0.0))
        self._clock.at(self._done[node], call, *arguments)


@dataclass(slots=True)
class _Piece:
    size: int
    through: Callable[[], None]


class Uplink:
    """`rate` in bytes a second."""

    def __init__(self, clock: Clock, rate: float) -> None:
        self._clock = clock
        self._rate = rate
        self._waiting: dict[Hashable, deque[_Piece]] = {}
        self._due: list[tuple[float, int, Hashable]] = []
        """Of each connection with something to send: the virtual time at which its first piece is out."""
        self._virtual = 0.0
        """Bytes that a connection would have sent that always had something to send."""
        self._at = 0.0
        self._entered = 0
        self._turn = 0

    def send(self, peer: Hashable, size: int, through: Callable[[], None]) -> None:
        """Puts a piece behind what this connection has to send; calls when the last byte has left."""
        self._advance()
        line = self._waiting.setdefault(peer, deque())
        line.append(_Piece(size, through))
        if len(line) == 1:
            self._enter(peer, size)
        self._schedule()

    def _enter(self, peer: Hashable, size: int) -> None:
        self._entered += 1
        heapq.heappush(self._due, (self._virtual + size, self._entered, peer))

    def _advance(self) -> None:
        if self._due:
            self._virtual += (self._clock.now - self._at) * self._rate / len(self._due)
        self._at = self._clock.now

    def _schedule(self) -> None:
        self._turn += 1
        if self._due:
            left = max(self._due[0][0] - self._virtual, 0.0)
            self._clock.after(left * len(self._due) / self._rate, self._out, self._turn)

    def _out(self, turn: int) -> None:
        """The first piece is out, unless something was put in meanwhile."""
        if turn != self._turn:
            return
        self._advance()
        due, _, peer = heapq.heappop(self._due)
        self._virtual = max(self._virtual, due)
        line = self._waiting[peer]
        piece = line.popleft()
        if line:
            self._enter(peer, line[0].size)
        self._schedule()
        piece.through()
