"""One simulated node: the production machines on both sides, and links in between that are a model.

Of the wire there is a delay; of the links, what `answering` says. Verifying and storing take a fixed time. What was
stored is told to the neighbours as `membership.following` does. On a *shared* machine messages wait for its processors.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from forge_p2p.ids import Hash, prefix_of
from forge_p2p.node.membership.following import ENOUGH, GATHER, gathering
from forge_p2p.node.membership.following import INTERVAL as TELL_INTERVAL
from forge_p2p.proto.swarm import Distance, Item, Request, Swarm, SwarmLimits
from forge_p2p.wire.codes import Code
from simulations.swarm.answering import Answering
from simulations.swarm.clock import Clock
from simulations.swarm.machine import Processors

STORE_TIME = 0.005
STALL_TIMEOUT = 20.0
"""Seconds after which a session leaves a peer that sends nothing of what it was asked."""


@dataclass(frozen=True, slots=True)
class Line:
    """Bytes a second, up and down."""

    up: float
    down: float


@dataclass(slots=True)
class Counts:
    sent: int = 0
    received: int = 0
    duplicates: int = 0
    corrupt: int = 0


class Node:
    """An agent, or the origin if it has everything from the start. `honest`: what it sends is right; `answers`: it
    sends anything at all. Public methods after `say` are what the wire brings."""

    def __init__(
        self,
        name: int,
        clock: Clock,
        line: Line,
        delay: float,
        limits: SwarmLimits,
        seed: int,
        processors: Processors | None = None,
    ) -> None:
        self.name = name
        self.clock = clock
        self.line = line
        self.delay = delay
        self.have: set[Hash] = set()
        self.complete = False
        self.origin = False
        self.alive = True
        self.honest = True
        self.answers = True
        self.doomed = False
        """It will be killed."""
        self.finished_at: float | None = None
        self.on_finished: Callable[[Node], None] = lambda node: None
        self.wanted = 0
        self.counts = Counts()
        self.swarm = Swarm(random.Random(seed), limits)
        self._processors = processors
        self.answering = Answering(self, shared=processors is not None)
        self.neighbours: list[Node] = []
        self._untold: list[int] = []
        self._told_at = -GATHER
        self.down_free = 0.0
        self._open: dict[int, Node] = {}
        self._heard: dict[Node, float] = {}
        self._timer: float | None = None
        self._asking = False

    # Before it begins

    def hold(self, items: Sequence[Item], *, origin: bool) -> None:
        """It has everything."""
        self.have = {item.hash for item in items}
        self.complete, self.origin = True, origin

    def want(self, items: Sequence[Item]) -> None:
        """It fetches this."""
        self.wanted = len(items)
        self.swarm.offer(items)
        self.clock.after(TELL_INTERVAL * random.Random(self.name).random(), self._tell)

    def connect(self, other: "Node") -> None:
        """This one may ask the other."""
        other.neighbours.append(self)
        if other.origin:
            self.neighbours.append(other)  # it wants to know what has come from others
        self.swarm.add_peer(other, self.clock.now, distance=Distance.LAN, complete=other.complete, origin=other.origin)
        if not other.complete:
            self.clock.after(self.delay, self.told, other, [prefix_of(chunk) for chunk in sorted(other.have)])
        self._ask_soon()

    def kill(self) -> None:
        """From now on nothing comes from it, and nobody is told."""
        self.alive = False

    def say(self, other: "Node", call: Callable[..., None], *arguments: Any, size: int = 0) -> None:
        """Another node hears of something, after the wire's delay and when its machine has time for it. `size`: of the
        content that comes with it."""
        if self._processors is None:
            self.clock.after(self.delay, call, *arguments)
        else:
            self.clock.after(self.delay, self._processors.work, other, size, call, *arguments)

    # Asking

    def _ask_soon(self) -> None:
        if not self._asking:
            self._asking = True
            self.clock.after(0.0, self._ask)

    def _ask(self) -> None:
        self._asking = False
        if not self.alive or self.complete:
            return
        now = self.clock.now
        for request in self.swarm.next_requests(now):
            peer = request.peer
            assert isinstance(peer, Node)
            self._open[request.number] = peer
            self._heard.setdefault(peer, now)
            self.say(peer, peer.answering.requested, self, request)
        for peer, number in self.swarm.take_given_up():
            assert isinstance(peer, Node)
            self._open.pop(number, None)
            self.say(peer, peer.answering.cancelled, self, number)
        self._set_timer()

    def _set_timer(self) -> None:
        due = self.swarm.next_deadline()
        if due is not None and (self._timer is None or due < self._timer):
            self._timer = due
            self.clock.at(due, self._timeout, due)

    def _timeout(self, due: float) -> None:
        if self._timer != due:
            return
        self._timer = None
        if not self.alive or self.complete:
            return
        self.swarm.handle_timeout(self.clock.now)
        for peer in [peer for peer, heard in self._heard.items() if self.clock.now - heard > STALL_TIMEOUT]:
            if peer in self._open.values():
                self._lose(peer, "it does not answer")
        self._ask()

    def _lose(self, peer: "Node", reason: str) -> None:
        self.swarm.remove_peer(peer, reason, self.clock.now)
        self._heard.pop(peer, None)
        for number in [number for number, asked in self._open.items() if asked is peer]:
            del self._open[number]
        self._ask_soon()

    def arrive(self, peer: "Node", number: int, indexes: Sequence[int], request: Request, good: bool) -> None:
        """A batch has come."""
        if not self.alive or self._open.get(number) is not peer:
            return
        self._heard[peer] = self.clock.now
        total = sum([request.items[index].size for index in indexes])
        fresh = self.swarm.received(number, indexes, self.clock.now)
        size = sum([request.items[index].size for index in fresh])
        self.counts.received += total
        self.counts.duplicates += total - size
        if fresh:
            self.clock.after(STORE_TIME, self._store, peer, [request.items[index] for index in fresh], size, good)
        self._ask_soon()

    def _store(self, peer: "Node", items: Sequence[Item], size: int, good: bool) -> None:
        self.swarm.stored(size)
        self.swarm.written(size)
        if not good:
            self.counts.corrupt += size
            self._lose(peer, "it sent wrong bytes")
            self.swarm.offer(items)
            return
        for item in items:
            self.have.add(item.hash)
            self._untold.append(prefix_of(item.hash))
        self._ask_soon()
        if len(self.have) == self.wanted and not self.complete:
            self.complete = True
            self.finished_at = self.clock.now
            self.on_finished(self)

    def missing(self, peer: "Node", number: int, indexes: Sequence[int]) -> None:
        if self.alive and self._open.get(number) is peer:
            self._heard[peer] = self.clock.now
            self.swarm.missing(number, indexes)

    def ended(self, peer: "Node", number: int, code: Code) -> None:
        if self.alive and self._open.pop(number, None) is peer:
            self._heard[peer] = self.clock.now
            self.swarm.ended(number, code, self.clock.now)
            self._ask_soon()

    # Telling

    def _tell(self) -> None:
        if not self.alive:
            return
        late = self._processors.delay if self._processors else 0.0
        waits = len(self._untold) < ENOUGH and self.clock.now < self._told_at + gathering(late)
        untold: list[int] = []
        if not waits or self.complete:
            untold, self._untold = self._untold, []
        if untold:
            self._told_at = self.clock.now
            for neighbour in self.neighbours:
                if neighbour.origin or not neighbour.complete:
                    self.say(neighbour, neighbour.told, self, untold)
        if self.complete:
            for neighbour in self.neighbours:
                self.say(neighbour, neighbour.told_complete, self)
        else:
            self.clock.after(TELL_INTERVAL, self._tell)

    def told(self, peer: "Node", prefixes: Sequence[int]) -> None:
        if self.origin:
            self.answering.sent.spread.told(peer, prefixes, self.clock.now)
        elif self.alive and not self.complete:
            self.swarm.holds(peer, prefixes, self.clock.now)
            self._ask_soon()

    def told_complete(self, peer: "Node") -> None:
        if self.alive and not self.complete:
            self.swarm.completed(peer, self.clock.now)
            self._ask_soon()
