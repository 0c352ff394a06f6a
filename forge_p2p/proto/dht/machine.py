"""The DHT of one network, as one of its nodes sees it: Kademlia without I/O, clock or randomness of its own.

The driver reports what happens and does what `take` gives: it asks contacts (`SendQuery`) over authenticated sessions
and hands on what was found. After anything it reported it calls `take`, and `handle_timeout` at `next_deadline`. Only
nodes of the network may be reported, and queries only of those; keys are blinded by the caller.
"""

from collections.abc import Iterable
from typing import Final, assert_never

from forge_p2p.content.contact import ADDRESSES_MAX, Contact
from forge_p2p.ids import NodeId
from forge_p2p.proto.dht.announcing import Announcing
from forge_p2p.proto.dht.calls import Call, Calls, Patience
from forge_p2p.proto.dht.keyspace import KEY_SIZE, Randomness, node_key
from forge_p2p.proto.dht.limits import DhtLimits
from forge_p2p.proto.dht.messages import (
    PROVIDERS_MAX,
    Accepted,
    Announce,
    Declined,
    FindNode,
    FindProviders,
    Nodes,
    Output,
    Provider,
    Providers,
    Query,
    Reply,
)
from forge_p2p.proto.dht.providers import ProviderRecords
from forge_p2p.proto.dht.routing import Table
from forge_p2p.proto.dht.searches import Searches
from forge_p2p.proto.dht.upkeep import Upkeep

TTL_AGENT = 15 * 60
"""Seconds an announcement lives unless its maker says otherwise: records of a day left dead peers behind
(spegel #1365)."""
TTL_MIN = 60


