"""Machines that answer each other at once, or after a while, or not at all: no more network than a test needs."""

import heapq
import random
from collections.abc import Callable
from typing import Any

from forge_p2p.content.contact import Contact
from forge_p2p.ids import NodeId
from forge_p2p.proto.dht.limits import DhtLimits
from forge_p2p.proto.dht.machine import Dht
from forge_p2p.proto.dht.messages import LookupDone, Output, Provider, ProvidersFound, Query, SendQuery
from tests.proto.dht.people import contact

DELAY = 0.05


class Net:
    """Nodes 0 to `size` - 1, all joined by way of node 0. `cut`: who cannot be reached now."""

    def __init__(self, size: int, seed: int = 0, limits: DhtLimits | None = None) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.cut: set[NodeId] = set()
        self.contacts = [contact(number) for number in range(size)]
        self.limits = limits or DhtLimits()
        self.nodes: dict[NodeId, Dht] = {}
        self.asked: list[tuple[NodeId, NodeId, Query]] = []
        self.found: list[Provider] = []
        self.done: list[LookupDone] = []
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        for one in self.contacts:
            self.add(one, self.contacts[:1])

    def add(self, one: Contact, known: list[Contact]) -> Dht:
        dht = Dht(one.node_id, random.Random(self.rng.random()), self.now, one.addresses, self.limits)
        self.nodes[one.node_id] = dht
        dht.restore([other for other in known if other != one], self.now)
        self.run(1.0)
        return dht

    def __getitem__(self, number: int) -> Dht:
        return self.nodes[self.contacts[number].node_id]

    def run(self, seconds: float) -> None:
        """Lets time pass."""
        end = self.now + seconds
        while True:
            self.flush()
            due = min(dht.next_deadline() for node_id, dht in self.nodes.items() if node_id not in self.cut)
            when = min(due, self._events[0][0] if self._events else due)
            if when > end:
                break
            self.now = max(self.now, when)
            if self._events and self._events[0][0] <= self.now:
                _, _, what, values = heapq.heappop(self._events)
                what(*values)
            for node_id, dht in self.nodes.items():
                if node_id not in self.cut and dht.next_deadline() <= self.now:
                    dht.handle_timeout(self.now)
        self.now = end

    def flush(self) -> None:
        for node_id, dht in list(self.nodes.items()):
            for output in dht.take():
                self._do(node_id, output)

    def _do(self, asker: NodeId, output: Output) -> None:
        match output:
            case SendQuery(rpc, asked, message):
                self.asked.append((asker, asked.node_id, message))
                self._later(self._arrive, asker, asked, rpc, message)
            case ProvidersFound(_, providers):
                self.found += providers
            case LookupDone():
                self.done.append(output)

    def _later(self, what: Callable[..., None], *values: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + DELAY, self._count, what, values))

    def _arrive(self, asker: NodeId, asked: Contact, rpc: int, message: Query) -> None:
        there = self.nodes.get(asked.node_id)
        sender = next(one for one in self.contacts if one.node_id == asker)
        if there is not None and asked in self.contacts and not {asker, asked.node_id} & self.cut:
            there.peer_seen(sender, self.now)
            reply = there.receive_query(sender, message, self.now)
            self._later(self._answered, asker, rpc, reply)

    def _answered(self, asker: NodeId, rpc: int, reply: Any) -> None:
        if asker not in self.cut:
            self.nodes[asker].receive_reply(rpc, reply, self.now)

    def move(self, number: int, addresses: tuple[tuple[str, int], ...]) -> None:
        """A node has other addresses from now on."""
        node_id = self.contacts[number].node_id
        self.contacts[number] = Contact(node_id, addresses)
        self.nodes[node_id].move(addresses, self.now)

    def providers(self, number: int, key: bytes, seconds: float = 30.0) -> set[NodeId]:
        """Whom a lookup by that node finds."""
        self.found.clear()
        lookup = self[number].find_providers(key, self.now)
        before = len(self.done)
        self.run(seconds)
        assert [done.lookup for done in self.done[before:]] == [lookup]
        return {provider.contact.node_id for provider in self.found}


def alone(number: int = 0, limits: DhtLimits | None = None) -> Dht:
    one = contact(number)
    return Dht(one.node_id, random.Random(number), 0.0, one.addresses, limits)


def queries(dht: Dht) -> list[SendQuery]:
    return [output for output in dht.take() if isinstance(output, SendQuery)]
