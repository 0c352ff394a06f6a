"""Tickets: a link, who has it, where, and the right to fetch it, as one word of text.

A ticket is a bearer's: whoever has the text may fetch. The right is a `Capability`, which the sharing node signs with
its own key and checks itself when it is shown again, so that it need not remember what it gave out; it only remembers
what it took back (by `Capability.id`). It opens what its root reaches and nothing else.
"""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from forge_p2p.content.armor import armor, unarmor
from forge_p2p.content.link import Kind, Link, Root
from forge_p2p.content.linktext import is_possible
from forge_p2p.content.moment import since
from forge_p2p.content.ticketname import TICKET_NAME
from forge_p2p.errors import Malformed, Refused, UsageError
from forge_p2p.ids import NODE_ID_SIZE, Hash, NodeId

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TICKET_VERSION: Final = 1
MAX_ADDRESSES: Final = 16

CAPABILITY_FORMAT: Final = 1
CAPABILITY_ID_SIZE: Final = 16

_DOMAIN: Final = b"forge capability v1\0"
"""Goes before what is signed, so that no signature made for another purpose can be shown as a capability."""

_BODY = struct.Struct(f"<B{NODE_ID_SIZE}sBBQ32sQ{CAPABILITY_ID_SIZE}s")
"""Format, issuer, kind, level, size, hash, expiry, id."""

_SIGNATURE_SIZE: Final = 64
CAPABILITY_SIZE: Final = _BODY.size + _SIGNATURE_SIZE
"""163 bytes."""

_KINDS: Final = (Kind.BLOB, Kind.TREE, Kind.GIT)
_PORT = struct.Struct("<H")
_FAMILIES: Final[dict[int, type[IPv4Address] | type[IPv6Address]]] = {4: IPv4Address, 6: IPv6Address}


@dataclass(frozen=True, slots=True)
class Capability:
    """The right to fetch what `root` reaches from the node `issuer`, whose signature it bears.

    `expires` is in Unix seconds, 0 = never; `id` is 16 random bytes, by which it can be revoked.
    """

    issuer: NodeId
    root: Root
    expires: int
    id: bytes
    signature: bytes

    def encode(self) -> bytes:
        """`CAPABILITY_SIZE` bytes, as they go over the wire."""
        return self.signed_part() + self.signature

    def signed_part(self) -> bytes:
        """All but the signature."""
        link = self.root.link
        kind = _KINDS.index(self.root.kind)
        return _BODY.pack(CAPABILITY_FORMAT, self.issuer, kind, link.level, link.size, link.hash, self.expires, self.id)


@dataclass(frozen=True, slots=True)
class Ticket:
    """`addresses` are (numeric IP address, UDP port) of the issuing node, likeliest first, at most `MAX_ADDRESSES`."""

    capability: Capability
    addresses: tuple[tuple[str, int], ...]

    @property
    def root(self) -> Root:
        return self.capability.root

    @property
    def server(self) -> NodeId:
        return self.capability.issuer


def issue(
    key: "Ed25519PrivateKey",
    root: Root,
    addresses: Sequence[tuple[str, int]] = (),
    *,
    expires: int = 0,
    identity: bytes | None = None,
) -> Ticket:
    """A ticket of the node that holds `key`. `expires` is in Unix seconds, 0 = never; `identity` is the capability's
    id, fresh from the operating system unless given.

    Raises `UsageError` for an expiry or an address that cannot be in one; of the addresses the first `MAX_ADDRESSES`
    are taken.
    """
    if identity is None:
        identity = os.urandom(CAPABILITY_ID_SIZE)
    if not 0 <= expires < 1 << 63:
        raise UsageError(f"a ticket cannot expire at {expires} seconds after 1970")
    places = b"".join(_encode_address(host, port) for host, port in addresses[:MAX_ADDRESSES])
    issuer = NodeId(key.public_key().public_bytes_raw())
    unsigned = Capability(issuer, root, expires, identity, b"")
    signature = key.sign(_DOMAIN + unsigned.signed_part())
    capability = Capability(issuer, root, expires, identity, signature)
    return Ticket(capability, _decode_addresses(places))  # in their canonical spelling


