"""What a new version shares with the file that it replaces, copied from that file.

The store has it, too, but of a large file neither copy is in memory, for both were written past the page cache, and to
read one through it costs more than the disk: each page that the cache grows by is a fault in virtual machines. So the
old file is read past the cache unless it is in it, into aligned memory, whole runs of chunks at once and by a few
threads; each chunk is verified there, and the new file is written from the same memory. Nothing has to be believed of
the old file: what is not in it any more is left to the store.

Where the file system shares blocks between files (XFS, btrfs), a clone without a name is made of the old file first, so
that nobody can change what is read; whole blocks that were found right are then shared with the new file, not written.
"""

import mmap
import os
import struct
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from fcntl import ioctl
from typing import Final, Protocol, Self

from forge_p2p.content.chunking import ZERO_CHUNK
from forge_p2p.content.link import hash_bytes
from forge_p2p.ids import Hash
from forge_p2p.writeback import BLOCK, open_direct, share_blocks

Place = tuple[Hash, int, int]
"""A chunk, its size, and where in the new file it belongs."""

_FICLONERANGE: Final = 0x4020940D
_CLONED = struct.Struct("=qQQQ")
"""ioctl_ficlonerange(2): descriptor, offset and length of what is shared, and where it goes."""

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_RUN: Final = 4 << 20
"""Bytes read and written at once, at most."""
_THREADS: Final = 4
"""Two keep the processors busy with hashing; a disk is faster with more requests at once. Measured on a virtual one,
4 GB read and written: 9.1 s with two, 6.2 s with four."""
_AGAIN: Final = 64 << 20
"""Bytes after which the page cache is asked again, when it did not have something."""


class NewFile(Protocol):
    """Where chunks are copied to, by several threads; see `large`."""

    def write_at(self, offset: int, buffers: Sequence[memoryview]) -> None: ...

    def fileno(self) -> int: ...


@dataclass(slots=True)
class _Run:
    """Chunks that follow each other in both files."""

    old: int
    new: int
    size: int = 0
    places: list[Place] = field(default_factory=list)

    def takes(self, old: int, place: Place) -> bool:
        """Whether a chunk follows, and is not too much."""
        return (old, place[2]) == (self.old + self.size, self.new + self.size) and self.size + place[1] <= _RUN

    def add(self, place: Place) -> None:
        self.places.append(place)
        self.size += place[1]


class ReplacedFile:
    """A file at the destination that held an earlier version; a context manager. What of it cannot be read, or is no
    longer what it was, is not there: nothing is raised for it. For one thread."""

    def __init__(self, path: bytes, offset: Callable[[Hash], int | None]) -> None:
        """`offset`: where in that version a chunk lay."""
        self._offset = offset
        self._pool: ThreadPoolExecutor | None = None
        self._buffers: deque[mmap.mmap] = deque()
        self._uncached_to = 0
        self._shares = False
        self._fd = self._direct = -1
        with suppress(OSError):
            self._fd = os.open(path, _FLAGS)
            self._clone(os.path.dirname(path))
            self._direct = open_direct(self._fd, os.O_RDONLY)

    def copy_into(self, file: NewFile, places: Sequence[Place]) -> list[Place]:
        """Writes those of the chunks that are here; zero chunks are holes and not written. Returns those that are not
        here. Raises as `LargeFile.write_at`."""
        runs, left = self._runs(places)
        if len(runs) > 1 and self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="forge-copy")
        each = self._pool.map if self._pool is not None else map
        for run, copied in zip(runs, each(lambda run: self._copy(run, file), runs), strict=True):
            if not copied:
                left += run.places
        return left

    def close(self) -> None:
        """Lets the file go."""
        if self._pool is not None:
            self._pool.shutdown()
        for descriptor in {self._fd, self._direct} - {-1}:
            os.close(descriptor)
        self._fd = self._direct = -1

    def _runs(self, places: Sequence[Place]) -> tuple[list[_Run], list[Place]]:
        """What to copy, and what is not here."""
        runs: list[_Run] = []
        left: list[Place] = []
        for place in places:
            if place[0] == ZERO_CHUNK:
                continue
            old = self._offset(place[0]) if self._fd >= 0 else None
            if old is None:
                left.append(place)
                continue
            if not runs or not runs[-1].takes(old, place):
                runs.append(_Run(old, place[2]))
            runs[-1].add(place)
        return runs, left

    def _copy(self, run: _Run, file: NewFile) -> bool:
        """Copies one run, if all of it is what it should be; else nothing."""
        try:
            buffer = self._buffers.pop()
        except IndexError:
            buffer = mmap.mmap(-1, _RUN + 2 * BLOCK)
        skipped = run.old % BLOCK
        with memoryview(buffer) as view:
            wanted = -(-(skipped + run.size) // BLOCK) * BLOCK
            with view[:wanted] as blocks, view[skipped : skipped + run.size] as content:
                right = self._read(blocks, run.old - skipped) >= skipped + run.size and _is(run, content)
                if right:
                    self._write(run, file, content)
        self._buffers.append(buffer)
        return right

    def _clone(self, folder: bytes) -> None:
        """Goes on with a clone of the file, if the file system makes some."""
        with suppress(OSError, AttributeError):
            clone = os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
            try:
                share_blocks(self._fd, clone)
            except OSError:
                os.close(clone)
                raise
            os.close(self._fd)
            self._fd, self._shares = clone, True

    def _write(self, run: _Run, file: NewFile, content: memoryview) -> None:
        """Puts the verified `content` of a run in its place: whole blocks by sharing them, where that can be."""
        first = -run.new % BLOCK
        last = (run.new + run.size) // BLOCK * BLOCK - run.new
        if not self._shares or (run.old - run.new) % BLOCK or last <= first:
            file.write_at(run.new, [content])
            return
        shared = _CLONED.pack(self._fd, run.old + first, last - first, run.new + first)
        try:
            ioctl(file.fileno(), _FICLONERANGE, shared)
        except OSError:  # into another file system, perhaps
            self._shares = False
            file.write_at(run.new, [content])
            return
        with content[:first] as head, content[last:] as tail:
            file.write_at(run.new, [head])
            file.write_at(run.new + last, [tail])

    def _read(self, into: memoryview, offset: int) -> int:
        """Fills whole blocks from the file; how many bytes, less than asked for where it ends or fails."""
        with suppress(OSError):
            if self._direct < 0:
                return os.preadv(self._fd, [into], offset)
            if offset >= self._uncached_to:
                count = self._read_cached(into, offset)
                if count == len(into):
                    return count
                self._uncached_to = offset + _AGAIN
            return os.preadv(self._direct, [into], offset)
        return 0

    def _read_cached(self, into: memoryview, offset: int) -> int:
        """As much as is in the page cache."""
        try:
            return os.preadv(self._fd, [into], offset, getattr(os, "RWF_NOWAIT", 0))
        except OSError:  # nothing, or a file system that cannot tell
            return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is(run: _Run, content: memoryview) -> bool:
    """Whether `content` is the chunks of the run."""
    at = 0
    for chunk, size, _ in run.places:
        with content[at : at + size] as piece:
            if hash_bytes(piece) != chunk:
                return False
        at += size
    return True
