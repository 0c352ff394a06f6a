"""A file that arrives in pieces, in any order, from any thread."""

import os
from collections.abc import Callable, Sequence

from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.content.snapshot import Entry
from forge_p2p.workspace.ledger import Ledger
from forge_p2p.writeback import BulkFile, write_all

Raw = bytes | bytearray | memoryview

_ZEROS = bytes(CHUNK_MAX)
_BULK_FROM = 128 << 20
"""Bytes from which a file would push too much else out of the page cache; what is smaller stays there to be read."""

_NULL = os.O_WRONLY | os.O_CLOEXEC


class LargeFile:
    """One open file of its final length, all holes. Once something fails with it alone, it takes no more; the restore's
    outcome says so."""

    def __init__(self, entry: Entry, descriptor: int, ledger: Ledger, complete: Callable[[int], None]) -> None:
        """`complete` gives the open file its mode, time and name; may raise `OSError`. `descriptor` -1: it could not be
        created."""
        self.entry = entry
        self._ledger = ledger
        self._complete = complete
        self._descriptor = descriptor
        self._failed = descriptor < 0
        self._bulk = BulkFile(descriptor) if entry.size >= _BULK_FROM else None
        if self._failed:
            self._descriptor = os.open(os.devnull, _NULL)

    @property
    def failed(self) -> bool:
        """Whether nothing more is wanted."""
        return self._failed

    def fileno(self) -> int:
        """To write content by at its offsets, without moving the position; the null device if the file failed. Zero
        chunks need not be written."""
        return self._descriptor

    def write_at(self, offset: int, buffers: Sequence[Raw]) -> None:
        """Writes buffers one after the other from `offset` on; zero chunks become holes. Raises `DiskFull`,
        `DiskError` for what every file would meet."""
        if self._failed:
            return
        run: list[Raw] = []
        start = end = offset
        try:
            for buffer in buffers:
                if is_zero_chunk(buffer):
                    self._write(run, start)
                    run, start = [], end + len(buffer)
                else:
                    run.append(buffer)
                end += len(buffer)
            self._write(run, start)
        except OSError as error:
            self._fail(error)

    def finish(self) -> None:
        """All has been written: the file gets its mode and time, and where it was there before, takes its place."""
        if not self._failed:
            try:
                self._complete(self._descriptor)
            except OSError as error:
                self._fail(error)
        self.close()

    def close(self) -> None:
        """Gives the file up; safe after `finish`."""
        if self._bulk is not None:
            self._bulk.close()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _write(self, run: list[Raw], start: int) -> None:
        if self._bulk is not None:
            self._bulk.write(run, start)
        else:
            write_all(self._descriptor, run, start)

    def _fail(self, error: OSError) -> None:
        self._failed = True
        self._ledger.fail(self.entry.path, "written", error, self.entry.size)


def is_zero_chunk(buffer: Raw) -> bool:
    """Whether a buffer is the chunk that holes are made of."""
    return len(buffer) == CHUNK_MAX and not buffer[0] and not buffer[-1] and bytes(buffer) == _ZEROS
