"""Where a byte stream is cut, in constant memory and nearly at the speed of hashing.

Cuts are FastCDC's (Xia et al., 2020; `pyfastcdc` follows the `fastcdc` crate's v2020). A cut depends on nothing before
its chunk's start and on at most `CHUNK_MAX` bytes after it. All here rests on that: content may be cut piece by piece,
as long as no chunk is cut with less than `CHUNK_MAX` bytes in sight before the end; and a chunk that starts before
`CHUNK_MAX` zero bytes is exactly these (zeros never look like a cut), so the holes of sparse files are skipped without
being read, with the same result.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from forge_p2p.content.link import CHUNK_AVG, CHUNK_MAX, CHUNK_MIN, hash_bytes
from forge_p2p.errors import DiskError, ForgeError, SourceChanged
from forge_p2p.ids import Hash

try:
    from pyfastcdc.cy import FastCDC
except ImportError as error:
    # The package would fall back to pure Python by itself, 200 times slower.
    raise ForgeError(
        f"pyfastcdc's compiled part cannot be loaded: {error}",
        hint="install it from a wheel: pip install --force-reinstall --only-binary :all: pyfastcdc",
    ) from error

_ZEROS: Final = memoryview(bytes(CHUNK_MAX))

ZERO_CHUNK: Final = hash_bytes(_ZEROS)
"""The chunk that holes are made of: `CHUNK_MAX` zero bytes."""

BATCH: Final = 4 * 1024 * 1024
"""Bytes of content in one batch, at most, and of each of a `Chunker`'s two buffers. Measured: from 256 KiB up it makes
no difference to the speed of reading, cutting and hashing."""

_HOLE_BATCH: Final = 1024
"""Zero chunks in one batch, at most: 256 MiB of hole. They all share one buffer."""

_CDC: Final = FastCDC(CHUNK_AVG, min_size=CHUNK_MIN, max_size=CHUNK_MAX)
"""Only its constants are read while cutting, so threads may share it."""


class Chunk(NamedTuple):
    """A chunk of a content. What a `Chunker` gives in `data` is valid until the next batch but one is asked
    for, of the same content or of another: a batch may be stored while the next is cut."""

    offset: int
    length: int
    hash: Hash
    data: memoryview


class Chunker:
    """Cuts and hashes contents, one at a time, through two buffers of `BATCH` bytes in turn; for one thread."""

    def __init__(self) -> None:
        self._buffer, self._other = memoryview(bytearray(BATCH)), memoryview(bytearray(BATCH))

    def cut_file(self, fd: int, size: int, name: str = "the file") -> Iterator[list[Chunk]]:
        """The chunks of the first `size` bytes of an open file, in batches. Empty content is one empty chunk.

        Large holes are not read. Moves the file's position. Raises `SourceChanged` if the file turns out to be
        shorter, `DiskError` if it cannot be read; both call it `name`.
        """
        return self._cut(_FileSource(fd, size, name))

    def cut_pieces(self, pieces: Iterable[bytes | memoryview]) -> Iterator[list[Chunk]]:
        """The chunks of the concatenated `pieces`, which may have any sizes."""
        return self._cut(_PieceSource(pieces))

    def _cut(self, source: "_Source") -> Iterator[list[Chunk]]:
        buffer = self._buffer
        offset = filled = 0
        ended = False
        while not ended:
            hole = source.zeros(offset) // CHUNK_MAX
            if hole:
                yield from _zero_batches(offset, hole)
                offset += hole * CHUNK_MAX
                filled = 0  # what was carried over began in the hole
            wanted = min(BATCH, source.stop(offset) - offset)
            while filled < wanted and not ended:
                count = source.read(buffer[filled:wanted], offset + filled)
                filled += count
                ended = count == 0
            batch = _cut_buffer(buffer[:filled], offset, ended)
            if batch:
                self._buffer, self._other = self._other, buffer
                yield batch
                used = sum(chunk.length for chunk in batch)
                self._buffer[: filled - used] = buffer[used:filled]
                buffer = self._buffer
                offset += used
                filled -= used


def cut_bytes(content: bytes | bytearray | memoryview) -> list[Chunk]:
    """The chunks of content that is in memory."""
    return _cut_buffer(memoryview(content), 0, ended=True)


def cut_pieces(content: bytes | memoryview, average: int) -> list[memoryview]:
    """A chunk of at most `CHUNK_MAX` bytes cut finer: pieces of a quarter to four times `average`, which is a power of
    two from 256 on."""
    cutter = FastCDC(average, min_size=average // 4, max_size=average * 4)
    return [piece.data for piece in cutter.cut_buf(memoryview(content))] if len(content) else []


def _cut_buffer(buffer: memoryview, offset: int, ended: bool) -> list[Chunk]:
    """The chunks at the front of `buffer`, which is content from `offset` on, up to its end if `ended`."""
    left = len(buffer)
    if ended and offset == 0 and left <= CHUNK_MAX:
        return [Chunk(0, left, hash_bytes(buffer), buffer)]
    chunks: list[Chunk] = []
    cuts = _CDC.cut_buf(buffer)
    while left >= CHUNK_MAX or (ended and left):
        cut = next(cuts)
        chunks.append(Chunk(offset + cut.offset, cut.length, hash_bytes(cut.data), cut.data))
        left -= cut.length
    return chunks


def _zero_batches(offset: int, count: int) -> Iterator[list[Chunk]]:
    for first in range(0, count, _HOLE_BATCH):
        last = min(first + _HOLE_BATCH, count)
        yield [Chunk(offset + i * CHUNK_MAX, CHUNK_MAX, ZERO_CHUNK, _ZEROS) for i in range(first, last)]


class _Source(Protocol):
    def read(self, into: memoryview, offset: int, /) -> int:
        """Fills a part of `into` with what is at `offset` of the content; 0 at the end."""

    def zeros(self, offset: int, /) -> int:
        """How many bytes from `offset` on are known to be zero without reading them."""

    def stop(self, offset: int, /) -> int:
        """Where reading on from `offset` ceases to be of use: more than `CHUNK_MAX` further."""


class _PieceSource:
    """The concatenation of some buffers; it keeps its own place, for all reading is in order."""

    def __init__(self, pieces: Iterable[bytes | memoryview]) -> None:
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")

    def read(self, into: memoryview, _offset: int) -> int:
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._piece = memoryview(piece)
        count = min(len(into), len(self._piece))
        into[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def zeros(self, _offset: int) -> int:
        return 0

    def stop(self, offset: int) -> int:
        return offset + BATCH


class _FileSource:
    """A file's first `size` bytes, and the next hole that holds a whole zero chunk: `[_hole, _hole_end)`."""

    def __init__(self, fd: int, size: int, name: str) -> None:
        self._fd = fd
        self._size = size
        self._name = name
        sparse = size > CHUNK_MAX and os.fstat(fd).st_blocks * 512 < size
        self._hole = self._hole_end = 0 if sparse else size

    def read(self, into: memoryview, offset: int) -> int:
        wanted = min(len(into), self._size - offset)
        if wanted == 0:
            return 0
        try:
            count = os.preadv(self._fd, [into[:wanted]], offset)
        except OSError as error:
            raise DiskError(f"reading {self._name} at byte {offset} failed: {error.strerror}") from error
        if count == 0:
            raise self._shrunk(offset)
        return count

    def zeros(self, offset: int) -> int:
        self._find_hole(offset)
        return self._hole_end - offset if offset >= self._hole else 0

    def stop(self, offset: int) -> int:
        self._find_hole(offset)
        return self._hole + CHUNK_MAX

    def _find_hole(self, offset: int) -> None:
        """Moves on to the first hole that has room for a zero chunk from `offset` on; none is one of no length at the
        content's end."""
        while self._hole < self._size and self._hole_end - max(self._hole, offset) < CHUNK_MAX:
            self._hole = self._next_hole(self._hole_end)
            self._hole_end = self._next_data(self._hole)

    def _next_hole(self, offset: int) -> int:
        try:
            return min(os.lseek(self._fd, offset, os.SEEK_HOLE), self._size)
        except OSError:
            return self._size  # a file system that knows no holes, or the content's end: all is read

    def _next_data(self, offset: int) -> int:
        try:
            return min(os.lseek(self._fd, offset, os.SEEK_DATA), self._size)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise DiskError(f"reading {self._name} from byte {offset} on failed: {error.strerror}") from error
        actual = os.fstat(self._fd).st_size
        if actual < self._size:
            raise self._shrunk(actual)
        return self._size

    def _shrunk(self, end: int) -> SourceChanged:
        return SourceChanged(
            f"{self._name} changed while it was read; nothing was shared",
            hint=f"it has {end} bytes and had {self._size}: run the command again when nothing writes there",
        )
