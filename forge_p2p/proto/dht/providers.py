"""Records kept for others: who said of itself, and until when, that it has a key.

Nobody announces another: the record names whoever proved its id in the session that the announcement came over. All is
bounded, for each key (and subnet), each sender and in total. Where it is full a new record finds no place rather than
pushing out an older one: filling a node up takes nothing away from those who came before, and expiry makes room.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from forge_p2p.content.contact import Contact
from forge_p2p.ids import NodeId
from forge_p2p.proto.dht.keyspace import Randomness
from forge_p2p.proto.dht.limits import ProviderLimits
from forge_p2p.proto.dht.messages import PROVIDERS_MAX, Provider
from forge_p2p.proto.dht.subnets import Caps, Place, place_of, spread
from forge_p2p.proto.timers import Deadlines

_DROPPED_AT_ONCE: Final = 64
"""Expired records taken out by one message, so that none has to wait for all of them."""


@dataclass(slots=True)
class _Record:
    contact: Contact
    place: Place | None
    expires: float


class ProviderRecords:
    """Provider sets by key."""

    def __init__(self, limits: ProviderLimits, caps: Caps, rng: Randomness) -> None:
        self._limits = limits
        self._caps = caps
        self._rng = rng
        self._keys: dict[bytes, dict[NodeId, _Record]] = {}
        self._of_sender: dict[NodeId, int] = {}
        self._expiry: Deadlines[tuple[bytes, NodeId]] = Deadlines()

    def __len__(self) -> int:
        return len(self._expiry)

    def __iter__(self) -> Iterator[tuple[bytes, NodeId, float]]:
        """Key, provider and when the record ends, of all."""
        for key, providers in self._keys.items():
            for node_id, record in providers.items():
                yield key, node_id, record.expires

    def put(self, key: bytes, sender: Contact, ttl: int, now: float) -> bool:
        """`sender` has `key` for `ttl` seconds more (at most a day; 0: no longer). False if there is no room."""
        self.expire(now)
        providers = self._keys.get(key, {})
        known = sender.node_id in providers
        if ttl <= 0:
            if known:
                self._expiry.cancel((key, sender.node_id))
                self._forget(key, sender.node_id)
            return True
        place = place_of(sender.addresses[0][0]) if sender.addresses else None
        if not known:
            if not self._has_room(providers, sender.node_id, place):
                return False
            self._of_sender[sender.node_id] = self._of_sender.get(sender.node_id, 0) + 1
        expires = now + min(ttl, self._limits.ttl_max)
        self._keys.setdefault(key, providers)[sender.node_id] = _Record(sender, place, expires)
        self._expiry.set((key, sender.node_id), expires)
        return True

    def get(self, key: bytes, now: float) -> tuple[Provider, ...]:
        """Those who have `key`: at most 32, chosen at random, not all of one subnet if there are others."""
        records = [record for record in self._keys.get(key, {}).values() if record.expires > now]
        if len(records) > PROVIDERS_MAX:
            self._rng.shuffle(records)
            in_order = [(at, record.place, record) for at, record in enumerate(records)]
            records = [record for _, _, record in spread(in_order, PROVIDERS_MAX, self._caps)[0]]
        return tuple([Provider(record.contact, max(1, int(record.expires - now))) for record in records])

    def expire(self, now: float) -> None:
        """Takes out some of what is past its time."""
        for _ in range(_DROPPED_AT_ONCE):
            entry = self._expiry.pop(now)
            if entry is None:
                return
            self._forget(*entry)

    def _has_room(self, providers: dict[NodeId, _Record], sender: NodeId, place: Place | None) -> bool:
        limits = self._limits
        if (
            len(providers) >= limits.per_key
            or self._of_sender.get(sender, 0) >= limits.per_sender
            or len(self._expiry) >= limits.total
        ):
            return False
        if place is None or len(providers) < limits.per_key_and_site:
            return True
        places = [record.place for record in providers.values() if record.place is not None]
        in_site = sum(site == place[0] for site, _ in places)
        in_block = sum(block == place[1] for _, block in places)
        return in_site < limits.per_key_and_site and in_block < limits.per_key_and_block

    def _forget(self, key: bytes, sender: NodeId) -> None:
        del self._keys[key][sender]
        if not self._keys[key]:
            del self._keys[key]
        self._of_sender[sender] -= 1
        if not self._of_sender[sender]:
            del self._of_sender[sender]
