"""Reading a journal back: which of its rows are true. Used to resume an ingest and to rebuild the index.

A row is believed only if the bytes it names decode to its hash: a journal is never trusted more than the data.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from forge_p2p.content.codec import EncodedChunk, decode
from forge_p2p.errors import CorruptChunk
from forge_p2p.ids import Hash
from forge_p2p.store.datafiles import runs
from forge_p2p.store.durable import write_durably
from forge_p2p.store.faults import disk_errors
from forge_p2p.store.records import (
    CODECS,
    JOURNAL_ROW,
    JournalHead,
    JournalRow,
    Slice,
    checksum,
    journal_rows,
    pack_journal_head,
    pack_journal_row,
    unpack_journal_head,
)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What is true of a journal: the slices that verified, how many did not, and whether it is exactly these rows."""

    head: JournalHead
    entries: list[tuple[Hash, Slice]]
    bad: int
    exact: bool

    @property
    def end(self) -> int:
        """Bytes of the data file that are accounted for."""
        return max((where.offset + where.stored for _, where in self.entries), default=0)


def recover(data_path: Path, journal_path: Path, file_id: int) -> Recovered | None:
    """Verifies every slice that the journal names. `None` if there is no journal or it is not this file's."""
    try:
        journal = journal_path.read_bytes()
        data = os.open(data_path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        with disk_errors(journal_path):
            raise
    try:
        head = unpack_journal_head(journal)
        if head is None or head.file_id != file_id:
            return None
        rows = list(journal_rows(journal))
        with disk_errors(data_path):
            entries = _verified(data, rows, file_id)
    finally:
        os.close(data)
    exact = len(journal) == JOURNAL_ROW * (1 + len(entries))
    return Recovered(head, entries, len(rows) - len(entries), exact)


def _verified(data: int, rows: list[JournalRow], file_id: int) -> list[tuple[Hash, Slice]]:
    slices = [
        (at, Slice(file_id, row.offset, row.stored, row.size, row.codec, row.check)) for at, row in enumerate(rows)
    ]
    good = []
    for run in runs(slices):
        start = run[0][1].offset
        end = max(where.offset + where.stored for _, where in run)
        piece = memoryview(os.pread(data, end - start, start))
        for at, where in run:
            if _is_true(rows[at], piece[where.offset - start : where.offset - start + where.stored]):
                good.append(at)
    return [(rows[at].hash, slices[at][1]) for at in sorted(good)]


def _is_true(row: JournalRow, stored: memoryview) -> bool:
    if len(stored) != row.stored or checksum(row.hash, row.codec, row.size, stored) != row.check:
        return False
    try:
        decode(EncodedChunk(row.hash, CODECS[row.codec], row.size, stored))
    except CorruptChunk:
        return False
    return True


def rewrite(journal_path: Path, recovered: Recovered) -> None:
    """Replaces a journal by one that has the recovered rows alone, durably."""
    rows = [pack_journal_row(chunk, where, recovered.head.created) for chunk, where in recovered.entries]
    write_durably(journal_path, b"".join((pack_journal_head(recovered.head), *rows)))
