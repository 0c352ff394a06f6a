"""What messages are made of: their numbers, their base, and the fields that several of them have."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from forge_p2p.content.contact import ADDRESSES_MAX, Contact, pack_contact, unpack_contact
from forge_p2p.ids import HASH_SIZE, NODE_ID_SIZE, PREFIX_SIZE, NodeId
from forge_p2p.wire import limits


class FrameType(IntEnum):
    """Numbers on the wire. Below 0x10: control stream. From 0x10: request streams."""

    HELLO = 0x01
    PROOF = 0x02
    CREDENTIALS = 0x03
    WELCOME = 0x04
    REFUSED = 0x05
    PING = 0x06
    PONG = 0x07
    GOODBYE = 0x08
    NEWS = 0x09
    WANT = 0x10
    DATA = 0x11
    MISSING = 0x12
    DONE = 0x13
    HAVE_QUERY = 0x14
    HAVE = 0x15
    FIND_NODE = 0x16
    NODES = 0x17
    FIND_PROVIDERS = 0x18
    PROVIDERS = 0x19
    ANNOUNCE = 0x1A
    FOLLOW = 0x1B
    HOLDINGS = 0x1C
    FOLLOWERS = 0x1D
    SUMMARY_QUERY = 0x20
    SUMMARY = 0x21
    RECONCILE = 0x22
    RECONCILED = 0x23
    DELTA = 0x28
    BASELESS = 0x29
    REF_PUT = 0x30
    REF_VERDICT = 0x31
    REF_READ = 0x32
    REF_RECORDS = 0x33
    REF_LIST = 0x34
    REF_NAMES = 0x35


U8 = Annotated[int, Meta(ge=0, le=0xFF)]
U16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
U32 = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
Reason = Annotated[str, Meta(max_length=limits.REASON_CHARS)]
Capability = Annotated[str, Meta(min_length=1, max_length=limits.CAPABILITY_CHARS)]
Token = Annotated[bytes, Meta(max_length=limits.TOKEN_MAX)]
Index = Annotated[int, Meta(ge=0, lt=limits.HASHES_MAX)]
OneHash = Annotated[bytes, Meta(min_length=HASH_SIZE, max_length=HASH_SIZE)]
Hashes = Annotated[bytes, Meta(min_length=HASH_SIZE, max_length=limits.HASHES_MAX * HASH_SIZE)]
"""Hashes one behind the other: one object to decode instead of a thousand."""
Signature = Annotated[bytes, Meta(min_length=1, max_length=limits.DELTA_SIGNATURE_MAX)]
"""Of a delta's base."""
Id = Annotated[bytes, Meta(min_length=NODE_ID_SIZE, max_length=NODE_ID_SIZE)]
DhtKey = Annotated[bytes, Meta(min_length=limits.DHT_KEY_SIZE, max_length=limits.DHT_KEY_SIZE)]
Ttl = Annotated[int, Meta(ge=0, le=limits.TTL_MAX)]
"""Seconds."""
Place = tuple[Annotated[bytes, Meta(min_length=4, max_length=16)], Annotated[int, Meta(ge=1, le=0xFFFF)]]
"""Packed IP address and UDP port."""
Places = Annotated[tuple[Place, ...], Meta(max_length=ADDRESSES_MAX)]

Addresses = tuple[tuple[str, int], ...]
"""Numeric IP address and UDP port, likeliest first."""


class Body(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of the messages whose body is a msgpack array."""

    TYPE: ClassVar[FrameType]


class PackedContact(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A node and where it is, as it travels. Turned into a `Contact` when somebody looks."""

    node_id: Id
    places: Places

    def __post_init__(self) -> None:
        check_places(self.places)

    @classmethod
    def of(cls, contact: Contact) -> "PackedContact":
        node_id, places = pack_contact(contact)
        return cls(node_id, tuple(places))

    @property
    def contact(self) -> Contact:
        return unpack_contact(self.node_id, list(self.places))


def pack_all(contacts: Iterable[Contact]) -> tuple[PackedContact, ...]:
    return tuple([PackedContact.of(contact) for contact in contacts])


def unpack_all(packed: Iterable[PackedContact]) -> tuple[Contact, ...]:
    return tuple([one.contact for one in packed])


def pack_addresses(addresses: Addresses) -> Places:
    """Raises `ValueError` for what is no numeric address."""
    return tuple(pack_contact(Contact(_NOBODY, addresses))[1])


def unpack_addresses(places: Places) -> Addresses:
    return unpack_contact(_NOBODY, list(places)).addresses


_NOBODY = NodeId(bytes(NODE_ID_SIZE))


def check_places(places: Places) -> None:
    """Raises `ValueError`, which a decoder makes `Malformed`."""
    for packed, _ in places:
        if len(packed) not in {4, 16}:
            raise ValueError(f"{len(packed)} bytes are not an IP address")


def check_hashes(blob: bytes) -> None:
    if len(blob) % HASH_SIZE:
        raise ValueError(f"{len(blob)} bytes are not a whole number of hashes")


def check_prefixes(blob: bytes) -> None:
    if len(blob) % PREFIX_SIZE:
        raise ValueError(f"{len(blob)} bytes are not a whole number of prefixes")
