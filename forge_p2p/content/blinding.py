"""Names of a network's things that mean nothing to who does not know its secret.

Both are HMAC-SHA256 (RFC 2104) under the network's secret over a domain and the thing, cut to the length that their
place has room for. Who knows a file cannot ask the DHT for it, and who hears an advert on the LAN cannot tell which
network it is of, nor that two nodes are of the same one.
"""

import hmac
from typing import Final

from forge_p2p.ids import Hash, NodeId

DHT_KEY_SIZE: Final = 20
"""160 bits, Kademlia's own."""

LAN_TAG_SIZE: Final = 16

_DHT: Final = b"forge dht key v1\0"
_LAN: Final = b"forge lan tag v1\0"


def dht_key(secret: bytes, root: Hash) -> bytes:
    """Where a root's providers are announced in the DHT of the network with this secret: `DHT_KEY_SIZE` bytes."""
    return hmac.digest(secret, _DHT + root, "sha256")[:DHT_KEY_SIZE]


def lan_tag(secret: bytes, node_id: NodeId) -> bytes:
    """What a node says on the LAN so that members of the network with this secret know it: `LAN_TAG_SIZE` bytes."""
    return hmac.digest(secret, _LAN + node_id, "sha256")[:LAN_TAG_SIZE]
