"""Repairing a store that cannot be opened: what its database file still holds is found without the database.

Every inline chunk and every pin begins with a magic number and carries a checksum, so the bytes of a broken
`store.lmdb` are searched for them. Of a pin's several versions the one used last is taken, and one that was removed may
come back: too much is kept rather than too little. The broken file itself goes to quarantine.
"""

import mmap
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from forge_p2p.config import StoreConfig
from forge_p2p.content.codec import EncodedChunk
from forge_p2p.errors import Malformed, StoreError
from forge_p2p.store.base import Pin, Progress, Rebuilt
from forge_p2p.store.claims import Claims
from forge_p2p.store.damage import damage
from forge_p2p.store.durable import sync_folder
from forge_p2p.store.environment import remove_database
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.identity import new_identity, read_identity, write_identity
from forge_p2p.store.layout import Layout
from forge_p2p.store.locks import lock_file
from forge_p2p.store.opening import open_disk_store
from forge_p2p.store.pinrecords import PIN_MAGIC, pin_at
from forge_p2p.store.pins import every_pin, set_pin
from forge_p2p.store.records import CODECS, INLINE_MAGIC, inline_at

_BATCH: Final = 256
"""Chunks a transaction takes in; at most 16 MiB."""


def repair(path: Path, config: StoreConfig, progress: Progress | None = None) -> Rebuilt:
    """Makes the store at `path` sound again, as far as its bytes allow. No process may have it open."""
    layout = Layout(path)
    lock = lock_file(layout.lock)
    if lock is None:
        raise StoreError(f"{path} is in use", hint="stop the node first: forge down")
    try:
        identity = _known_identity(layout)
        pins = _salvage(layout, identity) if damage(layout.claims) else []
        _mend(layout, identity)
        remove_database(layout.index)
    finally:
        lock.release()
    store = open_disk_store(path, config)
    try:
        rebuilt = store.rebuild(progress)
    finally:
        store.close()
    return Rebuilt(rebuilt.files, rebuilt.chunks, rebuilt.bytes, rebuilt.lost, pins)


def _known_identity(layout: Layout) -> bytes:
    """The store's identity. Raises `StoreError` for a store of another format: that is not for us to repair."""
    try:
        return read_identity(layout) or new_identity()
    except Malformed:
        return new_identity()


def _mend(layout: Layout, identity: bytes) -> None:
    write_identity(layout, identity)
    claims = Claims(layout.claims)
    try:
        claims.mend(identity)
    finally:
        claims.close()


def _salvage(layout: Layout, identity: bytes) -> list[str]:
    """Puts a new database with all that can be found in the place of the broken one; returns the names of the pins.

    The new one is complete before the old one moves, so an interrupted repair begins again from the old one.
    """
    fresh = layout.claims.with_suffix(".salvaged")
    with disk_errors(layout.claims):
        if not layout.claims.exists() and fresh.exists():
            fresh.rename(layout.claims)
            return [pin.name for pin in _pins_of(layout)]
    remove_database(fresh)
    claims = Claims(fresh)
    try:
        claims.found(identity)
        names = _take_over(claims, layout.claims)
    finally:
        claims.close()
    with disk_errors(layout.claims):
        if layout.claims.exists():
            layout.claims.rename(layout.quarantine / f"store.lmdb-{time.time_ns()}")
        fresh.rename(layout.claims)
    for path in (layout.claims, fresh):
        with disk_errors(path):
            Path(f"{path}-lock").unlink(missing_ok=True)
    sync_folder(layout.root)
    return names


def _pins_of(layout: Layout) -> list[Pin]:
    claims = Claims(layout.claims)
    try:
        return every_pin(claims)
    finally:
        claims.close()


def _take_over(claims: Claims, broken: Path) -> list[str]:
    pins: dict[str, Pin] = {}
    if not broken.exists():
        return []
    with disk_errors(broken), broken.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            batch: list[EncodedChunk] = []
            for at in _positions(content, INLINE_MAGIC):
                found = inline_at(content, at)
                if found is not None:
                    chunk, inline = found
                    batch.append(EncodedChunk(chunk, CODECS[inline.codec], inline.size, inline.data))
                if len(batch) == _BATCH:
                    _put(claims, batch)
            _put(claims, batch)
            for at in _positions(content, PIN_MAGIC):
                pin = pin_at(content, at)
                if pin is not None and (pin.name not in pins or pins[pin.name].used < pin.used):
                    pins[pin.name] = pin
    for pin in pins.values():
        set_pin(claims, pin)
    return sorted(pins)


def _put(claims: Claims, batch: list[EncodedChunk]) -> None:
    claims.environment.write(lambda transaction: claims.put_inline(transaction, batch))
    batch.clear()


def _positions(content: mmap.mmap, magic: bytes) -> Iterator[int]:
    at = content.find(magic)
    while at >= 0:
        yield at
        at = content.find(magic, at + 1)
