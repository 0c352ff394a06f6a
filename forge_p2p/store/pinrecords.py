"""A pin as bytes: a magic number, a checksum and a msgpack array, so that it can be told without its database."""

from mmap import mmap
from struct import Struct
from struct import error as struct_error
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

from forge_p2p.content.link import Kind, Link, Root
from forge_p2p.errors import StoreError
from forge_p2p.ids import Hash
from forge_p2p.store.base import Keep, Pin
from forge_p2p.store.records import Buffer

PIN_MAGIC: Final = b"FgPin1"
_HEAD = Struct("<6sHQ")
"""Magic, bytes that follow, their XXH3-64: a pin with a wrong bit would keep the wrong content."""


class _Record(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    name: str
    kind: str
    hash: bytes
    size: int
    level: int
    keep: str
    expires: float
    used: float


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Record)


def pack_pin(pin: Pin) -> bytes:
    link = pin.root.link
    body = _encoder.encode(
        _Record(pin.name, pin.root.kind.value, link.hash, link.size, link.level, pin.keep.value, pin.expires, pin.used)
    )
    return _HEAD.pack(PIN_MAGIC, len(body), xxh3_64_intdigest(body)) + body


def unpack_pin(value: bytes) -> Pin:
    """Raises `StoreError` for a damaged record."""
    pin = pin_at(value, 0)
    if pin is None:
        raise StoreError("the record of a pin is damaged", hint="run `forge store rebuild`")
    return pin


def pin_at(data: Buffer | mmap, at: int) -> Pin | None:
    """The pin whose record begins at this offset, if it is one and its bytes are right."""
    try:
        magic, size, check = _HEAD.unpack_from(data, at)
        body = data[at + _HEAD.size : at + _HEAD.size + size]
        if magic != PIN_MAGIC or xxh3_64_intdigest(body) != check:
            return None
        record = _decoder.decode(body)
        root = Root(Kind(record.kind), Link(Hash(record.hash), record.size, record.level))
        return Pin(record.name, root, Keep(record.keep), record.expires, record.used)
    except (msgspec.MsgspecError, ValueError, struct_error):
        return None
