"""Giving back the room of dead slices: empty data files go, sparse ones are rewritten.

A rewritten slice moves in one transaction: readers that still hold the old place find the file gone and look again.
"""

import time
from collections.abc import Sequence
from typing import Final

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.errors import DiskFull
from forge_p2p.ids import Hash
from forge_p2p.store.appender import Appender
from forge_p2p.store.context import Context
from forge_p2p.store.environment import Transaction
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.index import Entry
from forge_p2p.store.landing import land
from forge_p2p.store.reading import read_encoded
from forge_p2p.store.records import JOURNAL_ROW, FileRow, Slice
from forge_p2p.store.staging import Staging

LIVE_MIN: Final = 0.5
"""Share of a data file's bytes below which it is rewritten: at most twice the live bytes are ever kept."""

_SMALL: Final = 4096
"""Dead bytes that are not worth a rewrite."""

_OUTPUT_MAX: Final = 256 << 20
_BATCH: Final = 64


def remove_files(context: Context) -> int:
    """Deletes data files without live slices; returns the bytes given back."""
    index = context.index

    def work(transaction: Transaction) -> dict[int, FileRow]:
        empty = {file_id: row for file_id, row in index.all_files(transaction).items() if row.live <= 0}
        used = index.slices_of(transaction, empty)  # a counter's word is not enough to delete on
        empty = {file_id: row for file_id, row in empty.items() if not used[file_id]}
        for file_id in empty:
            index.drop_file(transaction, file_id)
        return empty

    with index.environment.read() as transaction:
        if all(row.live > 0 for row in index.all_files(transaction).values()):
            return 0
    empty = context.claims.environment.write(lambda _: index.environment.write(work))
    for file_id in empty:
        unlink_file(context, file_id)
    return sum(row.size + JOURNAL_ROW * (row.slices + 1) for row in empty.values())


def unlink_file(context: Context, file_id: int) -> None:
    """Removes a data file that the index does not know any more; first the data, which is what makes it one."""
    with disk_errors(context.layout.data_file(file_id)):
        context.layout.data_file(file_id).unlink(missing_ok=True)
        context.layout.journal(file_id).unlink(missing_ok=True)
    context.files.forget(file_id)


def compact(context: Context) -> int:
    """Rewrites data files that are mostly dead; returns the bytes given back. A full disk ends it early."""
    index = context.index
    with index.environment.read() as transaction:
        sparse = [
            (file_id, row)
            for file_id, row in index.all_files(transaction).items()
            if row.live_bytes < LIVE_MIN * row.size and row.size - row.live_bytes > _SMALL
        ]
    freed = 0
    try:
        for batch in _batches(sparse):
            freed += _rewrite(context, [file_id for file_id, _ in batch])
    except DiskFull:
        return freed
    return freed


def _batches(sparse: list[tuple[int, FileRow]]) -> list[list[tuple[int, FileRow]]]:
    batches: list[list[tuple[int, FileRow]]] = []
    size = _OUTPUT_MAX
    for item in sorted(sparse):
        if size + item[1].live_bytes > _OUTPUT_MAX:
            batches.append([])
            size = 0
        batches[-1].append(item)
        size += item[1].live_bytes
    return batches


def _rewrite(context: Context, file_ids: Sequence[int]) -> int:
    """Moves the live slices of some files into one new file and removes the old ones."""
    staging = Staging(context.layout, None)
    try:
        appender = staging.new_appender(shared=True)
        moved: list[tuple[Entry, Slice]] = []
        with context.index.environment.read() as transaction:
            live = context.index.slices_of(transaction, file_ids)
        for entries in live.values():
            moved += _copy_live(context, entries, appender)
        if moved:
            land(context.layout, [appender])
    finally:
        staging.close(keep=False)
    before = _switch(context, file_ids, appender, moved)
    for file_id in before:
        unlink_file(context, file_id)
    return sum(row.size for row in before.values()) - appender.size


def _copy_live(context: Context, live: list[Entry], appender: Appender) -> list[tuple[Entry, Slice]]:
    """Appends chunks of an old file; returns their old entries with the new places. What is rotten is left out."""
    live.sort(key=lambda entry: entry[1].offset)
    moved: list[tuple[Entry, Slice]] = []
    for first in range(0, len(live), _BATCH):
        batch = live[first : first + _BATCH]
        read = read_encoded(context, [chunk for chunk, _ in batch])
        good: list[tuple[Entry, EncodedChunk]] = [
            (entry, chunk) for entry, chunk in zip(batch, read, strict=True) if chunk is not None
        ]
        placed = appender.append([chunk for _, chunk in good])
        moved += [(entry, where) for (entry, _), (_, where) in zip(good, placed, strict=True)]
    return moved


def _switch(
    context: Context, file_ids: Sequence[int], appender: Appender, moved: Sequence[tuple[Entry, Slice]]
) -> dict[int, FileRow]:
    """Lets the index refer to the new file where it still refers to the old ones, and forget these."""
    index = context.index

    def work(transaction: Transaction) -> dict[int, FileRow]:
        old = {file_id: row for file_id in file_ids if (row := index.file(transaction, file_id)) is not None}
        created = max((row.created for row in old.values()), default=time.time())
        now = index.find_in(transaction, [chunk for (chunk, _), _ in moved])
        entries: list[tuple[Hash, Slice]] = [
            (chunk, where) for ((chunk, was), where), current in zip(moved, now, strict=True) if current == was
        ]
        index.replace(transaction, appender.file_id, appender.size, entries, created)
        for file_id in old:
            index.drop_file(transaction, file_id)
        return old

    return context.claims.environment.write(lambda _: index.environment.write(work))
