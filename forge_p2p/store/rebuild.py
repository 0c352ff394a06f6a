"""Making the index anew from the journals, believing nothing that does not verify.

First every data file is read and its journal cut down to the rows that are true; then one transaction replaces the
index from the journals. Other processes see the old index until that moment and the new one after it. Data files that
nothing true is said about are moved to quarantine.
"""

import os
from collections.abc import Iterator
from functools import partial
from typing import Final

from forge_p2p.errors import StoreError
from forge_p2p.ids import Hash
from forge_p2p.store.base import Progress, Rebuilt
from forge_p2p.store.context import Context
from forge_p2p.store.environment import Transaction
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.index import Entry
from forge_p2p.store.journals import Recovered, recover, rewrite
from forge_p2p.store.layout import DATA_SUFFIX, Layout, data_name, file_id_of, journal_name
from forge_p2p.store.locks import lock_file
from forge_p2p.store.records import JournalHead, Slice, journal_rows, unpack_journal_head

_NEW: Final = JournalHead(0, 0, shared=True)


def build_if_needed(context: Context, identity: bytes) -> None:
    """Builds an index that is not whole; who comes second waits and finds it done."""
    lock = lock_file(context.layout.rebuild_lock, wait=True)
    if lock is None:
        raise StoreError(f"{context.layout.root} was removed while it was being opened")
    try:
        if not context.index.whole_for(identity):
            _build(context, identity, None)
    finally:
        lock.release()


def rebuild(context: Context, progress: Progress | None = None) -> Rebuilt:
    """As `Store.rebuild`. No collection runs meanwhile."""
    identity = context.claims.identity()
    gc_lock = lock_file(context.layout.gc_lock, wait=True)
    if identity is None or gc_lock is None:
        raise StoreError(f"{context.layout.root} is not a store any more", hint="it was removed or emptied")
    try:
        return _build(context, identity, progress)
    finally:
        gc_lock.release()


def _build(context: Context, identity: bytes, progress: Progress | None) -> Rebuilt:
    sizes = dict(_data_files(context.layout))
    all_bytes, done, lost = sum(sizes.values()), 0, []
    for file_id, size in sizes.items():
        if not _make_true(context, file_id):
            lost.append(data_name(file_id))
        done += size
        if progress is not None:
            progress(done, all_bytes)
    lost += [f"pin {name}" for name in context.claims.mend(identity)]
    index = context.index

    def work(outer: Transaction, transaction: Transaction) -> None:
        index.clear(transaction)
        for file_id, size in _data_files(context.layout):
            head, entries = _entries(context.layout, file_id)
            entries = context.claims.not_inline(outer, entries)
            index.publish(transaction, file_id, size, entries, float(head.created))
        index.set_whole(transaction, identity)

    context.claims.environment.write(lambda outer: index.environment.write(partial(work, outer)))
    with index.environment.read() as transaction:
        files, tally = len(index.all_files(transaction)), index.tally(transaction)
    with context.claims.environment.read() as transaction:
        total = tally.plus(context.claims.tally(transaction)).of_all()
    return Rebuilt(files, total.chunks, total.raw_bytes, lost, [])


def _data_files(layout: Layout) -> Iterator[tuple[int, int]]:
    """Id and size of every data file."""
    with disk_errors(layout.files):
        folders = sorted(layout.files.iterdir())
    for folder in folders:
        with disk_errors(folder), os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                file_id = file_id_of(entry.name)
                if file_id is not None and entry.name.endswith(DATA_SUFFIX):
                    yield file_id, entry.stat().st_size


def _make_true(context: Context, file_id: int) -> bool:
    """Cuts the journal down to what is true; without anything true the file is set aside."""
    layout = context.layout
    recovered = recover(layout.data_file(file_id), layout.journal(file_id), file_id)
    if recovered is None or not recovered.entries:
        _set_aside(context, file_id)
        return False
    if not recovered.exact:
        rewrite(layout.journal(file_id), Recovered(recovered.head, recovered.entries, 0, exact=True))
    return True


def _set_aside(context: Context, file_id: int) -> None:
    layout = context.layout
    with disk_errors(layout.quarantine):
        layout.data_file(file_id).rename(layout.quarantine / data_name(file_id))
        if layout.journal(file_id).exists():
            layout.journal(file_id).rename(layout.quarantine / journal_name(file_id))
    context.files.forget(file_id)


def _entries(layout: Layout, file_id: int) -> tuple[JournalHead, list[Entry]]:
    path = layout.journal(file_id)
    with disk_errors(path):
        journal = path.read_bytes()
    head = unpack_journal_head(journal) or _NEW
    rows = journal_rows(journal)
    return head, [
        (Hash(row.hash), Slice(file_id, row.offset, row.stored, row.size, row.codec, row.check)) for row in rows
    ]
