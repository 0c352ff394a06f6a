"""Bundles: many chunks in stored form as one object of a bucket, and index blobs, which say what is in bundles.

One object a chunk would cost one request a chunk. A bundle is written once, named by the BLAKE3-256 of all its bytes,
and read in ranges. Its name cannot be guessed from its content: it begins with 16 random bytes. For the same reason no
name ever comes a second time, so that deleting a bundle can never meet somebody who has just written the same.

    bundle   head     8   "FRGBNDL1", then 16 random bytes
             forms        the chunks' stored forms, back to back
             rows         one of 53 bytes a chunk, in the order of the forms
             tail    44   u32 how many rows, BLAKE3-256 of the rows, 8 bytes "FRGBNDLE"
    row              32s  hash of the raw bytes
                     u32  offset in the bundle, u32 bytes of the stored form, u32 raw bytes
                     u8   codec, u64 XXH3-64 of the stored form
    index    head     8   "FRGINDX1", then 16 random bytes, u32 how many bundles
             bundles      one of 40 bytes each: 32s name, u32 size, u32 how many rows
             rows         those of the first bundle, then those of the second, ...

Numbers are little-endian. The rows at the end of a bundle make that it can be read without any index; an index saves
asking every bundle.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from xxhash import xxh3_64_intdigest

from forge_p2p.content.codec import Codec, EncodedChunk
from forge_p2p.content.link import CHUNK_MAX, hash_bytes
from forge_p2p.errors import CorruptChunk, Malformed
from forge_p2p.ids import HASH_SIZE, Hash

BUNDLE_BYTES: Final = 24 << 20
"""A bundle ends with the chunk that reaches this: few objects, and still little to write again when a push is cut."""

BUNDLE_MAX: Final = 64 << 20
INDEX_MAX: Final = 64 << 20
"""Bytes of the largest that are read: more is malformed."""

NONCE_SIZE: Final = 16

_BUNDLE_MAGIC: Final = b"FRGBNDL1"
_BUNDLE_END: Final = b"FRGBNDLE"
_INDEX_MAGIC: Final = b"FRGINDX1"
_ROW = struct.Struct(f"<{HASH_SIZE}sIIIBQ")
_TAIL = struct.Struct(f"<I{HASH_SIZE}s8s")
_INDEX_HEAD = struct.Struct(f"<8s{NONCE_SIZE}sI")
_HELD = struct.Struct(f"<{HASH_SIZE}sII")

ROW_SIZE: Final = _ROW.size
TAIL_SIZE: Final = _TAIL.size


@dataclass(frozen=True, slots=True)
class Slice:
    """Where a chunk's stored form is: `length` bytes at `offset` of a bundle; `size` raw bytes in `codec`; `check` is
    the XXH3-64 of the stored form."""

    hash: Hash
    bundle: Hash
    offset: int
    length: int
    size: int
    codec: Codec
    check: int

    def chunk(self, form: bytes | memoryview) -> EncodedChunk:
        """The chunk whose stored form `form` is. Raises `CorruptChunk` if it is not."""
        if len(form) != self.length or xxh3_64_intdigest(form) != self.check:
            raise CorruptChunk(
                f"chunk {self.hash.hex()[:16]} is damaged in bundle {self.bundle.hex()[:16]}",
                hint="forge edge check --repair puts it right from what is here",
            )
        return EncodedChunk(self.hash, self.codec, self.size, form)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A finished bundle: its name, its bytes, its rows as they are in it."""

    name: Hash
    data: bytes
    rows: bytes

    @property
    def count(self) -> int:
        return len(self.rows) // ROW_SIZE


