"""Deltas: a chunk said as what distinguishes it from a *base* that the receiver has.

Both forms are a zstd frame with a prefix that both sides know, so the only decoder of a stranger's delta is zstd's.

`BASE`: the prefix is the base, which the sender has too. An edit in 128 KiB of text is 80 bytes.

`PIECES`: the sender lacks the base, and the receiver sent its *signature*: the base cut by FastCDC into pieces of half
a KiB or so, four bytes of BLAKE3 each. The sender cuts the new chunk alike, recognises pieces, and takes those as
prefix; a bitmap in front of the frame says which. Cuts depend on content, so unlike rsync's fixed blocks they need no
rolling checksum at every offset, and no second, strong hash: what is recognised wrongly fails the chunk's own hash.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import zstandard
from blake3 import blake3
from zstandard import ZstdCompressionDict, ZstdCompressionParameters, ZstdCompressor, ZstdDecompressor

from forge_p2p.content.chunking import cut_pieces
from forge_p2p.content.link import CHUNK_MAX, hash_bytes
from forge_p2p.errors import CorruptChunk, Malformed
from forge_p2p.ids import Hash

PIECE_HASH: Final = 4
"""Bytes of a piece's hash in a signature. Two of 500 pieces are taken for the same by chance once in 17,000 chunks,
which costs that chunk whole; 8 bytes would cost every signature twice as much."""

PIECES_MAX: Final = 1024
"""Of one signature: the largest chunk in pieces of the least size."""

SIGNATURE_MAX: Final = 1 + PIECES_MAX * PIECE_HASH
"""Bytes."""

_SCALES: Final = range(8, 11)
"""Binary logarithms of the average size of a piece: 256, 512 and 1024 bytes."""

_LEVEL: Final = 3
"""Measured with a prefix of 128 KiB and one edit: 76 bytes in 1.1 ms; level 1: 82 in 0.3; level 19: 74 in 7.7."""

_WINDOW_LOG: Final = 19
"""Reaches over a whole base and a whole chunk."""

_RAW_CONTENT = zstandard.DICT_TYPE_RAWCONTENT


class DeltaForm(IntEnum):
    """What the prefix is. The numbers are part of the format on the wire; no delta is ever stored."""

    BASE = 1
    PIECES = 2


@dataclass(frozen=True, slots=True)
class DeltaChunk:
    """A chunk as a delta. `hash` names the raw bytes, `size` is their count (at most `CHUNK_MAX`)."""

    hash: Hash
    form: DeltaForm
    size: int
    data: bytes | memoryview


def from_base(chunk: Hash, raw: bytes | memoryview, base: bytes | memoryview) -> DeltaChunk:
    """What `raw`, which the caller knows as `chunk`, has that `base` has not."""
    return DeltaChunk(chunk, DeltaForm.BASE, len(raw), _compress(raw, bytes(base)))


def sign(base: bytes | memoryview) -> bytes:
    """The signature of a base: the scale of its pieces in one byte, then their hashes in order."""
    scale = _scale_of(len(base))
    return bytes((scale,)) + b"".join([name for name, _ in _pieces(base, scale)])


def from_signature(chunk: Hash, raw: bytes | memoryview, signature: bytes) -> DeltaChunk:
    """What `raw` has that the base behind `signature` has not, as far as it is recognised. Raises `Malformed`."""
    if not signature or len(signature) > SIGNATURE_MAX or len(signature) % PIECE_HASH != 1:
        raise Malformed(f"a delta's signature of {len(signature)} bytes is not a scale and whole hashes")
    if signature[0] not in _SCALES:
        raise Malformed(f"a delta's signature has the scale {signature[0]}, none of {list(_SCALES)}")
    here = dict(_pieces(raw, signature[0]))
    bits = bytearray((len(signature) // PIECE_HASH + 7) // 8)
    prefix: list[memoryview] = []
    for index, at in enumerate(range(1, len(signature), PIECE_HASH)):
        piece = here.get(signature[at : at + PIECE_HASH])
        if piece is not None:
            bits[index >> 3] |= 0x80 >> (index & 7)
            prefix.append(piece)
    joined = b"".join(prefix)[:CHUNK_MAX]
    return DeltaChunk(chunk, DeltaForm.PIECES, len(raw), bytes(bits) + _compress(raw, joined))


def apply(delta: DeltaChunk, base: bytes | memoryview) -> bytes:
    """The raw bytes of a delta's chunk, verified. Never allocates more than twice `CHUNK_MAX`. Raises
    `CorruptChunk`."""
    if not 0 <= delta.size <= CHUNK_MAX:
        raise _corrupt(delta, f"claims {delta.size} bytes, the most is {CHUNK_MAX}")
    frame, prefix = memoryview(delta.data), bytes(base)
    if delta.form is DeltaForm.PIECES:
        pieces = [piece for _, piece in _pieces(base, _scale_of(len(base)))]
        head = (len(pieces) + 7) // 8
        bits = f"{int.from_bytes(frame[:head]):0{8 * head}b}"
        prefix = b"".join([piece for piece, bit in zip(pieces, bits, strict=False) if bit == "1"])
        frame = frame[head:]
    try:
        raw = _decompress(frame, delta, prefix)
    except zstandard.ZstdError as error:
        raise _corrupt(delta, f"cannot be decompressed: {error}") from error
    if len(raw) != delta.size or hash_bytes(raw) != delta.hash:
        raise _corrupt(delta, "does not match its hash")
    return raw


def _scale_of(size: int) -> int:
    """Small pieces for small bases: a signature stays well below a KiB, and so does a piece that changed."""
    return 8 if size <= 16 * 1024 else 9 if size <= 96 * 1024 else 10


def _pieces(content: bytes | memoryview, scale: int) -> list[tuple[bytes, memoryview]]:
    """The pieces of a chunk in order, each with its short hash."""
    return [(blake3(piece).digest(PIECE_HASH), piece) for piece in cut_pieces(content, 1 << scale)]


def _compress(raw: bytes | memoryview, prefix: bytes) -> bytes:
    known = ZstdCompressionDict(prefix, dict_type=_RAW_CONTENT)
    parameters = ZstdCompressionParameters.from_level(
        _LEVEL,
        source_size=len(raw),
        dict_size=len(prefix),
        window_log=_WINDOW_LOG,
        write_content_size=True,
        write_dict_id=False,
    )
    return ZstdCompressor(dict_data=known, compression_params=parameters).compress(raw)


def _decompress(frame: memoryview, delta: DeltaChunk, prefix: bytes) -> bytes:
    # The library allocates what the header claims, even that of a skippable frame, so claims are checked first.
    if frame[: len(zstandard.FRAME_HEADER)] != zstandard.FRAME_HEADER:
        raise _corrupt(delta, "is not a zstd frame")
    if zstandard.frame_content_size(frame) != delta.size:
        raise _corrupt(delta, f"is a frame of other than {delta.size} bytes")
    known = ZstdCompressionDict(prefix, dict_type=_RAW_CONTENT)
    context = ZstdDecompressor(dict_data=known, max_window_size=1 << _WINDOW_LOG)
    return context.decompress(frame, max_output_size=delta.size, read_across_frames=False, allow_extra_data=False)


def _corrupt(delta: DeltaChunk, reason: str) -> CorruptChunk:
    return CorruptChunk(
        f"the delta of chunk {delta.hash.hex()[:16]} {reason}", hint="the chunk has to be fetched whole"
    )
