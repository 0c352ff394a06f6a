"""Reading everything there is: what does not decode to its hash goes into quarantine."""

from collections.abc import Sequence
from typing import Final

from forge_p2p.content.codec import decode
from forge_p2p.errors import CorruptChunk, StoreError
from forge_p2p.ids import Hash
from forge_p2p.store.base import Progress, Verified
from forge_p2p.store.context import Context
from forge_p2p.store.damage import damage
from forge_p2p.store.quarantine import quarantine
from forge_p2p.store.reading import placed, read_checked
from forge_p2p.store.tables import hashes

_BATCH: Final = 64
"""Chunks read and decoded at a time; at most 16 MiB."""


def verify(context: Context, progress: Progress | None = None) -> Verified:
    """As `Store.verify`. Raises `StoreError` when a database itself is broken."""
    require_sound(context)
    chunks = _all_hashes(context)
    corrupt: list[Hash] = []
    size = 0
    for first in range(0, len(chunks), _BATCH):
        batch = chunks[first : first + _BATCH]
        checked, bad = _verify_batch(context, batch)
        size += checked
        corrupt += bad
        if progress is not None:
            progress(first + len(batch), len(chunks))
    return Verified(len(chunks) - len(corrupt), size, corrupt)


def require_sound(context: Context) -> None:
    """Raises `StoreError` naming what is wrong with the structure of a database."""
    for environment in (context.claims.environment, context.index.environment):
        with environment.read():  # while a reader is there, the pages that are looked at are not used again
            found = damage(environment.path)
        if found:
            raise StoreError(f"{found[0]} ({len(found)} findings)", hint="run `forge store rebuild`")


def _verify_batch(context: Context, batch: Sequence[Hash]) -> tuple[int, list[Hash]]:
    """Raw bytes that are right, and the chunks that are not."""
    found, rotten = read_checked(context, batch)
    size = 0
    for encoded in found:
        if encoded is None:
            continue
        try:
            size += len(decode(encoded))
        except CorruptChunk:
            rotten += placed(context, encoded)
    if rotten:
        quarantine(context, rotten)
    return size, [chunk for chunk, _, _ in rotten]


def _all_hashes(context: Context) -> list[Hash]:
    """Every chunk, those of one data file together and in its order, so that the disk is read in order."""
    with context.index.environment.read() as transaction:
        places = context.index.all_places(transaction)
    with context.claims.environment.read() as transaction:
        inline = hashes(transaction, context.claims.inline)
    return [chunk for _, _, chunk in sorted(places)] + inline
