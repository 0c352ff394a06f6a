"""The answering side of a simulated node, and the links that its answers go through.

Of an uplink it is modelled that it sends one batch after the other at its rate, in the order that `Turns` decides; of
the downlink, that what comes through it takes its time, and that a sender has to wait for a slower receiver before that
gets more. So an uplink is shared fairly by bytes among all who ask, as by the transport's fair queueing.

On a *shared* machine an uplink carries chunks of all connections at once, as many batches as the transport takes: each
takes as long as all of them together.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from forge_p2p.ids import Hash
from forge_p2p.proto.sent import Sent
from forge_p2p.proto.swarm import Request
from forge_p2p.proto.turns import Turn, Turns
from forge_p2p.wire.codes import Code
from simulations.swarm.machine import Uplink

if TYPE_CHECKING:
    from simulations.swarm.node import Node

REQUEST_DEADLINE = 300.0


@dataclass(slots=True)
class _Asked:
    """A request being answered, and how many of its chunks are still to be sent."""

    request: Request
    left: int
    code: Code | None = None
    """With which it ends once all has left that was given to a shared uplink."""


class Answering:
    """Everything that one node sends. `requested` and `cancelled` are what the wire brings."""

    def __init__(self, node: "Node", *, shared: bool) -> None:
        self._node = node
        self._uplink = Uplink(node.clock, node.line.up) if shared else None
        self.sent: Sent[Node] = Sent(queued=lambda peer, request: (peer, request) in self._leaving)
        self._turns: Turns[Node] = Turns(sent=self.sent)
        self._leaving: Counter[tuple[Node, int]] = Counter()
        """Chunks of each request that were given to a shared uplink and have not left."""
        self._sent_ever: set[Hash] = set()
        self._sending = False
        self._asked: dict[tuple[Node, int], _Asked] = {}

    @property
    def sent_once(self) -> int:
        """Items sent at least once; counted of an origin."""
        return len(self._sent_ever)

    def requested(self, asker: "Node", request: Request) -> None:
        if not self._node.alive or not self._node.answers:
            return
        here: list[int] = []
        missing: list[int] = []
        for index, item in enumerate(request.items):
            (here if item.hash in self._node.have or not self._node.honest else missing).append(index)
        if missing:
            self._node.say(asker, asker.missing, self._node, request.number, missing)
        if not here:
            self._node.say(asker, asker.ended, self._node, request.number, Code.OK)
            return
        self._asked[asker, request.number] = _Asked(request, len(here))
        self._turns.add(
            asker,
            request.number,
            here,
            [request.items[index].hash for index in here],
            priority=64 if request.urgent else 128,
            deadline=self._node.clock.now + REQUEST_DEADLINE,
            max_bytes=request.max_bytes,
            sparing=request.sparing,
        )
        self._send()

    def cancelled(self, asker: "Node", number: int) -> None:
        self._turns.cancel(asker, number)
        self._asked.pop((asker, number), None)

    def _send(self) -> None:
        """Hands the next batch to the uplink, if it is free."""
        while self._node.alive and not self._sending:
            turn = self._turns.next(self._node.clock.now)
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
                self._over(turn, 0)
                continue
            self._transmit(turn, request, turn.indexes[:count], size)

    def _transmit(self, turn: Turn["Node"], request: Request, indexes: Sequence[int], size: int) -> None:
        asker, now = turn.peer, self._node.clock.now
        self._node.counts.sent += size
        if self._node.origin:
            self._sent_ever.update([request.items[index].hash for index in indexes])
        if self._uplink is not None:
            self._transmit_shared(self._uplink, turn, request, indexes, size)
            return
        self._sending = True
        sent_at = now + size / self._node.line.up
        asker.down_free = max(asker.down_free, now) + size / asker.line.down
        through_at = max(sent_at, asker.down_free)
        self._node.clock.at(sent_at, self._uplink_free)
        self._node.clock.at(through_at, self._through, turn, request, indexes, size)

    def _transmit_shared(
        self, uplink: Uplink, turn: Turn["Node"], request: Request, indexes: Sequence[int], size: int
    ) -> None:
        """The transport takes all of it at once; it leaves chunk by chunk, together with everybody else's."""
        asker = turn.peer
        self._leaving[asker, request.number] += len(indexes)
        for index in indexes:
            uplink.send(asker, request.items[index].size, partial(self._left, asker, request, index))
        self._over(turn, size)

    def _left(self, asker: "Node", request: Request, index: int) -> None:
        """A chunk has left through a shared uplink."""
        if not self._node.alive:
            return
        number, size = request.number, request.items[index].size
        self._leaving[asker, number] -= 1
        asker.down_free = max(asker.down_free, self._node.clock.now) + size / asker.line.down
        through = partial(
            self._node.say, asker, asker.arrive, self._node, number, [index], request, self._node.honest, size=size
        )
        self._node.clock.at(asker.down_free, through)
        if not self._leaving[asker, number]:
            del self._leaving[asker, number]
        asked = self._asked.get((asker, number))
        if asked is not None:
            asked.left -= 1
            self._node.clock.at(asker.down_free, self._end, asker, number, asked)

    def _end(self, asker: "Node", number: int, asked: _Asked) -> None:
        """Says that a request is over, if it is and its last chunk has left."""
        code = Code.OK if not asked.left else asked.code
        if code is not None and (asker, number) not in self._leaving and self._asked.get((asker, number)) is asked:
            del self._asked[asker, number]
            self._node.say(asker, asker.ended, self._node, number, code)

    def _over(self, turn: Turn["Node"], size: int) -> None:
        """The transport has taken a batch."""
        code = self._turns.served(turn, size)
        asked = self._asked.get((turn.peer, turn.request_id))
        if asked is not None:
            asked.code = asked.code if code is None else code
            self._end(turn.peer, turn.request_id, asked)

    def _uplink_free(self) -> None:
        self._sending = False
        self._send()

    def _through(self, turn: Turn["Node"], request: Request, indexes: Sequence[int], size: int) -> None:
        """A batch is through: it arrives after the wire's delay."""
        node, asker, number = self._node, turn.peer, turn.request_id
        if not node.alive:
            return
        node.clock.after(node.delay, asker.arrive, node, number, indexes, request, node.honest)
        asked = self._asked.get((asker, number))
        if asked is not None:
            asked.left -= len(indexes)
        self._over(turn, size)
        self._send()
