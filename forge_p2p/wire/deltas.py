"""The DELTA frame: chunks as deltas against bases that the asker named. Laid out like DATA (`data`).

    count    u16
    rows     count times: index u16, form u8, raw size u32, delta's length u32
    payloads the deltas, one behind the other, in the order of the rows

A frame of its own, so that nothing is asked of DATA's rows that most transfers never need.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from forge_p2p.content.delta import DeltaChunk, DeltaForm
from forge_p2p.errors import Malformed
from forge_p2p.wire.limits import CHUNK_SIZE_MAX, HASHES_MAX

_COUNT = Struct(">H")
_ROW = Struct(">HBII")

DeltaRow = tuple[int, DeltaForm, int, memoryview]
"""Index within the request, form, raw size, delta."""


@dataclass(frozen=True, slots=True)
class Deltas:
    """Deltas for one request, sizes checked against each other; `rows` view the frame's one buffer."""

    rows: list[DeltaRow]


def decode_deltas(body: memoryview) -> Deltas:
    """Splits a frame. Raises `Malformed`; whether a base was named is for the session to say."""
    if len(body) < _COUNT.size:
        raise Malformed("DELTA frame is too short for its count")
    (count,) = _COUNT.unpack_from(body)
    start = at = _COUNT.size + count * _ROW.size
    if not 0 < count <= HASHES_MAX or start > len(body):
        raise Malformed(f"DELTA frame of {len(body)} bytes claims {count} chunks")
    rows: list[DeltaRow] = []
    for index, form, size, length in _ROW.iter_unpack(body[_COUNT.size : start]):
        # A delta is sent only where it is smaller than the chunk.
        if form not in _FORMS or not length <= size <= CHUNK_SIZE_MAX:
            raise Malformed(f"DELTA frame claims a chunk of {size} bytes as {length} bytes of form {form}")
        rows.append((index, _FORMS[form], size, body[at : at + length]))
        at += length
    if at != len(body):
        raise Malformed(f"DELTA frame has {len(body) - start} payload bytes, its rows claim {at - start}")
    return Deltas(rows)


def encode_deltas(indexes: Sequence[int], deltas: Sequence[DeltaChunk]) -> list[bytes | memoryview]:
    """The body of one frame: its head, then each delta, uncopied. Keep to `data.split_batches`."""
    pairs = zip(indexes, deltas, strict=True)
    rows = [_ROW.pack(index, delta.form, delta.size, len(delta.data)) for index, delta in pairs]
    return [_COUNT.pack(len(rows)) + b"".join(rows), *[delta.data for delta in deltas]]


_FORMS = {int(form): form for form in DeltaForm}
