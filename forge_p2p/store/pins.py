"""Pins: names that keep content alive. Small records in the database, each change one durable transaction."""

import time
from typing import Final

from forge_p2p.errors import UsageError
from forge_p2p.store.base import Pin
from forge_p2p.store.claims import Claims
from forge_p2p.store.environment import Transaction
from forge_p2p.store.pinrecords import pack_pin, unpack_pin
from forge_p2p.store.tables import get, rows

NAME_MAX: Final = 400
"""Bytes of a pin's name in UTF-8; LMDB's keys end at 511."""


def set_pin(claims: Claims, pin: Pin) -> None:
    """Adds a pin, or replaces the one of the same name."""
    claims.environment.write(lambda transaction: put_pin(claims, transaction, pin))


def put_pin(claims: Claims, transaction: Transaction, pin: Pin) -> None:
    """The same as part of a transaction."""
    transaction.put(_key(pin.name), pack_pin(pin), db=claims.pins)
    claims.count_pin_change(transaction)


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
    return [unpack_pin(value) for _, value in rows(transaction, claims.pins)]


def touch_pin(claims: Claims, name: str, now: float) -> bool:
    """Marks a pin as used now; whether there is one."""
    key = _key(name)

    def work(transaction: Transaction) -> bool:
        value = get(transaction, key, claims.pins)
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