def verify(capability: Capability, node: NodeId, now: float) -> None:
    """Raises `Refused`, saying why, unless `node` issued the capability, as it is, and it has not expired at `now`.

    The serving node asks with its own id; a client may ask with `Ticket.server` before it dials.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if capability.issuer != node:
        raise Refused(
            f"this ticket was issued by node {capability.issuer.hex()[:16]}, not by {node.hex()[:16]}",
            hint="a ticket is good at the node that issued it only",
        )
    try:
        Ed25519PublicKey.from_public_bytes(node).verify(capability.signature, _DOMAIN + capability.signed_part())
    except (InvalidSignature, ValueError) as error:
        raise Refused("this ticket was tampered with: its signature is wrong", hint="ask for a new one") from error
    if capability.expires and now >= capability.expires:
        raise Refused(f"this ticket expired {since(capability.expires, now)}", hint="ask for a new one")


def format_ticket(ticket: Ticket) -> str:
    """The text of `ticket`, about 310 characters; `parse_ticket` takes it back."""
    places = b"".join(_encode_address(host, port) for host, port in ticket.addresses)
    return armor(TICKET_NAME, TICKET_VERSION, ticket.capability.encode() + places)


def parse_ticket(text: str) -> Ticket:
    """The ticket that `text` is; nothing is verified yet but the text. Raises `UsageError`: no ticket, another
    version, truncated, mistyped, impossible."""
    _, body = unarmor(text, (TICKET_NAME,), TICKET_VERSION, "ticket")
    try:
        return Ticket(decode_capability(body[:CAPABILITY_SIZE]), _decode_addresses(body[CAPABILITY_SIZE:]))
    except Malformed as error:
        raise UsageError(f"this ticket is malformed: {error.message}", hint="ask for a new one") from error


def decode_capability(data: bytes) -> Capability:
    """The capability that `Capability.encode` made `data` of, not verified. Raises `Malformed`."""
    if len(data) != CAPABILITY_SIZE:
        raise Malformed(f"a capability has {CAPABILITY_SIZE} bytes, not {len(data)}")
    form, issuer, kind, level, size, name, expires, identity = _BODY.unpack_from(data)
    if form != CAPABILITY_FORMAT:
        raise Malformed(f"capability of format {form}, this version reads {CAPABILITY_FORMAT}")
    if kind >= len(_KINDS) or not is_possible(size, level):
        raise Malformed(f"capability for an impossible root: kind {kind}, {size} bytes at level {level}")
    root = Root(_KINDS[kind], Link(Hash(name), size, level))
    return Capability(NodeId(issuer), root, expires, identity, data[_BODY.size :])


def _encode_address(host: str, port: int) -> bytes:
    try:
        address = ip_address(host)
    except ValueError as error:
        raise UsageError(f"not a numeric IP address: {host!r}") from error
    if not 0 < port <= 0xFFFF or (isinstance(address, IPv6Address) and address.scope_id):
        raise UsageError(f"an address that means nothing elsewhere: {host} port {port}")
    return bytes((address.version,)) + address.packed + _PORT.pack(port)


def _decode_addresses(data: bytes) -> tuple[tuple[str, int], ...]:
    addresses: list[tuple[str, int]] = []
    while data:
        family = _FAMILIES.get(data[0])
        end = 1 + (4 if family is IPv4Address else 16) + _PORT.size
        port = int.from_bytes(data[end - _PORT.size : end], "little")
        if family is None or len(data) < end or port == 0 or len(addresses) == MAX_ADDRESSES:
            raise Malformed(f"its addresses cannot be read: {data[:end].hex()}")
        addresses.append((str(family(data[1 : end - _PORT.size])), port))
        data = data[end:]
    return tuple(addresses)
