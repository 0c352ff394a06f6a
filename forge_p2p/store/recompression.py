"""Compressing harder what has lain long: zstd-19 in the background, a little at a time.

A chunk is read more often than written, and decompresses as fast from level 19 as from level 3. What would not become a
twentieth smaller stays as it is. What was tried is marked and not tried again.
"""

import time
from functools import partial
from typing import Final

from forge_p2p.content.codec import Effort, EncodedChunk, decode, encode
from forge_p2p.errors import CorruptChunk
from forge_p2p.ids import Hash
from forge_p2p.store.base import Recompressed
from forge_p2p.store.compaction import move, remove_files
from forge_p2p.store.context import Context
from forge_p2p.store.index import Entry
from forge_p2p.store.reading import read_encoded
from forge_p2p.store.records import unpack_inline
from forge_p2p.store.tables import rows

_SAVING: Final = 20
"""The part of its size by which a chunk has to shrink."""

_BATCH: Final = 32


def recompress(context: Context, older_than: float, seconds: float) -> Recompressed:
    """As `DiskStore.recompress`."""
    work = _Work(context, time.time() - older_than, time.monotonic() + seconds)
    work.inline()
    work.files()
    return Recompressed(work.chunks, work.saved, work.done)


class _Work:
    def __init__(self, context: Context, before: float, deadline: float) -> None:
        self._context = context
        self._before = before
        self._deadline = deadline
        self.chunks = 0
        self.saved = 0
        self.done = True

    def _late(self) -> bool:
        if time.monotonic() >= self._deadline:
            self.done = False
        return not self.done

    def inline(self) -> None:
        """Inline chunks, replaced where they are."""
        claims = self._context.claims
        with claims.environment.read() as transaction:
            due = [Hash(chunk) for chunk, value in rows(transaction, claims.inline) if self._is_due(value)]
        for first in range(0, len(due), _BATCH):
            if self._late():
                return
            batch = due[first : first + _BATCH]
            read = [chunk for chunk in read_encoded(self._context, batch) if chunk is not None]
            tried = [(chunk, self._harder(chunk)) for chunk in read]

            claims.environment.write(partial(claims.replace_inline, tried))

    def files(self) -> None:
        """Slices of data files, moved to a new file when they shrink."""
        index = self._context.index
        with index.environment.read() as transaction:
            rows = index.all_files(transaction)
            due = [file_id for file_id, row in rows.items() if not row.cold and row.created <= self._before]
            slices = index.slices_of(transaction, due)
        for file_id in due:
            if self._late():
                break
            move(self._context, slices[file_id], self._recode, cold=True)
            if self.done:
                index.environment.write(partial(index.mark_cold, file_id))
        remove_files(self._context)

    def _is_due(self, value: bytes) -> bool:
        record = unpack_inline(value)
        return record is not None and not record.cold and record.added <= self._before

    def _recode(self, _: Entry, chunk: EncodedChunk) -> EncodedChunk | None:
        return None if self._late() else self._harder(chunk)

    def _harder(self, chunk: EncodedChunk) -> EncodedChunk | None:
        """The chunk in a smaller form, if there is one worth having."""
        try:
            harder = encode(chunk.hash, decode(chunk), Effort.COLD)
        except CorruptChunk:
            return None
        saved = len(chunk.data) - len(harder.data)
        if saved * _SAVING < len(chunk.data):
            return None
        self.chunks += 1
        self.saved += saved
        return harder
