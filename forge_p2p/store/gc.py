"""Collecting garbage by epochs, beside running writers.

1. *Mark* what the pins reach.
2. *Condemn* all else that is older than the grace period, and end the epoch. A writer that begins later sees what is
   condemned and takes it back in its own transaction before relying on it.
3. *Delete* what is condemned once every writer has ended that began before the condemnation: such a writer may have
   seen the chunk and rely on it. Pins added since the mark are walked first; the transaction that deletes checks that
   no more have come.

Nobody waits for anybody: what cannot be deleted yet stays condemned for the next collection. A crash at any point
leaves chunks condemned, or files that nothing refers to; both are found by the next collection.
"""

import time
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Final

from forge_p2p.ids import Hash
from forge_p2p.store.base import Collected, Pin
from forge_p2p.store.compaction import compact, remove_files
from forge_p2p.store.context import Context
from forge_p2p.store.environment import Transaction
from forge_p2p.store.leases import oldest_epoch
from forge_p2p.store.locks import lock_file
from forge_p2p.store.marking import Marks, mark
from forge_p2p.store.orphans import adopt_all, remove_lone_journals, remove_stale_staging
from forge_p2p.store.pins import every_pin, pins_in, remove_pins
from forge_p2p.store.reading import read
from forge_p2p.store.records import unpack_inline, unpack_slice
from forge_p2p.store.tables import rows

_BATCH: Final = 16384
"""Chunks a transaction deletes: others can write in between."""

_TRIES: Final = 8
"""How often pins may be added between a walk and the deletion that relies on it."""


def collect(context: Context, grace: float | None = None, regardless: Collection[Hash] = frozenset()) -> Collected:
    """As `Store.collect`; what is in `regardless` goes whatever its age. One at a time on a store: while another
    process collects, nothing is done."""
    lock = lock_file(context.layout.gc_lock)
    if lock is None:
        return Collected(0, 0, count_condemned(context), 0, [])
    try:
        grace = context.config.grace if grace is None else grace
        return _collect(context, grace, regardless, time.time())
    finally:
        lock.release()


def _collect(context: Context, grace: float, regardless: Collection[Hash], now: float) -> Collected:
    for environment in (context.claims.environment, context.index.environment):
        environment.clear_dead_readers()
    remove_stale_staging(context.layout, now)
    adopt_all(context)
    remove_lone_journals(context.layout, now)
    expired = [pin.name for pin in every_pin(context.claims) if 0 < pin.expires <= now]
    dropped = remove_pins(context.claims, expired) if expired else 0
    walk = _Walk(context)
    walk.update()
    if walk.marks.incomplete:
        incomplete = [f"{name}: {reason}" for name, reason in sorted(walk.marks.incomplete.items())]
        return Collected(0, 0, count_condemned(context), dropped, incomplete)
    condemned = [
        chunk for chunk, added in _unreached(context, walk.marks.reached) if added <= now - grace or chunk in regardless
    ]
    _condemn(context, condemned, walk.marks.reached, now)
    chunks, freed = _delete(context, walk)
    freed += compact(context)
    return Collected(chunks, freed, count_condemned(context), dropped, [])


class _Walk:
    """The marks, and the pins they were made from; brought up to date as pins are added."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.marks = Marks()
        self.pins_changed = -1

    def update(self) -> None:
        """Walks the pins that were added since the last time."""
        context = self._context
        with context.claims.environment.read() as transaction:
            changed = context.claims.pins_changed(transaction)
            pins: list[Pin] = pins_in(context.claims, transaction)
        if changed != self.pins_changed:
            mark(self.marks, pins, lambda chunk: read(context, chunk))
            self.pins_changed = changed


def _condemn(context: Context, condemned: list[Hash], reached: set[Hash], now: float) -> None:
    """Ends the epoch if there is anything to condemn; acquits what is reached again."""
    claims = context.claims

    def work(transaction: Transaction) -> None:
        for chunk in claims.all_condemned(transaction):
            if chunk in reached:
                transaction.delete(chunk, db=claims.condemned)
        if condemned:
            claims.condemn(transaction, condemned, claims.next_epoch(transaction), now)

    claims.environment.write(work, 64 * len(condemned))


def _unreached(context: Context, reached: set[Hash]) -> Iterator[tuple[Hash, float]]:
    """What is stored and not reached, and when it was added."""
    index, claims = context.index, context.claims
    with index.environment.read() as transaction:
        created = {file_id: row.created for file_id, row in index.all_files(transaction).items()}
        for chunk, value in rows(transaction, index.slices):
            if chunk not in reached:
                yield Hash(chunk), created.get(unpack_slice(value).file_id, 0.0)
    with claims.environment.read() as transaction:
        for chunk, value in rows(transaction, claims.inline):
            if chunk not in reached:
                record = unpack_inline(value)
                yield Hash(chunk), record.added if record else 0.0


def _delete(context: Context, walk: _Walk) -> tuple[int, int]:
    """Deletes what has been condemned long enough; returns how many chunks and the bytes given back."""
    for session in context.sessions:
        session.renew(context.claims)
    oldest = oldest_epoch(context.layout.leases)
    before = oldest if oldest is not None else 1 << 63
    with context.claims.environment.read() as transaction:
        ready = iter(context.claims.condemned_before(transaction, before))
    chunks = freed = 0
    while batch := list(islice(ready, _BATCH)):
        for _ in range(_TRIES):
            walk.update()
            if walk.marks.incomplete:
                return chunks, freed + remove_files(context)
            deleted = _delete_batch(context, walk, batch)
            if deleted is not None:
                chunks += deleted[0]
                freed += deleted[1]
                break
    return chunks, freed + remove_files(context)


def _delete_batch(context: Context, walk: _Walk, batch: list[Hash]) -> tuple[int, int] | None:
    """`None` if pins were added since they were walked last."""
    claims, index = context.claims, context.index

    def work(transaction: Transaction) -> tuple[int, int] | None:
        if claims.pins_changed(transaction) != walk.pins_changed:
            return None
        doomed = [chunk for chunk in batch if transaction.get(chunk, db=claims.condemned) is not None]
        doomed = [chunk for chunk in doomed if chunk not in walk.marks.reached]
        dropped = index.environment.write(lambda inner: index.drop(inner, doomed))
        inline = claims.drop_inline(transaction, doomed)
        for chunk in batch:
            transaction.delete(chunk, db=claims.condemned)
        return len(dropped) + len(inline), sum(map(len, inline))

    return claims.environment.write(work)


def count_condemned(context: Context) -> int:
    """Chunks that wait for a writer to end."""
    with context.claims.environment.read() as transaction:
        return int(transaction.stat(context.claims.condemned)["entries"])
