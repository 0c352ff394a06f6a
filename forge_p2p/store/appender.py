"""A data file being written, and beside it its journal.

One call writes the stored forms, gathered, and then their rows to the journal with another write. Neither is synced:
the page cache survives a kill, and after a power cut what the journal names is verified before it is trusted. A call
that fails is undone by cutting both files back; a sync that fails ends the file, for the kernel reports such a failure
once and then believes the pages clean.

A file is appended to, or laid out: its chunks then lie, raw, where a content has them, in whatever order they come, and
the file can be given out as that content if nothing in it is left open (`whole.py`).
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.errors import DiskError
from forge_p2p.ids import Hash
from forge_p2p.store.datafiles import DataFile
from forge_p2p.store.faults import disk_error, disk_errors
from forge_p2p.store.layout import data_name, journal_name
from forge_p2p.store.records import (
    JOURNAL_ROW,
    JournalHead,
    Slice,
    check_of,
    pack_journal_head,
    pack_journal_row,
)
from forge_p2p.writeback import BulkFile, write_all

_DIRECT_FROM: Final = 8 << 20
"""Bytes from which a data file is written past the page cache; what is smaller may well be read again soon."""

_LAID_OUT_DIRECT_FROM: Final = 128 << 20
"""As that: whoever wants a file of it is about to read it."""


class Appender:
    """One data file and its journal in a staging folder. Not safe from several threads; its ingest has a lock."""

    def __init__(
        self, folder: Path, file_id: int, *, shared: bool, whole: bool = False, laid_out: bool = False
    ) -> None:
        """`whole`: the data file is there, complete, and not to be written to."""
        self.folder = folder
        self.file_id = file_id
        self.shared = shared
        self.laid_out = laid_out
        self.size = 0
        self.entries: list[tuple[Hash, Slice]] = []
        self._journal_size = JOURNAL_ROW
        self.broken = False
        self._moved = False
        self._path = folder / data_name(file_id)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with disk_errors(self._path, JOURNAL_ROW):
            self._journal = DataFile(os.open(folder / journal_name(file_id), flags, 0o600))
            head = JournalHead(file_id, int(time.time()), shared)
            os.pwrite(self._journal.fd, pack_journal_head(head), 0)
            self.file = DataFile(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC if whole else flags, 0o600))
        self.bulk = BulkFile(self.file.fd, direct_from=_LAID_OUT_DIRECT_FROM if laid_out else _DIRECT_FROM)

    @classmethod
    def reopen(cls, folder: Path, head: JournalHead, size: int, entries: list[tuple[Hash, Slice]]) -> "Appender":
        """Goes on with what an earlier session wrote: `entries`, verified, of a data file cut to `size`."""
        appender = cls(folder, head.file_id, shared=head.shared)
        appender.size = size
        appender.bulk = BulkFile(appender.file.fd, size, direct_from=_DIRECT_FROM)
        appender.entries = entries
        appender._journal_size = JOURNAL_ROW * (1 + len(entries))
        return appender

    @classmethod
    def adopt(cls, folder: Path, file_id: int, entries: list[tuple[Hash, Slice]]) -> "Appender":
        """A data file that somebody else has written, and which holds `entries`, verified; writes its journal."""
        appender = cls(folder, file_id, shared=False, whole=True)
        added = int(time.time())
        rows = b"".join(pack_journal_row(chunk, where, added) for chunk, where in entries)
        with disk_errors(folder / journal_name(file_id), len(rows)):
            write_all(appender._journal.fd, [rows], JOURNAL_ROW)
        appender.entries = entries
        appender.size = max(where.offset + where.stored for _, where in entries)
        return appender

    def append(self, chunks: Sequence[EncodedChunk]) -> list[tuple[Hash, Slice]]:
        """Writes the chunks in order; returns where each lies. Raises `DiskFull` or `DiskError`; then it wrote none."""
        return self._write(chunks, list(accumulate((len(chunk.data) for chunk in chunks), initial=self.size))[:-1])

    def lay(self, chunks: Sequence[EncodedChunk], places: Mapping[Hash, int]) -> list[tuple[Hash, Slice]]:
        """As `append`, each at its place, of a file that is laid out. No two may overlap."""
        ordered = sorted(chunks, key=lambda chunk: places[chunk.hash])
        return self._write(ordered, [places[chunk.hash] for chunk in ordered])

    def _write(self, chunks: Sequence[EncodedChunk], offsets: Sequence[int]) -> list[tuple[Hash, Slice]]:
        self.require_sound()
        added = int(time.time())
        entries = [
            (chunk.hash, Slice(self.file_id, offset, len(chunk.data), chunk.size, chunk.codec, check_of(chunk)))
            for chunk, offset in zip(chunks, offsets, strict=True)
        ]
        rows = [pack_journal_row(chunk, where, added) for chunk, where in entries]
        try:
            for offset, run in _runs(chunks, offsets):
                self.bulk.write(run, offset)
            write_all(self._journal.fd, [b"".join(rows)], self._journal_size)
        except OSError as error:
            self._undo()
            raise disk_error(error, self._path, sum(len(chunk.data) for chunk in chunks)) from error
        self.size = max([self.size, *(where.offset + where.stored for _, where in entries)])
        self._journal_size += JOURNAL_ROW * len(rows)
        self.entries += entries
        return entries

    def read(self) -> bytes:
        """All that was appended."""
        with disk_errors(self._path):
            return os.pread(self.file.fd, self.size, 0)

    def sync(self) -> None:
        """Makes data and journal durable. After a failure the file cannot be used any more."""
        self.require_sound()
        try:
            os.fdatasync(self.file.fd)
            os.fdatasync(self._journal.fd)
        except OSError as error:
            self.broken = True
            raise disk_error(error, self._path, self.size) from error
        self.bulk.synced(self.size)

    def move(self, data_path: Path, journal_path: Path) -> None:
        """Renames both files to their final places; a second time does what the first has left. Raises `DiskError`,
        also if a collector has meanwhile removed what an earlier, failed commit had left there."""
        with disk_errors(data_path, 4096):
            here = self.folder / journal_name(self.file_id)
            if here.exists():
                here.rename(journal_path)
            if not self._moved:
                self._path.rename(data_path)
                self._moved = True
            elif not data_path.exists():
                self.broken = True
                self.require_sound()

    def discard(self) -> None:
        """Removes both files."""
        with disk_errors(self._path):
            self._path.unlink(missing_ok=True)
            (self.folder / journal_name(self.file_id)).unlink(missing_ok=True)

    def require_sound(self) -> None:
        """Raises `DiskError` if an earlier failure has made the file useless."""
        if self.broken:
            raise DiskError(f"{self._path}: an earlier write failed, its data is dropped", hint="run the command again")

    def _undo(self) -> None:
        try:
            os.ftruncate(self.file.fd, self.size)
            os.ftruncate(self._journal.fd, self._journal_size)
        except OSError:
            self.broken = True


def _runs(chunks: Sequence[EncodedChunk], offsets: Sequence[int]) -> Iterator[tuple[int, list[bytes | memoryview]]]:
    """Chunks in the order of their offsets, those that adjoin together."""
    start = end = 0
    run: list[bytes | memoryview] = []
    for chunk, offset in zip(chunks, offsets, strict=True):
        if run and offset != end:
            yield start, run
            run = []
        if not run:
            start = offset
        run.append(chunk.data)
        end = offset + len(chunk.data)
    if run:
        yield start, run
