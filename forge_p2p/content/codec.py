"""Stored forms of a chunk: raw, LZ4 or zstd, and the only way back, which verifies.

A chunk is encoded once, when it enters a store, and then lies on disk and travels in that form. Nothing samples the
content first to guess whether it compresses: on incompressible bytes both compressors give up by themselves (measured
3 to 4 GB/s for zstd-3 and 5 GB/s for LZ4; zstd-3 compresses real text and libraries at 300 to 350 MB/s), and a guess
from samples is wrong about files of several parts.
"""

from collections import deque
from enum import Enum, IntEnum

import lz4.block
import msgspec
import zstandard
from blake3 import blake3

from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.errors import CorruptChunk
from forge_p2p.ids import Hash

Raw = bytes | bytearray | memoryview


class Codec(IntEnum):
    """How stored bytes become raw ones. The numbers are part of the formats on disk and on the wire."""

    RAW = 0
    LZ4 = 1
    ZSTD = 2


class Effort(Enum):
    """How hard to try: `HOT` for content about to be read, `WARM` at ingest, `COLD` in the background."""

    HOT = "hot"
    WARM = "warm"
    COLD = "cold"


class EncodedChunk(msgspec.Struct, frozen=True, gc=False):
    """A chunk in stored form. `hash` names the raw bytes, `size` is their count (at most `CHUNK_MAX`)."""

    hash: Hash
    codec: Codec
    size: int
    data: bytes | memoryview


_WARM_LEVEL = 3
_COLD_LEVEL = 19

_ZSTD_MAGIC = zstandard.FRAME_HEADER

_MIN_SAVING = 16
"""A sixteenth, 6 %: less is not worth decompressing for at every read, and bars the kernel's copies."""


class _Compressors:
    """Idle contexts of one level. A context is costly to make and must not be shared, so whoever needs one takes it
    out; a deque's ends may be used by any number of threads. There are never more than ever ran at once."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._idle: deque[zstandard.ZstdCompressor] = deque()

    def compress(self, raw: Raw) -> bytes:
        try:
            context = self._idle.pop()
        except IndexError:
            context = zstandard.ZstdCompressor(level=self._level, write_content_size=True)
        packed = context.compress(raw)
        self._idle.append(context)
        return packed


_warm = _Compressors(_WARM_LEVEL)
_cold = _Compressors(_COLD_LEVEL)
_decompressors: deque[zstandard.ZstdDecompressor] = deque()


def encode(chunk: Hash, raw: Raw, effort: Effort = Effort.WARM) -> EncodedChunk:
    """The stored form of `raw` (at most `CHUNK_MAX` bytes), which the caller has hashed to `chunk`.

    Falls back to `Codec.RAW`, which then refers to `raw` itself without a copy, where compression saves too little.
    Safe from any thread; releases the GIL while compressing.
    """
    size = len(raw)
    worth = size - size // _MIN_SAVING
    if effort is Effort.HOT:
        codec, packed = Codec.LZ4, lz4.block.compress(raw, store_size=False)
    else:
        codec, packed = Codec.ZSTD, _warm.compress(raw)
        if effort is Effort.COLD and len(packed) < size:
            packed = _cold.compress(raw)
    if size and len(packed) < worth:
        return EncodedChunk(chunk, codec, size, packed)
    return EncodedChunk(chunk, Codec.RAW, size, memoryview(raw) if isinstance(raw, bytearray) else raw)


def decode(chunk: EncodedChunk) -> bytes | memoryview:
    """The raw bytes of `chunk`, verified against its hash. Never allocates more than the chunk's declared size.

    Raises `CorruptChunk`. For `Codec.RAW` the result is `chunk.data` itself.
    """
    if not 0 <= chunk.size <= CHUNK_MAX:
        raise _corrupt(chunk, f"claims {chunk.size} bytes, the most is {CHUNK_MAX}")
    raw = _unpack(chunk)
    if len(raw) != chunk.size:
        raise _corrupt(chunk, f"has {len(raw)} bytes instead of {chunk.size}")
    if blake3(raw).digest() != chunk.hash:
        raise _corrupt(chunk, "does not match its hash")
    return raw


def _unpack(chunk: EncodedChunk) -> bytes | memoryview:
    if chunk.codec == Codec.RAW:
        return chunk.data
    try:
        if chunk.codec == Codec.LZ4:
            unpacked: bytes = lz4.block.decompress(chunk.data, uncompressed_size=chunk.size)
            return unpacked
        if chunk.codec == Codec.ZSTD:
            return _unpack_zstd(chunk)
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise _corrupt(chunk, f"cannot be decompressed: {error}") from error
    raise _corrupt(chunk, f"has unknown codec {chunk.codec}")


def _unpack_zstd(chunk: EncodedChunk) -> bytes:
    # The library allocates what the header claims, even that of a skippable frame, so claims are checked first.
    if chunk.data[: len(_ZSTD_MAGIC)] != _ZSTD_MAGIC:
        raise _corrupt(chunk, "is not a zstd frame")
    claimed = zstandard.frame_content_size(chunk.data)
    if claimed != chunk.size:
        raise _corrupt(chunk, f"is a frame of {claimed} bytes instead of {chunk.size}")
    try:
        context = _decompressors.pop()
    except IndexError:
        context = zstandard.ZstdDecompressor()
    raw = context.decompress(chunk.data, max_output_size=chunk.size, read_across_frames=False, allow_extra_data=False)
    _decompressors.append(context)
    return raw


def _corrupt(chunk: EncodedChunk, reason: str) -> CorruptChunk:
    return CorruptChunk(f"chunk {chunk.hash.hex()[:16]} {reason}", hint="it has to be fetched again")
