"""Giving back the room of dead slices: empty data files go, sparse ones are rewritten.

A slice moves in one transaction: readers that still hold the old place find the file gone and look again.
"""

from collections.abc import Callable, Sequence
from typing import Final

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.errors import DiskFull
from forge_p2p.store.appender import Appender
from forge_p2p.store.context import Context
from forge_p2p.store.environment import Transaction
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.index import Entry
from forge_p2p.store.landing import place, prepare
from forge_p2p.store.reading import read_encoded
from forge_p2p.store.records import JOURNAL_ROW, FileRow
from forge_p2p.store.staging import Staging

LIVE_MIN: Final = 0.5
"""Share of a data file's bytes below which it is rewritten: at most twice the live bytes are ever kept."""

_SMALL: Final = 4096
"""Dead bytes that are not worth a rewrite."""

_OUTPUT_MAX: Final = 256 << 20
_BATCH: Final = 64

Recode = Callable[[Entry, EncodedChunk], EncodedChunk | None]
"""The form a chunk is to move in, or `None` to leave it where it is."""


def remove_files(context: Context) -> int:
    """Deletes data files without live slices; returns the bytes given back."""
    index = context.index

    def work(transaction: Transaction) -> dict[int, FileRow]:
        empty = {file_id: row for file_id, row in index.all_files(transaction).items() if row.live <= 0}
        used = index.slices_of(transaction, empty)  # a counter's word is not enough to delete on
        empty = {file_id: row for file_id, row in empty.items() if not used[file_id]}
        for file_id in empty:
            # Inside the transaction: who adopts files that no index knows must not meet one on its way out.
            _unlink(context, file_id)
            index.drop_file(transaction, file_id)
        return empty

    with index.environment.read() as transaction:
        if all(row.live > 0 for row in index.all_files(transaction).values()):
            return 0
    empty = context.claims.environment.write(lambda _: index.environment.write(work))
    return sum(row.size + JOURNAL_ROW * (row.slices + 1) for row in empty.values())


def _unlink(context: Context, file_id: int) -> None:
    """Removes a data file without live slices; first the data, which is what makes it one."""
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
            for file_id, row in sorted(index.all_files(transaction).items())
            if row.live_bytes < LIVE_MIN * row.size and row.size - row.live_bytes > _SMALL
        ]
    freed = 0
    try:
        for batch in _batches(sparse):
            with index.environment.read() as transaction:
                live = index.slices_of(transaction, [file_id for file_id, _ in batch])
            freed -= move(context, [entry for entries in live.values() for entry in entries], lambda _, chunk: chunk)
            freed += remove_files(context)
    except DiskFull:
        return max(0, freed)
    return max(0, freed)


def _batches(sparse: list[tuple[int, FileRow]]) -> list[list[tuple[int, FileRow]]]:
    batches: list[list[tuple[int, FileRow]]] = []
    size = _OUTPUT_MAX
    for item in sparse:
        if size + item[1].live_bytes > _OUTPUT_MAX:
            batches.append([])
            size = 0
        batches[-1].append(item)
        size += item[1].live_bytes
    return batches


def move(context: Context, entries: Sequence[Entry], recode: Recode, *, cold: bool = False) -> int:
    """Copies chunks into one new data file, durably, and lets the index refer to it; returns the file's bytes.

    `cold` marks the file as one that was compressed as far as it goes. What is rotten is quarantined instead.
    """
    entries = sorted(entries, key=lambda entry: (entry[1].file_id, entry[1].offset))
    staging = Staging(context.layout, None)
    try:
        appender = staging.new_appender(shared=True)
        moved: list[tuple[Entry, Entry]] = []
        for first in range(0, len(entries), _BATCH):
            batch = entries[first : first + _BATCH]
            read = read_encoded(context, [chunk for chunk, _ in batch])
            pairs = [(entry, recode(entry, form)) for entry, form in zip(batch, read, strict=True) if form is not None]
            placed = appender.append([form for _, form in pairs if form is not None])
            moved += zip([entry for entry, form in pairs if form is not None], placed, strict=True)
        if not moved:
            return 0
        prepare(context.layout, [appender])
        switch(context, appender, moved, cold=cold)
    finally:
        staging.close(keep=False)
    return appender.size


def switch(context: Context, appender: Appender, moved: Sequence[tuple[Entry, Entry]], *, cold: bool) -> None:
    """Puts a finished data file in its place, in the transaction that lets the index refer to it."""
    index = context.index

    def work(transaction: Transaction) -> None:
        index.move(transaction, appender.file_id, appender.size, moved, cold=cold)

    def place_and_work(_: Transaction) -> None:
        place(context.layout, [appender])
        index.environment.write(work)

    context.claims.environment.write(place_and_work)