class Dht:
    """One node's part of the DHT of one network.

    `addresses`: where this node accepts connections, likeliest first; empty if it does not, and then it can look up but
    not provide. All times are seconds on the caller's clock. `table` and `records` (others' announcements) are there to
    be looked at.
    """

    def __init__(
        self,
        node_id: NodeId,
        rng: Randomness,
        now: float,
        addresses: Iterable[tuple[str, int]] = (),
        limits: DhtLimits | None = None,
    ) -> None:
        limits = limits or DhtLimits()
        self._node_id = node_id
        self._limits = limits
        self._out: list[Output] = []
        self._now = now
        self._failures = 0
        self.table: Final = Table(node_key(node_id), limits.k, limits.caps, limits.upkeep.stale, now)
        self._calls = Calls(self._out)
        self._searches = Searches(node_id, self._calls, self._out, limits.caps)
        self.records: Final = ProviderRecords(limits.providers, limits.caps, rng)
        self._upkeep = Upkeep(node_id, self.table, self._calls, self._searches, limits, rng, self._joined, now)
        self._announcing = Announcing(self._calls, self._searches, limits, self._upkeep.starters)
        self._announcing.addresses = tuple(addresses)[:ADDRESSES_MAX]

    # What the driver learns

    def peer_seen(self, contact: Contact, now: float) -> None:
        """A session with this node is up. Its first address is the one in use; one at which it accepts no connections
        (a client behind a NAT) has to be left out: without addresses it is answered, and never named to others."""
        self._saw(contact, now)

    def peer_failed(self, node_id: NodeId, now: float) -> None:
        """A node could not be reached, other than by a query of this machine."""
        self._blame(node_id, now)

    def receive_query(self, sender: Contact, message: Query, now: float) -> Reply:
        """Answers a member's query at once. `sender`: its first address is the one in use. Asking gives nobody a place
        in the table: `peer_seen` does, for those who stay."""
        if self.table.get(sender.node_id) is not None:
            self._saw(sender, now)
        match message:
            case FindNode(target):
                return Nodes(self._nearest(target, sender))
            case FindProviders(key):
                return Providers(self._providers(key, now), self._nearest(key, sender))
            case Announce(key, ttl, addresses):
                provider = Contact(sender.node_id, tuple(dict.fromkeys(sender.addresses + addresses))[:ADDRESSES_MAX])
                return Accepted() if self.records.put(key, provider, ttl, now) else Declined()
            case _:
                assert_never(message)

    def receive_reply(self, rpc: int, message: Reply, now: float) -> None:
        """The answer to a `SendQuery`; one that does not belong to the question counts as failed."""
        call = self._calls.answered(rpc, now)
        if call is None:
            return
        if not _fits(call, message):
            self._blame(call.contact.node_id, now)
            call.owner.failed(call, now)
            return
        self._saw(call.contact, now)
        call.owner.replied(call, message, now)

    def rpc_failed(self, rpc: int, now: float) -> None:
        """There will be no answer to a `SendQuery`."""
        call = self._calls.taken(rpc)
        if call is not None:
            self._blame(call.contact.node_id, now)
            call.owner.failed(call, now)

    # What the node wants

    def find_providers(self, key: bytes, now: float) -> int:
        """Looks for nodes that have `key` (20 bytes): `ProvidersFound` as they come, then `LookupDone`. Call `stop` as
        soon as one of them is good: after a while without that the lookup goes on. Returns the lookup's id."""
        place = int.from_bytes(_checked(key), "big")
        self.table.bucket_of(place).touch_last_updated(now)
        known = self.records.get(key, now)
        return self._searches.find_providers(key, known, self._upkeep.starters(place), self._limits.lookup, now)

    def stop(self, lookup: int, now: float) -> None:
        """Enough was found: `LookupDone` comes at once. Nothing happens if it is over."""
        self._searches.stop(lookup, now)

    def announce(self, key: bytes, ttl: int, now: float, after: float = 0.0) -> None:
        """This node has `key`, until `withdraw`. `ttl`: seconds, 60 to a day, for which others remember it; it is said
        again at half of that. `after`: seconds for which that can wait; it is said before if that costs no lookup."""
        ttl = min(max(ttl, TTL_MIN), self._limits.providers.ttl_max)
        self._announcing.announce(_checked(key), ttl, now, after)

    def withdraw(self, key: bytes, now: float) -> None:
        """This node no longer has `key`: tells those who were told."""
        self._announcing.withdraw(key, now)

    def move(self, addresses: Iterable[tuple[str, int]], now: float) -> None:
        """This node's addresses have changed: announces everything anew and shows itself to its neighbours."""
        moved = tuple(addresses)[:ADDRESSES_MAX]
        if moved != self._announcing.addresses:
            self._announcing.addresses = moved
            self._announcing.announce_all(now)
            self._upkeep.join_soon(now)

    def woke(self, now: float) -> None:
        """This machine was suspended: what was under way is lost, and that is nobody's fault."""
        calls = self._calls.drained()
        self._searches.stop_all(now)
        for call in calls:
            call.owner.failed(call, now)
        self._calls.patience = Patience()
        self._upkeep.join_soon(now)

    def restore(self, contacts: Iterable[Contact], now: float) -> None:
        """Nodes to begin with: from `contacts` of an earlier run, or of an invitation. Joins at the next timeout."""
        for contact in contacts:
            self._upkeep.remember(contact, now, now)
        self._upkeep.join_soon(now)

    def contacts(self) -> list[Contact]:
        """Nodes to begin with next time: those known, longest first, then those that were."""
        known = sorted(self.table, key=lambda peer: (peer.failures, peer.since))
        return [peer.contact for peer in known] + self._upkeep.lost

    # Time and outputs

    def next_deadline(self) -> float:
        """When `handle_timeout` has to be called next."""
        due = self._upkeep.next_deadline()
        for part in (self._calls, self._searches, self._announcing):
            when = part.next_deadline()
            if when is not None and when < due:
                due = when
        return due

    def handle_timeout(self, now: float) -> None:
        if now - self.next_deadline() > self._limits.upkeep.slept_after:
            self.woke(now)
        self._now = now
        for call, over in self._calls.expired(now):
            if over:
                self._blame(call.contact.node_id, now)
                call.owner.failed(call, now)
            else:
                call.owner.late(call, now)
        self._searches.handle_timeout(now)
        self._announcing.handle_timeout(now)
        self._upkeep.handle_timeout(now, self.offline)

    def take(self) -> list[Output]:
        """What to do, in this order; each is given once."""
        out = self._out[:]
        self._out.clear()
        return out

    # What people want to know

    @property
    def behind(self) -> int:
        """Announcements that are overdue by more than a minute, as of the last timeout."""
        return self._announcing.behind(self._now)

    @property
    def announced(self) -> int:
        """Keys this node provides."""
        return len(self._announcing)

    @property
    def size(self) -> int:
        """Contacts in the routing table."""
        return len(self.table)

    @property
    def offline(self) -> bool:
        """Whether nobody known has answered for a while."""
        return self._failures >= self._limits.upkeep.offline_after

    def _saw(self, contact: Contact, now: float) -> None:
        if self.offline or not len(self.table):
            self._upkeep.join_soon(now)
        if self.offline:
            self._announcing.announce_all(now)
        self._failures = 0
        self._upkeep.met(contact)
        doubtful = self.table.saw(contact, now)
        if doubtful is not None:
            self._upkeep.doubt(doubtful, now)

    def _joined(self, now: float) -> None:
        self._announcing.resume(now)

    def _blame(self, node_id: NodeId, now: float) -> None:
        if self.table.get(node_id) is None:
            return
        self._failures += 1
        if not self.offline:
            gone = self.table.failed(node_id)
            if gone is not None:
                self._upkeep.remember(gone.contact, gone.since, now)

    def _nearest(self, target: bytes, asker: Contact) -> tuple[Contact, ...]:
        return tuple(self.table.nearest(int.from_bytes(target, "big"), exclude=node_key(asker.node_id)))

    def _providers(self, key: bytes, now: float) -> tuple[Provider, ...]:
        found = self.records.get(key, now)
        ttl = self._announcing.ttl(key)
        if ttl and self._announcing.addresses:
            return (Provider(Contact(self._node_id, self._announcing.addresses), ttl), *found)[:PROVIDERS_MAX]
        return found


def _fits(call: Call, message: Reply) -> bool:
    match call.message:
        case FindNode():
            return isinstance(message, Nodes)
        case FindProviders():
            return isinstance(message, Providers)
        case Announce():
            return isinstance(message, Accepted | Declined)
        case _:
            assert_never(call.message)


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_SIZE:
        raise ValueError(f"a key of the DHT has {KEY_SIZE} bytes, not {len(key)}")
    return key
