"""A small world for one fetch: peers that answer, lie, lose, dawdle, die; its clock jumps from event to event."""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from forge_p2p.content.link import hash_bytes
from forge_p2p.ids import prefix_of
from forge_p2p.proto.swarm import Distance, Item, Request, Swarm, SwarmLimits
from forge_p2p.wire.codes import Code

STALLED = 20.0


def items(count: int, size: int = 100, first: int = 0) -> list[Item]:
    return [Item(hash_bytes(number.to_bytes(4, "big")), size) for number in range(first, first + count)]


@dataclass(eq=False)
class Neighbour:
    """`rate` in bytes a second; `has`: indexes of the items; `silent`: takes requests and never answers; `spared`: what
    a spared request is told is elsewhere."""

    name: str
    rate: float = 10_000.0
    delay: float = 0.01
    has: set[Item] = field(default_factory=set)
    complete: bool = True
    origin: bool = False
    silent: bool = False
    lossy: float = 0.0
    elsewhere: set[Item] = field(default_factory=set)
    distance: Distance = Distance.OTHER
    free_at: float = 0.0
    sent: Counter[Item] = field(default_factory=Counter)


class World:
    """Runs one fetch. `arrived` counts what came first; `trace` is every request in order."""

    def __init__(self, seed: int, limits: SwarmLimits | None = None) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)
        self.swarm = Swarm(random.Random(seed + 1), limits)
        self.limits = limits or SwarmLimits()
        self.peers: dict[str, Neighbour] = {}
        self.open: dict[int, Request] = {}
        self.arrived: Counter[Item] = Counter()
        self.trace: list[tuple[float, str, int, bool]] = []
        self.most_at_once = 0
        self.done_at = 0.0
        """When something last arrived."""
        self._lacked: set[tuple[int, int]] = set()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0

    def offer(self, item: Item, urgent: bool) -> None:
        self.swarm.offer([item], urgent)

    def join(self, peer: Neighbour) -> None:
        self.peers[peer.name] = peer
        self.swarm.add_peer(peer.name, self.now, distance=peer.distance, complete=peer.complete, origin=peer.origin)
        if not peer.complete:
            self.tell(peer, peer.has)

    def tell(self, peer: Neighbour, has: set[Item]) -> None:
        peer.has |= has
        if peer.name in self.peers:
            self.swarm.holds(peer.name, sorted(prefix_of(item.hash) for item in has), self.now)

    def leave(self, name: str, reason: str = "") -> None:
        if self.peers.pop(name, None) is not None:
            self.swarm.remove_peer(name, reason, self.now)
            self.open = {number: request for number, request in self.open.items() if request.peer != name}

    def at(self, when: float, call: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (when, self._sequence, call))

    def run(self, until: float = 10_000.0) -> None:
        """Until all has come, or nothing more will."""
        while (self._events or not self.swarm.idle) and self.now < until:
            self._ask()
            times = [self._events[0][0]] if self._events else []
            deadline = self.swarm.next_deadline()
            if deadline is not None:
                times.append(deadline)
            if not times or (not (self._events or self.open) and self.swarm.hopeless(self.now)):
                return
            self.now = max(self.now, min(times))
            self.swarm.handle_timeout(self.now)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()

    def _ask(self) -> None:
        for request in self.swarm.next_requests(self.now):
            assert 0 < len(request.items) <= self.limits.request_items
            self.open[request.number] = request
            self.trace.append((self.now, str(request.peer), len(request.items), request.sparing))
            self._answer(self.peers[str(request.peer)], request)
        for _, number in self.swarm.take_given_up():
            self.open.pop(number, None)
        exact = Counter(
            item
            for request in self.open.values()
            if not request.sparing
            for index, item in enumerate(request.items)
            if (request.number, index) not in self._lacked
        )
        self.most_at_once = max([self.most_at_once, *exact.values()])

    def _answer(self, peer: Neighbour, request: Request) -> None:
        if peer.silent:
            self.at(self.now + STALLED, lambda: self._stalled(peer, request))
            return
        at = max(self.now + peer.delay, peer.free_at)
        code, budget = Code.OK, request.max_bytes
        for index, item in self._order(peer, request):
            if request.sparing and item in peer.elsewhere:
                code = Code.ELSEWHERE
                continue
            if item not in peer.has:
                self.at(at, lambda index=index: self._miss(request, index))  # type: ignore[misc]
                continue
            if item.size > budget:
                code = Code.BUDGET
                break
            budget -= item.size
            at += item.size / peer.rate
            if self.chance.random() >= peer.lossy:
                self.at(at, lambda index=index: self._bring(peer, request, index))  # type: ignore[misc]
            else:
                code = Code.STORE
        peer.free_at = at
        self.at(at + 0.0001, lambda: self._end(request, code))

    def _stalled(self, peer: Neighbour, request: Request) -> None:
        """As a session does: a peer that says nothing for long is left."""
        if peer.silent and request.number in self.open:
            self.leave(peer.name, "it does not answer")

    def _order(self, peer: Neighbour, request: Request) -> list[tuple[int, Item]]:
        return sorted(enumerate(request.items), key=lambda each: peer.sent[each[1]])

    def _bring(self, peer: Neighbour, request: Request, index: int) -> None:
        if request.number in self.open and peer.name in self.peers:
            peer.sent[request.items[index]] += 1
            for fresh in self.swarm.received(request.number, [index], self.now):
                item = request.items[fresh]
                self.arrived[item] += 1
                self.done_at = self.now
                self.swarm.stored(item.size)
                self.swarm.written(item.size)

    def _miss(self, request: Request, index: int) -> None:
        if request.number in self.open:
            self._lacked.add((request.number, index))
            self.swarm.missing(request.number, [index])

    def _end(self, request: Request, code: Code) -> None:
        if self.open.pop(request.number, None) is not None:
            self.swarm.ended(request.number, code, self.now)
