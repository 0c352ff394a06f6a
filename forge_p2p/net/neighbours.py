"""Who is on this LAN, as far as adverts can be believed.

Anybody on a LAN can say anything there in anybody's name. So an advert is only a hint whom to dial; the connection then
proves who is there. Here adverts are checked for their form, bounded in number, and cleared of addresses that no
neighbour has. When there are too many of them, those that share a network's tag with this node stay.
"""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

from forge_p2p.errors import Malformed
from forge_p2p.ids import NodeId
from forge_p2p.net.advert import Advert, decode_text, instance_name
from forge_p2p.net.base import Address
from forge_p2p.net.links import Links

MAX_PEERS = 4096


@dataclass(frozen=True, slots=True)
class Sighting:
    """A node on this LAN, as its advert has it: nothing of it is proven. `addresses`: likeliest first, at most 8, those
    that are link-local IPv6 with the scope they were heard on. `tags`: one for each of its networks, at most 16."""

    node_id: NodeId
    addresses: tuple[Address, ...]
    tags: frozenset[bytes]


OnChange = Callable[[str, Sighting | None], None]


class Neighbours:
    """The nodes seen, by instance name. `on_change` is called with the name of each that came, changed or went,
    and with what is known of it now. Changed in one thread alone; `peers` may be read from others."""

    def __init__(self, me: Advert, on_change: OnChange) -> None:
        self.peers: dict[str, Sighting] = {}
        self._me = me
        self._on_change = on_change
        self._seen: dict[str, float] = {}

    def know(self, me: Advert) -> None:
        """This node has other networks now."""
        self._me = me

    def saw(self, name: str, text: bytes, addresses: Iterable[str], port: int, links: Links, now: float) -> None:
        """An advert as it arrived. What is not one of a node, or says nowhere to reach it, is ignored."""
        try:
            advert = decode_text(text)
        except Malformed:
            return
        places = links.usable(addresses, port) if 0 < port <= 0xFFFF else ()
        if name != instance_name(advert.node_id) or advert.node_id == self._me.node_id:
            return
        if not places:
            self.lost(name)
            return
        sighting = Sighting(advert.node_id, places, advert.tags)
        if name not in self.peers and not self._make_room(sighting):
            return
        self._seen[name] = now
        if self.peers.get(name) != sighting:
            self.peers[name] = sighting
            self._on_change(name, sighting)

    def lost(self, name: str) -> None:
        """A node said goodbye, or was not heard of for long."""
        if self.peers.pop(name, None) is not None:
            del self._seen[name]
            self._on_change(name, None)

    def expire(self, heard: Container[str], before: float) -> None:
        """Loses those that are not `heard` of any more and were seen last `before` this."""
        for name in [name for name, seen in self._seen.items() if seen < before and name not in heard]:
            self.lost(name)

    def _make_room(self, newcomer: Sighting) -> bool:
        if len(self.peers) < MAX_PEERS:
            return True
        if not self._is_related(newcomer):
            return False
        stranger = next((name for name, one in self.peers.items() if not self._is_related(one)), None)
        if stranger is not None:
            self.lost(stranger)
        return stranger is not None

    def _is_related(self, sighting: Sighting) -> bool:
        return not sighting.tags.isdisjoint(self._me.tags)
