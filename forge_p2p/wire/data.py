"""The DATA frame: up to 1 MiB of chunks in stored form, laid out so that Python never touches their bytes.

    count    u16
    rows     count times: index u16, codec u8, raw size u32, stored length u32
    payloads the stored bytes, one chunk behind the other, in the order of the rows

All integers big-endian. Rows of fixed size in front make one `iter_unpack` and one slice a chunk; payloads stay where
they arrived, as views of one buffer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct

from forge_p2p.content.codec import Codec, EncodedChunk
from forge_p2p.content.delta import DeltaChunk
from forge_p2p.errors import Malformed
from forge_p2p.wire.limits import CHUNK_SIZE_MAX, DATA_PAYLOAD_MAX, HASHES_MAX

_COUNT = Struct(">H")
_ROW = Struct(">HBII")
ROW_SIZE = _ROW.size
DATA_OVERHEAD = _COUNT.size

CODECS = tuple(sorted(Codec))
"""By number, so that a lookup costs an index instead of a call."""

Row = tuple[int, int, int, memoryview]
"""Index within the request, codec, raw size, stored bytes."""


@dataclass(frozen=True, slots=True)
class Data:
    """Chunks of one request, sizes checked against each other; `rows` view the frame's one buffer."""

    rows: list[Row]


def decode_data(body: memoryview) -> Data:
    """Splits a frame. Raises `Malformed`; whether the chunks were asked for is for the session to say."""
    if len(body) < DATA_OVERHEAD:
        raise Malformed("DATA frame is too short for its count")
    (count,) = _COUNT.unpack_from(body)
    start = at = DATA_OVERHEAD + count * ROW_SIZE
    if not 0 < count <= HASHES_MAX or start > len(body):
        raise Malformed(f"DATA frame of {len(body)} bytes claims {count} chunks")
    rows: list[Row] = []
    for index, codec, size, stored in _ROW.iter_unpack(body[DATA_OVERHEAD:start]):
        # Only a chunk that shrank is stored compressed, so nothing is ever longer than what it names.
        if codec > 2 or size > CHUNK_SIZE_MAX or stored > size or (codec == 0 and stored != size):
            raise Malformed(f"DATA frame claims a chunk of {size} bytes stored as {stored} by codec {codec}")
        end = at + stored
        rows.append((index, codec, size, body[at:end]))
        at = end
    if at != len(body):
        raise Malformed(f"DATA frame has {len(body) - start} payload bytes, its rows claim {at - start}")
    return Data(rows)


def encode_data(indexes: Sequence[int], chunks: Sequence[EncodedChunk]) -> list[bytes | memoryview]:
    """The body of one frame: its head, then each chunk's stored bytes, uncopied."""
    pack = _ROW.pack
    rows = [pack(index, chunk.codec, chunk.size, len(chunk.data)) for index, chunk in zip(indexes, chunks, strict=True)]
    return [_COUNT.pack(len(rows)) + b"".join(rows), *[chunk.data for chunk in chunks]]


def split_batches(chunks: Sequence[EncodedChunk | DeltaChunk]) -> Iterator[slice]:
    """Runs of `chunks`, or of deltas, that fit one frame each."""
    start = payload = 0
    for at, chunk in enumerate(chunks):
        size = len(chunk.data)
        if at > start and (payload + size > DATA_PAYLOAD_MAX or at - start == HASHES_MAX):
            yield slice(start, at)
            start, payload = at, 0
        payload += size
    if start < len(chunks):
        yield slice(start, len(chunks))
