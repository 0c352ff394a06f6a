"""Keeping a place in the network: joining, noticing who is gone, coming back after a partition, a sleep, or alone.

In quiet times a node sends at most a few queries a minute: it asks the neighbour not heard of for longest who its
neighbours are (those near its own key have to be known without gaps, because they keep the records), a contact that
failed once, a contact of a bucket in which nothing was looked up for an hour, and now and then one that was lost.

Contacts that fail are remembered for a week. When nobody answers any more, that is taken for this node's own trouble:
contacts keep their places, and joining is tried again at growing intervals, with all who are or were known. After a
partition every node has many of the other side among those it lost; the first that answers begins a lookup of the own
key, and that is how the two networks become one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from forge_p2p.content.contact import Contact
from forge_p2p.ids import NodeId
from forge_p2p.proto.dht.calls import Call, Calls
from forge_p2p.proto.dht.keyspace import KEY_SPACE, Randomness, key_bytes, node_key, random_key
from forge_p2p.proto.dht.limits import DhtLimits
from forge_p2p.proto.dht.messages import FindNode, Nodes, Reply
from forge_p2p.proto.dht.routing import Bucket, Peer, Table
from forge_p2p.proto.dht.searches import Search, Searches

GREETED_MAX: Final = 4
"""Unknown neighbours asked because others named them, from one look to the next: whoever makes neighbours up, or has
many, makes a node send no more."""
FAILING_MAX: Final = 3
"""Contacts that failed once asked again at one look."""
PROBES_MAX: Final = 8
"""Probes under way."""


@dataclass(slots=True)
class _Lost:
    contact: Contact
    since: float
    lost: float
    tried: float

    @property
    def life(self) -> float:
        return self.lost - self.since


class Upkeep:
    """Takes care of the table of the node with id `own`. `joined` is called whenever it has found its place."""

    def __init__(
        self,
        own: NodeId,
        table: Table,
        calls: Calls,
        searches: Searches,
        limits: DhtLimits,
        rng: Randomness,
        joined: Callable[[float], None],
        now: float,
    ) -> None:
        self._own = own
        self._key = node_key(own)
        self._who_is_near_me = FindNode(key_bytes(self._key))
        self._table = table
        self._calls = calls
        self._searches = searches
        self._limits = limits
        self._rng = rng
        self._tell_joined = joined
        self._lost: dict[NodeId, _Lost] = {}
        self._next_retry = now + limits.upkeep.lost_retry
        self._probing: set[NodeId] = set()
        self._thin: list[tuple[int, int]] = []
        self._greeted = 0
        self._joining = False
        self._wait = limits.upkeep.rejoin_first
        self._next_join: float | None = None
        self._next_look = self._after_a_while(now)

    @property
    def lost(self) -> list[Contact]:
        """Those remembered, longest known first."""
        return [each.contact for each in sorted(self._lost.values(), key=lambda one: -one.life)]

    def remember(self, contact: Contact, since: float, now: float) -> None:
        """Somebody who may be reached again some day."""
        if contact.node_id == self._own or not contact.addresses:
            return
        self._lost[contact.node_id] = _Lost(contact, since, now, now)
        if len(self._lost) > self._limits.upkeep.lost_max:
            del self._lost[min(self._lost.values(), key=lambda one: one.life).contact.node_id]

    def met(self, contact: Contact) -> None:
        """A node proved to be there."""
        self._lost.pop(contact.node_id, None)

    def join_soon(self, now: float) -> None:
        """Looks for the own key at the next timeout."""
        self._wait = self._limits.upkeep.rejoin_first
        self._next_join = now

    def doubt(self, peer: Peer, now: float) -> None:
        """Another would take this contact's place: asks whether it is still there."""
        self._probe(peer.contact, now)

    def next_deadline(self) -> float:
        return self._next_look if self._next_join is None else min(self._next_look, self._next_join)

    def handle_timeout(self, now: float, offline: bool) -> None:
        if self._next_join is not None and self._next_join <= now:
            self._join(now)
        if self._next_look <= now:
            self._next_look = self._after_a_while(now)
            if offline or not len(self._table):
                if self._next_join is None and not self._joining:
                    self._next_join = now + self._wait
            else:
                self._look(now)

    def replied(self, call: Call, message: Reply, now: float) -> None:
        self._probing.discard(call.contact.node_id)
        if call.tag is not None:
            self._came_back(now)
        if isinstance(message, Nodes):
            self._greet(message.contacts[: self._limits.k], now)

    def late(self, call: Call, now: float) -> None:
        """There is time."""

    def failed(self, call: Call, now: float) -> None:
        self._probing.discard(call.contact.node_id)

    def _after_a_while(self, now: float) -> float:
        return now + self._limits.upkeep.period * (0.75 + self._rng.random() / 2)

    def _probe(self, contact: Contact, now: float, lost: _Lost | None = None) -> None:
        if contact.node_id not in self._probing and len(self._probing) < PROBES_MAX:
            self._probing.add(contact.node_id)
            self._calls.send(self, contact, self._who_is_near_me, lost, now)

    def _look(self, now: float) -> None:
        upkeep = self._limits.upkeep
        self._greeted = 0
        for peer in list(self._table.failing.values())[:FAILING_MAX]:
            self._probe(peer.contact, now)
        neighbours = self._table.find_neighbors(self._table.node)
        stalest = min(neighbours, key=lambda one: one.seen, default=None)
        if stalest is not None and now - stalest.seen > upkeep.neighbour_age:
            self._probe(stalest.contact, now)
        lonely = self._table.lonely_buckets(now - upkeep.bucket_age)
        if lonely:
            self._refresh(min(lonely, key=lambda one: one.last_updated), now)
        if self._next_retry <= now:
            self._retry(now)

    def _refresh(self, bucket: Bucket, now: float) -> None:
        bucket.touch_last_updated(now)
        if len(bucket) < self._limits.k // 2:
            self._explore(*bucket.range, now)
        elif now - bucket.head().seen > self._limits.upkeep.stale:
            self._probe(bucket.head().contact, now)

    def _explore(self, low: int, high: int, now: float) -> None:
        """Meets a few nodes of a range."""
        answers = self._limits.upkeep.refresh_answers
        limits = replace(self._limits.lookup, k=answers, paths_in_all=self._limits.lookup.paths, queries=2 * answers)
        target = random_key(low, high, self._rng)
        self._searches.find_nodes(target, self.starters(target), limits, self._explored, now)

    def _explored(self, search: Search, now: float) -> None:
        if self._thin:
            self._explore(*self._thin.pop(), now)

    def _retry(self, now: float) -> None:
        upkeep = self._limits.upkeep
        self._next_retry = now + upkeep.lost_retry
        for each in [one for one in self._lost.values() if now - one.lost > upkeep.lost_age]:
            del self._lost[each.contact.node_id]
        lost = min(self._lost.values(), key=lambda one: one.tried, default=None)
        if lost is not None:
            lost.tried = now
            self._probe(lost.contact, now, lost)

    def _came_back(self, now: float) -> None:
        """One that was lost answers: maybe a whole part of the network is back."""
        if self._next_join is None and not self._joining:
            self._next_join = now
        self._next_retry = now

    def _greet(self, contacts: Iterable[Contact], now: float) -> None:
        """Asks those of `contacts` who are nearer than the farthest neighbour known, and not known."""
        neighbours = self._table.find_neighbors(self._table.node)
        full = len(neighbours) >= self._limits.k
        radius = neighbours[-1].long_id ^ self._key if full else KEY_SPACE
        for contact in contacts:
            known = contact.node_id in self._lost or self._table.knows(contact.node_id)
            if known or not contact.addresses or self._greeted >= GREETED_MAX:
                continue
            if node_key(contact.node_id) ^ self._key < radius:
                self._greeted += 1
                self._probe(contact, now)

    def _join(self, now: float) -> None:
        self._next_join = None
        if self._joining:
            return
        self._joining = True
        starters = self._table.nearest(self._key)
        starters += self._some_lost(self._limits.k - len(starters))
        self._searches.find_nodes(self._key, starters, self._limits.lookup, self._joined, now)

    def starters(self, target: int) -> list[Contact]:
        """Whom a lookup of `target` begins with; before anybody has answered, those it was told to begin with."""
        return self._table.nearest(target) or self._some_lost(self._limits.k)

    def _some_lost(self, count: int) -> list[Contact]:
        lost = self.lost
        return self._rng.sample(lost, count) if len(lost) > count else lost

    def _joined(self, search: Search, now: float) -> None:
        self._joining = False
        if not search.lookup.answers:
            self._next_join = now + self._wait
            self._wait = min(2 * self._wait, self._limits.upkeep.rejoin_last)
            return
        self._wait = self._limits.upkeep.rejoin_first
        self._tell_joined(now)
        few = self._limits.k // 4
        self._thin = [b.range for b in self._table.buckets if len(b) < few and not b.has_in_range(self._table.node)]
        self._explored(search, now)
