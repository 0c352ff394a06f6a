"""What a new version shares with the file that it replaces, copied from that file.

The store has it, too, but of a large file neither copy is in memory, for both were written past the page cache, and to
read one through it costs more than the disk: each page that the cache grows by is a fault in virtual machines. So the
old file is read past the cache unless it is in it, into aligned memory, whole runs of chunks at once and by a few
threads; each chunk is verified there, and the new file is written from the same memory. Nothing has to be believed of
the old file: what is not in it any more is left to the store.
"""

import mmap
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Self

from forge_p2p.content.chunking import ZERO_CHUNK
from forge_p2p.content.link import hash_bytes
from forge_p2p.ids import Hash
from forge_p2p.writeback import BLOCK, open_direct

Place = tuple[Hash, int, int]
"""A chunk, its size, and where in the new file it belongs."""

WriteAt = Callable[[int, Sequence[memoryview]], None]
"""Writes buffers from an offset on."""

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_RUN: Final = 4 << 20
"""Bytes read and written at once, at most."""
_THREADS: Final = 4
"""Two keep the processors busy with hashing; a disk is faster with more requests at once. Measured on a virtual one,
4 GB read and written: 9.1 s with two, 6.2 s with four."""
_AGAIN: Final = 64 << 20
"""Bytes after which the page cache is asked again, when it did not have something."""


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
        self._fd = self._direct = -1
        with suppress(OSError):
            self._fd = os.open(path, _FLAGS)
            self._direct = open_direct(self._fd, os.O_RDONLY)

    def copy_into(self, write_at: WriteAt, places: Sequence[Place]) -> list[Place]:
        """Writes those of the chunks that are here; zero chunks are holes and not written. Returns those that are not
        here. Raises what `write_at` raises, which is called in several threads."""
        runs, left = self._runs(places)
        if len(runs) > 1 and self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="forge-copy")
        each = self._pool.map if self._pool is not None else map
        for run, copied in zip(runs, each(lambda run: self._copy(run, write_at), runs), strict=True):
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

    def _copy(self, run: _Run, write_at: WriteAt) -> bool:
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
                    write_at(run.new, [content])
        self._buffers.append(buffer)
        return right

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
