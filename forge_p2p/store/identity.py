"""The file that says which store this is and in what format. Three lines: `forge store 1`, 16 bytes in hexadecimal, and
the XXH3-64 of both lines in hexadecimal.

The same 16 bytes are in both databases. So a database that lost its content is told from a new one, and an index from
that of another store.
"""

import os
from typing import Final

from xxhash import xxh3_64_hexdigest

from forge_p2p.errors import Malformed, StoreError
from forge_p2p.store.durable import write_durably
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.layout import FORMAT, Layout

_SIZE: Final = 16
_INTRODUCTION: Final = "forge store "


def new_identity() -> bytes:
    return os.urandom(_SIZE)


def read_identity(layout: Layout) -> bytes | None:
    """`None` for a store that is not completely made yet. Raises `StoreError` for another format, `Malformed`."""
    with disk_errors(layout.identity):
        try:
            lines = layout.identity.read_text("ascii", "replace").splitlines()
        except FileNotFoundError:
            return None
    try:
        first, second, check = lines
        number, identity = int(first.removeprefix(_INTRODUCTION)), bytes.fromhex(second)
        if check != _check(first, second):
            raise ValueError(check)
    except ValueError as error:
        raise Malformed(f"{layout.identity} is damaged", hint="run `forge store rebuild`") from error
    if number != FORMAT:
        raise StoreError(f"{layout.root} has format {number}, this version of Forge reads {FORMAT}")
    return identity


def write_identity(layout: Layout, identity: bytes) -> None:
    first, second = f"{_INTRODUCTION}{FORMAT}", identity.hex()
    write_durably(layout.identity, f"{first}\n{second}\n{_check(first, second)}\n".encode())


def _check(first: str, second: str) -> str:
    return xxh3_64_hexdigest(f"{first}\n{second}\n".encode())
