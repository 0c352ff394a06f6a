"""Contacts: a node and where to reach it, as every message and token that names nodes has them.

Encoded as the msgpack array `[node id, [[packed IP address, port], ...]]`.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from forge_p2p.errors import Malformed
from forge_p2p.ids import NODE_ID_SIZE, NodeId

ADDRESSES_MAX: Final = 8

Packed = tuple[bytes, list[tuple[bytes, int]]]


@dataclass(frozen=True, slots=True)
class Contact:
    """`addresses`: numeric IP address and UDP port, likeliest first, at most `ADDRESSES_MAX`."""

    node_id: NodeId
    addresses: tuple[tuple[str, int], ...]


def means_something_elsewhere(host: str) -> bool:
    """Whether others can use this numeric address: a link-local one is good on its own link alone, and no node is
    reached at an unspecified or multicast one."""
    address = ip_address(host.partition("%")[0])
    return not (address.is_link_local or address.is_unspecified or address.is_multicast)


def pack_contact(contact: Contact) -> Packed:
    """As it goes into a message's array."""
    return contact.node_id, [(ip_address(host).packed, port) for host, port in contact.addresses[:ADDRESSES_MAX]]


def unpack_contact(node_id: bytes, addresses: list[tuple[bytes, int]]) -> Contact:
    """The contact of a decoded array. Raises `Malformed`."""
    if len(node_id) != NODE_ID_SIZE or len(addresses) > ADDRESSES_MAX:
        raise Malformed(f"a contact with {len(node_id)} bytes of id and {len(addresses)} addresses")
    places = []
    for packed, port in addresses:
        if len(packed) not in {4, 16} or not 0 < port <= 0xFFFF:
            raise Malformed(f"a contact's address of {len(packed)} bytes, port {port}")
        places.append((str(ip_address(packed)), port))
    return Contact(NodeId(node_id), tuple(places))