class BundleBuilder:
    """Collects chunks until `full`. `nonce`: `NONCE_SIZE` random bytes."""

    def __init__(self, nonce: bytes) -> None:
        self._parts: list[bytes | memoryview] = [_BUNDLE_MAGIC, nonce]
        self._rows = bytearray()
        self.size = len(_BUNDLE_MAGIC) + NONCE_SIZE

    @property
    def full(self) -> bool:
        return self.size >= BUNDLE_BYTES

    @property
    def empty(self) -> bool:
        return not self._rows

    def add(self, chunk: EncodedChunk) -> None:
        """One more chunk; whoever calls has checked it."""
        length = len(chunk.data)
        self._rows += _ROW.pack(chunk.hash, self.size, length, chunk.size, chunk.codec, xxh3_64_intdigest(chunk.data))
        self._parts.append(chunk.data)
        self.size += length

    def finish(self) -> Bundle:
        """The bundle."""
        rows = bytes(self._rows)
        tail = _TAIL.pack(len(rows) // ROW_SIZE, hash_bytes(rows), _BUNDLE_END)
        data = b"".join([*self._parts, rows, tail])
        return Bundle(hash_bytes(data), data, rows)


def rows_size(size: int, tail: bytes) -> int:
    """How many bytes of rows stand before the tail of a bundle of `size` bytes. Raises `Malformed`."""
    count, _, magic = _TAIL.unpack(tail) if len(tail) == TAIL_SIZE else (0, b"", b"")
    length: int = count * ROW_SIZE
    if magic != _BUNDLE_END or not 0 < length <= size - TAIL_SIZE or size > BUNDLE_MAX:
        raise Malformed("this is not the end of a bundle")
    return length


def checked_rows(size: int, rows: bytes, tail: bytes) -> bytes:
    """`rows` as read from the end of a bundle of `size` bytes. Raises `Malformed`."""
    if len(rows) != rows_size(size, tail) or hash_bytes(rows) != _TAIL.unpack(tail)[1]:
        raise Malformed("the rows at the end of a bundle do not match its tail")
    return rows


@dataclass(frozen=True, slots=True)
class Held:
    """A bundle as an index has it: its name, its size in bytes, its rows."""

    name: Hash
    size: int
    rows: bytes | memoryview

    @property
    def count(self) -> int:
        return len(self.rows) // ROW_SIZE

    def slices(self) -> Iterator[Slice]:
        """What its rows say. Raises `Malformed` for what cannot be."""
        return (slice_at(self.name, self.size, self.rows, number) for number in range(self.count))


def encode_index(bundles: Sequence[Held], nonce: bytes) -> bytes:
    """An index blob. `nonce`: as for a bundle."""
    head = _INDEX_HEAD.pack(_INDEX_MAGIC, nonce, len(bundles))
    table = [_HELD.pack(each.name, each.size, len(each.rows) // ROW_SIZE) for each in bundles]
    return b"".join([head, *table, *(each.rows for each in bundles)])


def decode_index(data: bytes) -> list[Held]:
    """The bundles of an index blob; their rows are checked when they are read. Raises `Malformed`."""
    if len(data) < _INDEX_HEAD.size or data[: len(_INDEX_MAGIC)] != _INDEX_MAGIC or len(data) > INDEX_MAX:
        raise Malformed("this is not an index of bundles")
    count = _INDEX_HEAD.unpack_from(data)[2]
    at = _INDEX_HEAD.size + count * _HELD.size
    if at > len(data):
        raise Malformed(f"an index of {len(data)} bytes says that it names {count} bundles")
    view = memoryview(data)
    bundles = []
    for name, size, rows in _HELD.iter_unpack(view[_INDEX_HEAD.size : at]):
        end = at + rows * ROW_SIZE
        bundles.append(Held(Hash(name), size, view[at:end]))
        at = end
    if at != len(data):
        raise Malformed("an index of bundles is not as long as it says")
    return bundles


def hashes_of(rows: bytes | memoryview) -> Iterator[Hash]:
    """The chunks that rows name, in their order."""
    return (Hash(row[0]) for row in _ROW.iter_unpack(rows))


def slice_at(bundle: Hash, size: int, rows: bytes | memoryview, number: int) -> Slice:
    """One of them. Raises `Malformed`."""
    name, offset, length, raw, codec, check = _ROW.unpack_from(rows, number * ROW_SIZE)
    if offset + length > size or raw > CHUNK_MAX or length > max(raw, 1) or codec not in _CODECS:
        raise Malformed(f"a row of bundle {bundle.hex()[:16]} says what cannot be")
    return Slice(Hash(name), bundle, offset, length, raw, Codec(codec), check)


_CODECS: Final = frozenset(int(codec) for codec in Codec)
