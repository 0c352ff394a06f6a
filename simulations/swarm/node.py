"""One simulated node: the production machines on both sides, and links in between that are a model.

Of the wire there is a delay; of the uplink, that it sends one batch after the other at its rate, in the order that
`Turns` decides; of the downlink, that what comes through it takes its time, and that a sender has to wait for a slower
receiver before that gets more. So an uplink is shared fairly by bytes among all who ask, as by the transport's fair
queueing. Verifying and storing take a fixed time. What was stored is told to the neighbours as `node.following` does.

On a *shared* machine messages wait for its processors, and an uplink carries chunks of all connections at once, as many
batches as the transport takes: each takes as long as all of them together.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from forge_p2p.ids import Hash, prefix_of
from forge_p2p.node.membership.following import ENOUGH, GATHER, gathering
from forge_p2p.node.membership.following import INTERVAL as TELL_INTERVAL
from forge_p2p.proto.sent import Sent
from forge_p2p.proto.swarm import Distance, Item, Request, Swarm, SwarmLimits
from forge_p2p.proto.turns import Turn, Turns
from forge_p2p.wire.codes import Code
from simulations.swarm.clock import Clock
from simulations.swarm.machine import Processors, Uplink

STORE_TIME = 0.005
STALL_TIMEOUT = 20.0
"""Seconds after which a session leaves a peer that sends nothing of what it was asked."""
REQUEST_DEADLINE = 300.0


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


@dataclass(slots=True)
class _Asked:
    """A request being answered, and how many of its chunks are still to be sent."""

    request: Request
    left: int
    code: Code | None = None
    """With which it ends once all has left that was given to a shared uplink."""


class Node:
    """An agent, or the origin if it has everything from the start. `honest`: what it sends is right; `answers`: it
    sends anything at all. Public methods after `kill` are what the wire brings."""

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
        self._sent_ever: set[Hash] = set()
        self.swarm = Swarm(random.Random(seed), limits)
        self._processors = processors
        self._uplink = Uplink(clock, line.up) if processors else None
        self._sent: Sent[Node] = Sent(queued=lambda peer, request: (peer, request) in self._leaving)
        self._turns: Turns[Node] = Turns(sent=self._sent)
        self._leaving: Counter[tuple[Node, int]] = Counter()
        """Chunks of each request that were given to a shared uplink and have not left."""
        self.neighbours: list[Node] = []
        self._untold: list[int] = []
        self._told_at = -GATHER
        self._sending = False
        self.down_free = 0.0
        self._open: dict[int, Node] = {}
        self._heard: dict[Node, float] = {}
        self._asked: dict[tuple[Node, int], _Asked] = {}
        self._timer: float | None = None
        self._asking = False

    @property
    def sent_once(self) -> int:
        """Items sent at least once."""
        return len(self._sent_ever)

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

    def _say(self, other: "Node", call: Callable[..., None], *arguments: Any, size: int = 0) -> None:
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
            self._say(peer, peer.requested, self, request)
        for peer, number in self.swarm.take_given_up():
            assert isinstance(peer, Node)
            self._open.pop(number, None)
            self._say(peer, peer.cancelled, self, number)
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
                    self._say(neighbour, neighbour.told, self, untold)
        if self.complete:
            for neighbour in self.neighbours:
                self._say(neighbour, neighbour.told_complete, self)
        else:
            self.clock.after(TELL_INTERVAL, self._tell)

    def told(self, peer: "Node", prefixes: Sequence[int]) -> None:
        if self.origin:
            self._sent.spread.told(peer, prefixes, self.clock.now)
        elif self.alive and not self.complete:
            self.swarm.holds(peer, prefixes, self.clock.now)
            self._ask_soon()

    def told_complete(self, peer: "Node") -> None:
        if self.alive and not self.complete:
            self.swarm.completed(peer, self.clock.now)
            self._ask_soon()

    # Answering

    def requested(self, asker: "Node", request: Request) -> None:
        if not self.alive or not self.answers:
            return
        here: list[int] = []
        missing: list[int] = []
        for index, item in enumerate(request.items):
            (here if item.hash in self.have or not self.honest else missing).append(index)
        if missing:
            self._say(asker, asker.missing, self, request.number, missing)
        if not here:
            self._say(asker, asker.ended, self, request.number, Code.OK)
            return
        self._asked[asker, request.number] = _Asked(request, len(here))
        self._turns.add(
            asker,
            request.number,
            here,
            [request.items[index].hash for index in here],
            priority=64 if request.urgent else 128,
            deadline=self.clock.now + REQUEST_DEADLINE,
            max_bytes=request.max_bytes,
            sparing=request.sparing,
        )
        self._send()

    def cancelled(self, asker: "Node", number: int) -> None:
        self._turns.cancel(asker, number)
        self._asked.pop((asker, number), None)

    def _send(self) -> None:
        """Hands the next batch to the uplink, if it is free."""
        while self.alive and not self._sending:
            turn = self._turns.next(self.clock.now)
            if turn is None:
                return
            asked = self._asked.get((turn.peer, turn.request_id))
            if asked is None:
                self._turns.served(turn, 0)
                continue
            request = asked.request
            count = self._turns.fit(turn, [request.items[index].size for index in turn.indexes])
            size = sum([request.items[index].size for index in turn.indexes[:count]])
            if not size:
                self._served(turn, request, [], 0)
                continue
            self._transmit(turn, request, turn.indexes[:count], size)

    def _transmit(self, turn: Turn["Node"], request: Request, indexes: Sequence[int], size: int) -> None:
        asker, now = turn.peer, self.clock.now
        self.counts.sent += size
        if self.origin:
            self._sent_ever.update([request.items[index].hash for index in indexes])
        if self._uplink is not None:
            self._transmit_shared(self._uplink, turn, request, indexes)
            return
        self._sending = True
        sent_at = now + size / self.line.up
        asker.down_free = max(asker.down_free, now) + size / asker.line.down
        through_at = max(sent_at, asker.down_free)
        self.clock.at(sent_at, self._uplink_free)
        self.clock.at(through_at, self._served, turn, request, indexes, size)

    def _transmit_shared(self, uplink: Uplink, turn: Turn["Node"], request: Request, indexes: Sequence[int]) -> None:
        """The transport takes all of it at once; it leaves chunk by chunk, together with everybody else's."""
        asker = turn.peer
        self._leaving[asker, request.number] += len(indexes)
        for index in indexes:
            uplink.send(asker, request.items[index].size, partial(self._left, asker, request, index))
        size = sum([request.items[index].size for index in indexes])
        self._over(turn, size)

    def _left(self, asker: "Node", request: Request, index: int) -> None:
        """A chunk has left through a shared uplink."""
        if not self.alive:
            return
        number, size = request.number, request.items[index].size
        self._leaving[asker, number] -= 1
        asker.down_free = max(asker.down_free, self.clock.now) + size / asker.line.down
        through = partial(self._say, asker, asker.arrive, self, number, [index], request, self.honest, size=size)
        self.clock.at(asker.down_free, through)
        if not self._leaving[asker, number]:
            del self._leaving[asker, number]
        asked = self._asked.get((asker, number))
        if asked is not None:
            asked.left -= 1
            self.clock.at(asker.down_free, self._end, asker, number, asked)

    def _end(self, asker: "Node", number: int, asked: _Asked) -> None:
        """Says that a request is over, if it is and its last chunk has left."""
        code = Code.OK if not asked.left else asked.code
        if code is not None and (asker, number) not in self._leaving and self._asked.get((asker, number)) is asked:
            del self._asked[asker, number]
            self._say(asker, asker.ended, self, number, code)

    def _over(self, turn: Turn["Node"], size: int) -> None:
        """The transport has taken a batch."""
        code = self._turns.served(turn, size)
        asked = self._asked.get((turn.peer, turn.request_id))
        if asked is not None and code is not None:
            asked.code = code
            self._end(turn.peer, turn.request_id, asked)

    def _uplink_free(self) -> None:
        self._sending = False
        self._send()

    def _served(self, turn: Turn["Node"], request: Request, indexes: Sequence[int], size: int) -> None:
        """A batch is through: it arrives after the wire's delay."""
        if not self.alive:
            return
        if self._uplink is not None:
            self._over(turn, size)
            return
        asker, number = turn.peer, turn.request_id
        if indexes:
            self.clock.after(self.delay, asker.arrive, self, number, indexes, request, self.honest)
        code = self._turns.served(turn, size)
        asked = self._asked.get((asker, number))
        if asked is not None:
            asked.left -= len(indexes)
            if not asked.left:
                code = Code.OK
            if code is not None:
                del self._asked[asker, number]
                self._say(asker, asker.ended, self, number, code)
        self._send()
