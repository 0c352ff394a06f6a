"""Who is on this LAN, as far as adverts can be believed.

Anybody on a LAN can say anything there in anybody's name. So an advert is only a hint whom to dial; the connection then
proves who is there. Here adverts are checked for their form, bounded in number, and cleared of addresses that no
neighbour has. When there are too many of them, members of this node's networks stay.
"""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

from forge_p2p.errors import Malformed
from forge_p2p.ids import NodeId
from forge_p2p.net.advert import decode_text, instance_name
from forge_p2p.net.base import Address
from forge_p2p.net.links import Links

MAX_PEERS = 4096


@dataclass(frozen=True, slots=True)
class Sighting:
    """A node on this LAN, as its advert has it: nothing of it is proven. `addresses`: likeliest first, at most 8, those
    that are link-local IPv6 with the scope they were heard on. `tags`: one for each of its networks, at most 15."""

    node_id: NodeId
    addresses: tuple[Address, ...]
    tags: frozenset[bytes]


OnChange = Callable[[str, Sighting | None], None]
IsOurs = Callable[[NodeId, frozenset[bytes]], bool]
"""Whether a node with these tags seems to be in a network of ours; called from the LAN's thread."""


def nobody(node_id: NodeId, tags: frozenset[bytes]) -> bool:  # noqa: ARG001 - an `IsOurs`
    """For nodes in no network."""
    return False


class Neighbours:
    """The nodes seen, by instance name. `on_change` is called with the name of each that came, changed or went,
    and with what is known of it now. Changed in one thread alone; `peers` may be read from others."""

    def __init__(self, own_id: NodeId, is_ours: IsOurs, on_change: OnChange) -> None:
        self.peers: dict[str, Sighting] = {}
        self._own_id = own_id
        self._is_ours = is_ours
        self._on_change = on_change
        self._seen: dict[str, float] = {}
        self._strangers: dict[str, None] = {}

    def networks_changed(self) -> None:
        """Looks again at who is ours."""
        self._strangers = {name: None for name, one in self.peers.items() if not self._is_ours(one.node_id, one.tags)}

    def saw(self, name: str, text: bytes, addresses: Iterable[str], port: int, links: Links, now: float) -> None:
        """An advert as it arrived. What is not one of a node, or says nowhere to reach it, is ignored."""
        try:
            advert = decode_text(text)
        except Malformed:
            return
        places = links.usable(addresses, port) if 0 < port <= 0xFFFF else ()
        if name != instance_name(advert.node_id) or advert.node_id == self._own_id:
            return
        if not places:
            self.lost(name)
            return
        sighting = Sighting(advert.node_id, places, advert.tags)
        known = self.peers.get(name)
        if known == sighting:
            self._seen[name] = now
            return
        is_ours = self._is_ours(sighting.node_id, sighting.tags)
        if known is None and not self._make_room(is_ours):
            return
        self._seen[name] = now
        self._strangers.pop(name, None)
        if not is_ours:
            self._strangers[name] = None
        self.peers[name] = sighting
        self._on_change(name, sighting)

    def lost(self, name: str) -> None:
        """A node said goodbye, or was not heard of for long."""
        if self.peers.pop(name, None) is not None:
            del self._seen[name]
            self._strangers.pop(name, None)
            self._on_change(name, None)

    def expire(self, heard: Container[str], before: float) -> None:
        """Loses those that are not `heard` of any more and were seen last `before` this."""
        for name in [name for name, seen in self._seen.items() if seen < before and name not in heard]:
            self.lost(name)

    def _make_room(self, is_ours: bool) -> bool:
        """Whether there is room for a newcomer; one of ours takes the place of the stranger known longest."""
        if len(self.peers) < MAX_PEERS:
            return True
        if not is_ours or not self._strangers:
            return False
        self.lost(next(iter(self._strangers)))
        return True
