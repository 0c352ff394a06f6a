"""What a node says of itself on a LAN: a DNS-SD instance (RFC 6763) of the service `_forge._udp`.

The instance is named by the first 8 bytes of the node id, in hexadecimal, and so is its host: no name of the machine,
its user or its networks is told. The TXT record has three entries:

    v=1
    id=<the node id, 64 hexadecimal digits>
    tags=<16 bytes for each network, as they are; at most 15>

A tag is made of the network's secret and the node's id (`content/blinding`); who does not have the secret sees random
bytes, different ones from each node.
"""

import re
from dataclasses import dataclass
from typing import Final

from forge_p2p.content.blinding import LAN_TAG_SIZE
from forge_p2p.errors import Malformed
from forge_p2p.ids import NODE_ID_SIZE, NodeId

SERVICE: Final = "_forge._udp.local."

MAX_TAGS: Final = 15
"""What one string of a TXT record has room for."""

_INSTANCE: Final = re.compile(r"[0-9a-f]{16}\._forge\._udp\.local\.", re.ASCII)
_ID: Final = re.compile(rb"[0-9a-f]{64}")
_MAX_TEXT: Final = 1300
"""Bytes of a TXT record that fits one packet (RFC 6763 section 6.2)."""


@dataclass(frozen=True, slots=True)
class Advert:
    """`tags`: at most `MAX_TAGS`, of `LAN_TAG_SIZE` bytes each."""

    node_id: NodeId
    tags: frozenset[bytes]


def instance_name(node_id: NodeId) -> str:
    """The full name of a node's instance."""
    return f"{node_id[:8].hex()}.{SERVICE}"


def host_name(node_id: NodeId) -> str:
    """The generated name that a node's addresses belong to."""
    return f"forge-{node_id[:8].hex()}.local."


def is_instance(name: str) -> bool:
    """Whether a node could be called so."""
    return _INSTANCE.fullmatch(name) is not None


def encode_text(advert: Advert) -> bytes:
    """The TXT record: strings of up to 255 bytes, each behind its length."""
    tags = sorted(advert.tags)[:MAX_TAGS]
    entries = (b"v=1", b"id=" + advert.node_id.hex().encode(), b"tags=" + b"".join(tags))
    return b"".join(bytes([len(entry)]) + entry for entry in entries)


def decode_text(text: bytes) -> Advert:
    """The advert in a TXT record; unknown entries are for later versions. Raises `Malformed`."""
    if len(text) > _MAX_TEXT:
        raise Malformed(f"a TXT record of {len(text)} bytes")
    entries = _entries(text)
    identity, tags = entries.get(b"id", b""), entries.get(b"tags", b"")
    if entries.get(b"v") != b"1":
        raise Malformed(f"an advert of version {entries.get(b'v')!r}")
    if not _ID.fullmatch(identity):
        raise Malformed(f"an advert of the node {identity[:80]!r}")
    if len(tags) % LAN_TAG_SIZE:
        raise Malformed(f"an advert with {len(tags)} bytes of tags")
    node_id = NodeId(bytes.fromhex(identity.decode()))
    assert len(node_id) == NODE_ID_SIZE
    return Advert(node_id, frozenset(tags[at : at + LAN_TAG_SIZE] for at in range(0, len(tags), LAN_TAG_SIZE)))


def _entries(text: bytes) -> dict[bytes, bytes]:
    """The record's entries; of several with one key the first counts (RFC 6763 section 6.4)."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(text):
        end = at + 1 + text[at]
        if end > len(text):
            raise Malformed("a TXT record that ends in the middle of an entry")
        key, equals, value = text[at + 1 : end].partition(b"=")
        if equals:
            found.setdefault(key.lower(), value)
        at = end
    return found
