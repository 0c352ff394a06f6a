"""The fixed records of the store, as bytes. All integers are little-endian, except keys that have to sort.

Every stored form carries an XXH3-64 seeded with the chunk's hash, codec and size, so the 8 bytes vouch for the record
around them too: bytes of another chunk, a wrong codec or a wrong length never pass.
"""

from collections.abc import Iterator
from mmap import mmap
from struct import Struct, error
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from forge_p2p.content.codec import Codec, EncodedChunk
from forge_p2p.content.link import CHUNK_MAX
from forge_p2p.ids import Hash

Buffer = bytes | bytearray | memoryview

CODECS: Final = tuple(Codec)

_HASH_HEAD = Struct("<Q")

_INLINE = Struct("<4sB?xxIIIQ32s")
INLINE_MAGIC: Final = b"FgC1"
INLINE_HEADER: Final = _INLINE.size
"""60 bytes: magic, codec, cold, raw size, stored size, Unix seconds when added, checksum, hash. The stored form comes
next. The hash is the key once more, so that a chunk can be told without its database."""

_SLICE = Struct("<QQIIBQ")
_OFFSET_MAX: Final = 1 << 48

_JOURNAL_HEAD = Struct("<8sQQB39x")
_JOURNAL_ROW = Struct("<32sQIIBxxxIQ")
JOURNAL_MAGIC: Final = b"FgSlice1"
JOURNAL_ROW: Final = _JOURNAL_ROW.size
"""64 bytes, as the header of a journal, so a torn end is seen from the length."""

_FILE_KEY = Struct(">Q")
_FILE_ROW = Struct("<QIIQd?")


class Slice(NamedTuple):
    """Where a chunk lies: `stored` bytes at `offset` of a data file, `size` bytes when decoded."""

    file_id: int
    offset: int
    stored: int
    size: int
    codec: int
    check: int


NOWHERE: Final = Slice(0, 0, 0, 0, 0, 0)
"""Stands for a damaged record: no such file, and nothing has this checksum."""


class Inline(NamedTuple):
    """A chunk that is a value of the database."""

    codec: int
    size: int
    added: int
    check: int
    data: memoryview
    cold: bool
    """Compressed as far as it goes."""


class JournalHead(NamedTuple):
    """What a journal says of itself: its file's id, when it was begun, whether it holds many small contents."""

    file_id: int
    created: int
    shared: bool


class JournalRow(NamedTuple):
    hash: Hash
    offset: int
    stored: int
    size: int
    codec: int
    added: int
    check: int


class FileRow(NamedTuple):
    """A data file in the index: its bytes, and how many of its slices and their bytes are still referred to."""

    size: int
    slices: int
    live: int
    live_bytes: int
    created: float
    cold: bool
    """Compressed as far as it goes."""

    def without(self, stored: int) -> "FileRow":
        """After one of its slices has died."""
        return self._replace(live=max(0, self.live - 1), live_bytes=max(0, self.live_bytes - stored))


def checksum(chunk: bytes, codec: int, size: int, data: Buffer) -> int:
    """XXH3-64 of a stored form, bound to what it claims to be."""
    return xxh3_64_intdigest(data, _HASH_HEAD.unpack_from(chunk)[0] ^ (size << 8 | codec))


def check_of(chunk: EncodedChunk) -> int:
    return checksum(chunk.hash, chunk.codec, chunk.size, chunk.data)


def pack_inline(chunk: EncodedChunk, added: int, *, cold: bool = False) -> bytes:
    data = chunk.data
    head = _INLINE.pack(INLINE_MAGIC, chunk.codec, cold, chunk.size, len(data), added, check_of(chunk), chunk.hash)
    return b"".join((head, data))


def unpack_inline(value: bytes) -> Inline | None:
    """`None` for what is not a whole record; whether the stored form is right is for the checksum to say."""
    try:
        magic, codec, cold, size, stored, added, check, _ = _INLINE.unpack_from(value)
    except error:
        return None
    if magic != INLINE_MAGIC or codec >= len(CODECS) or size > CHUNK_MAX or len(value) != INLINE_HEADER + stored:
        return None
    return Inline(codec, size, added, check, memoryview(value)[INLINE_HEADER:], cold)


def broken_inline(value: bytes) -> Inline:
    """Stands for a record that is none: whatever it is, it does not have this checksum."""
    return Inline(0, 0, 0, 0, memoryview(value), cold=False)


def inline_at(data: Buffer | mmap, at: int) -> tuple[Hash, Inline] | None:
    """The record that begins at an offset of a broken database, if it is one and its bytes are right."""
    try:
        _, codec, cold, size, stored, added, check, chunk = _INLINE.unpack_from(data, at)
    except error:
        return None
    form = data[at + INLINE_HEADER : at + INLINE_HEADER + stored]
    if codec >= len(CODECS) or size > CHUNK_MAX or len(form) != stored:
        return None
    if checksum(chunk, codec, size, form) != check:
        return None
    return Hash(chunk), Inline(codec, size, added, check, memoryview(form), cold)


def pack_slice(where: Slice) -> bytes:
    return _SLICE.pack(*where)


def unpack_slice(value: bytes | memoryview) -> Slice:
    """`NOWHERE` for what no slice can be."""
    if len(value) != _SLICE.size:
        return NOWHERE
    where = Slice._make(_SLICE.unpack(value))
    if where.stored > CHUNK_MAX or where.offset > _OFFSET_MAX or where.codec >= len(CODECS):
        return NOWHERE
    return where


def pack_journal_head(head: JournalHead) -> bytes:
    return _JOURNAL_HEAD.pack(JOURNAL_MAGIC, head.file_id, head.created, head.shared)


def unpack_journal_head(data: bytes) -> JournalHead | None:
    if len(data) < JOURNAL_ROW:
        return None
    magic, file_id, created, shared = _JOURNAL_HEAD.unpack_from(data)
    return JournalHead(file_id, created, bool(shared)) if magic == JOURNAL_MAGIC else None


def pack_journal_row(chunk: bytes, where: Slice, added: int) -> bytes:
    return _JOURNAL_ROW.pack(chunk, where.offset, where.stored, where.size, where.codec, added, where.check)


def journal_rows(data: bytes) -> Iterator[JournalRow]:
    """The whole rows of a journal's bytes that could be slices at all; a torn end is left out."""
    whole = len(data) - len(data) % JOURNAL_ROW
    for row in map(JournalRow._make, _JOURNAL_ROW.iter_unpack(memoryview(data)[JOURNAL_ROW:whole])):
        if row.codec < len(CODECS) and max(row.size, row.stored) <= CHUNK_MAX and row.offset <= _OFFSET_MAX:
            yield row


def pack_file_key(file_id: int) -> bytes:
    return _FILE_KEY.pack(file_id)


def unpack_file_key(key: bytes) -> int:
    file_id: int = _FILE_KEY.unpack(key)[0]
    return file_id


def pack_file_row(row: FileRow) -> bytes:
    return _FILE_ROW.pack(*row)


def unpack_file_row(value: bytes) -> FileRow:
    return FileRow._make(_FILE_ROW.unpack(value))
