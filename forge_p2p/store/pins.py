"""Pins: names that keep content alive. Small records in the database, each change one durable transaction."""

import time
from mmap import mmap
from struct import Struct
from struct import error as struct_error
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

from forge_p2p.content.link import Kind, Link, Root
from forge_p2p.errors import StoreError, UsageError
from forge_p2p.ids import Hash
from forge_p2p.store.base import Keep, Pin
from forge_p2p.store.claims import Claims
from forge_p2p.store.environment import Transaction
from forge_p2p.store.records import Buffer

NAME_MAX: Final = 400
"""Bytes of a pin's name in UTF-8; LMDB's keys end at 511."""

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


def set_pin(claims: Claims, pin: Pin) -> None:
    """Adds a pin, or replaces the one of the same name."""
    key = _key(pin.name)

    def work(transaction: Transaction) -> None:
        transaction.put(key, pack_pin(pin), db=claims.pins)
        claims.count_pin_change(transaction)

    claims.environment.write(work)


def remove_pins(claims: Claims, names: list[str]) -> int:
    """How many of these there were."""
    keys = [_key(name) for name in names]
    return claims.environment.write(lambda transaction: sum(transaction.delete(key, db=claims.pins) for key in keys))


def list_pins(claims: Claims) -> list[Pin]:
    """All that have not expired, by name."""
    now = time.time()
    return [pin for pin in every_pin(claims) if not 0 < pin.expires <= now]


def every_pin(claims: Claims) -> list[Pin]:
    """Expired ones too."""
    with claims.environment.read() as transaction:
        return pins_in(claims, transaction)


def pins_in(claims: Claims, transaction: Transaction) -> list[Pin]:
    with transaction.cursor(claims.pins) as cursor:
        return [unpack_pin(value) for value in cursor.iternext(keys=False, values=True)]


def touch_pin(claims: Claims, name: str, now: float) -> bool:
    """Marks a pin as used now; whether there is one."""
    key = _key(name)

    def work(transaction: Transaction) -> bool:
        value = transaction.get(key, db=claims.pins)
        if value is None:
            return False
        old = unpack_pin(value)
        transaction.put(key, pack_pin(Pin(old.name, old.root, old.keep, old.expires, now)), db=claims.pins)
        return True

    return claims.environment.write(work)


def _key(name: str) -> bytes:
    key = name.encode("utf-8", "surrogateescape")
    if not 0 < len(key) <= NAME_MAX:
        raise UsageError(f"a pin's name has 1 to {NAME_MAX} bytes, this has {len(key)}: {name[:40]!r}")
    return key
