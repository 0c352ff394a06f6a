"""Lookups under way: who of them asks whom, and what comes of it.

A search for providers that has found some waits for as long as trying them may take, instead of asking on: usually one
of them is alive and the search is called off. It waits only a few times, so that made-up providers delay it by no more.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, assert_never

from forge_p2p.content.contact import Contact
from forge_p2p.ids import NodeId
from forge_p2p.proto.dht.calls import Call, Calls
from forge_p2p.proto.dht.keyspace import key_bytes, node_key
from forge_p2p.proto.dht.limits import LookupLimits
from forge_p2p.proto.dht.lookup import Candidate, Lookup
from forge_p2p.proto.dht.messages import (
    PROVIDERS_MAX,
    Accepted,
    Declined,
    FindNode,
    FindProviders,
    LookupDone,
    Nodes,
    Output,
    Provider,
    Providers,
    ProvidersFound,
    Reply,
)
from forge_p2p.proto.dht.subnets import Caps
from forge_p2p.proto.timers import Deadlines

HOLDS_MAX: Final = 3
HOLD_MIN: Final = 0.5
FOUND_MAX: Final = 256
"""Providers that one search collects."""
MOVES_MAX: Final = 32
"""Other addresses of providers already known that one search hands on."""


@dataclass(slots=True, eq=False)
class Search:
    """One lookup; `finished` is called once with it. `key`: whose providers are looked for, if any."""

    number: int
    lookup: Lookup
    query: FindNode | FindProviders
    finished: "Callable[[Search, float], None] | None"
    found: dict[NodeId, Provider] = field(default_factory=dict)
    named: dict[NodeId, int] = field(default_factory=dict)
    hops: int = 0
    holds: int = 0
    moves: int = 0
    held: bool = False
    over: bool = False

    def ranked(self) -> tuple[Provider, ...]:
        """What was found, those first that most nodes named."""
        return tuple(sorted(self.found.values(), key=lambda one: -self.named[one.contact.node_id]))


class Searches:
    """Runs lookups of the node with id `own`."""

    def __init__(self, own: NodeId, calls: Calls, out: list[Output], caps: Caps) -> None:
        self._own = own
        self._key = node_key(own)
        self._calls = calls
        self._out = out
        self._caps = caps
        self._running: dict[int, Search] = {}
        self._holds: Deadlines[int] = Deadlines()
        self._ends: Deadlines[int] = Deadlines()
        self._next_number = 0

    def __len__(self) -> int:
        return len(self._running)

    def find_nodes(
        self,
        target: int,
        starters: Iterable[Contact],
        limits: LookupLimits,
        finished: Callable[[Search, float], None],
        now: float,
    ) -> int:
        """Looks for the nodes nearest to `target`."""
        return self._begin(target, FindNode(key_bytes(target)), starters, limits, finished, now).number

    def find_providers(
        self, key: bytes, known: tuple[Provider, ...], starters: Iterable[Contact], limits: LookupLimits, now: float
    ) -> int:
        """Looks for providers; ends with `LookupDone`. `known`: those this node has records of."""
        search = self._begin(int.from_bytes(key, "big"), FindProviders(key), starters, limits, None, now, known)
        return search.number

    def stop(self, number: int, now: float) -> None:
        """Ends a search at once, with all it found so far. Nothing happens if it is over."""
        search = self._running.get(number)
        if search is not None:
            self._finish(search, now)

    def stop_all(self, now: float) -> None:
        for search in list(self._running.values()):
            self._finish(search, now)

    def next_deadline(self) -> float | None:
        if not self._running:
            return None
        end, hold = self._ends.next(), self._holds.next()
        return end if hold is None or end is None else min(end, hold)

    def handle_timeout(self, now: float) -> None:
        while (number := self._ends.pop(now)) is not None:
            self._finish(self._running[number], now)
        while (number := self._holds.pop(now)) is not None:
            search = self._running[number]
            search.held = False
            self._go_on(search, now)

    def replied(self, call: Call, message: Reply, now: float) -> None:
        search, candidate = _tag(call)
        if search.over:
            return
        match message:
            case Nodes(contacts):
                search.lookup.answered(candidate, contacts)
            case Providers(providers, closer):
                search.lookup.answered(candidate, closer)
                if providers:
                    self._found(search, providers, candidate.hops, now)
            case Accepted() | Declined():
                raise AssertionError("no answer to this question")
            case _:
                assert_never(message)
        self._go_on(search, now)

    def late(self, call: Call, now: float) -> None:
        search, candidate = _tag(call)
        if not search.over:
            search.lookup.late(candidate)
            self._go_on(search, now)

    def failed(self, call: Call, now: float) -> None:
        search, candidate = _tag(call)
        if not search.over:
            search.lookup.failed(candidate)
            self._go_on(search, now)

    def _begin(
        self,
        target: int,
        query: FindNode | FindProviders,
        starters: Iterable[Contact],
        limits: LookupLimits,
        finished: Callable[[Search, float], None] | None,
        now: float,
        known: tuple[Provider, ...] = (),
    ) -> Search:
        lookup = Lookup(target, self._key, starters, limits, self._caps)
        search = Search(self._next_number, lookup, query, finished)
        self._next_number += 1
        self._running[search.number] = search
        self._ends.set(search.number, now + limits.duration)
        if known:
            self._found(search, known, 0, now)
        self._go_on(search, now)
        return search

    def _go_on(self, search: Search, now: float) -> None:
        if search.held:
            return
        for candidate in search.lookup.next():
            self._calls.send(self, candidate.contact, search.query, (search, candidate), now)
        if search.lookup.done:
            self._finish(search, now)

    def _found(self, search: Search, providers: tuple[Provider, ...], hops: int, now: float) -> None:
        first = not search.found
        fresh = []
        for provider in providers[:PROVIDERS_MAX]:
            node_id = provider.contact.node_id
            if node_id == self._own:
                continue
            search.named[node_id] = search.named.get(node_id, 0) + 1
            known = search.found.get(node_id)
            # Somebody who has moved is told of twice: by those who know and by those who do not yet.
            if known is None and len(search.found) < FOUND_MAX:
                search.found[node_id] = provider
                fresh.append(provider)
            elif known is not None and known.contact != provider.contact and search.moves < MOVES_MAX:
                search.moves += 1
                fresh.append(provider)
        if not fresh:
            return
        if first:
            search.hops = hops
        self._out.append(ProvidersFound(search.number, tuple(fresh)))
        if search.holds < HOLDS_MAX:
            search.holds += 1
            search.held = True
            self._holds.set(search.number, now + max(HOLD_MIN, 2 * self._calls.patience.seconds))

    def _finish(self, search: Search, now: float) -> None:
        search.over = True
        del self._running[search.number]
        self._holds.cancel(search.number)
        self._ends.cancel(search.number)
        if search.finished is not None:
            search.finished(search, now)
        else:
            lookup = search.lookup
            self._out.append(LookupDone(search.number, search.ranked(), lookup.queries, lookup.answers, search.hops))


def _tag(call: Call) -> tuple[Search, Candidate]:
    search, candidate = call.tag
    assert isinstance(search, Search)
    assert isinstance(candidate, Candidate)
    return search, candidate
