"""The DELTA frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.delta import DeltaChunk, DeltaForm
from forge_p2p.errors import Malformed
from forge_p2p.ids import Hash
from forge_p2p.wire.data import split_batches
from forge_p2p.wire.deltas import Deltas, decode_deltas, encode_deltas
from forge_p2p.wire.frames import FrameReader, encode_delta_frame
from forge_p2p.wire.limits import DATA_PAYLOAD_MAX, HASHES_MAX

HASH = Hash(bytes(32))


@st.composite
def deltas(draw: st.DrawFn) -> DeltaChunk:
    """Not real ones: nothing on the wire looks inside."""
    data = draw(st.binary(max_size=500))
    return DeltaChunk(HASH, draw(st.sampled_from(DeltaForm)), draw(st.integers(len(data), 262_144)), data)


batches = st.lists(deltas(), min_size=1, max_size=20)


def test_bytes_are_these() -> None:
    form = "28 10 0001 0003 01 0000012c 00000003 616263"
    assert b"".join(encode_delta_frame([3], [DeltaChunk(HASH, DeltaForm.BASE, 300, b"abc")])).hex() == form.replace(
        " ", ""
    )
    (message,) = FrameReader().feed(bytes.fromhex(form))
    assert message == Deltas([(3, DeltaForm.BASE, 300, memoryview(b"abc"))])


@given(batches)
def test_round_trip(chunks: list[DeltaChunk]) -> None:
    indexes = list(range(len(chunks)))[::-1]
    rows = decode_deltas(memoryview(b"".join(encode_deltas(indexes, chunks)))).rows
    assert rows == [(index, chunk.form, chunk.size, chunk.data) for index, chunk in zip(indexes, chunks, strict=True)]


@given(batches, st.data())
def test_a_body_cut_or_lengthened_is_malformed(chunks: list[DeltaChunk], data: st.DataObject) -> None:
    body = b"".join(encode_deltas(range(len(chunks)), chunks))
    with pytest.raises(Malformed):
        decode_deltas(memoryview(body[: data.draw(st.integers(0, len(body) - 1))]))
    with pytest.raises(Malformed):
        decode_deltas(memoryview(body + b"\x00"))


@pytest.mark.parametrize(
    "row",
    [
        "0000 00 0000000a 00000000",
        "0000 03 0000000a 00000000",
        "0000 01 00040001 00000000",
        "0000 01 00000000 00000001",
    ],
)
def test_rows_out_of_bounds_are_malformed(row: str) -> None:
    with pytest.raises(Malformed):
        decode_deltas(memoryview(bytes.fromhex("0001" + row) + b"x"))


@given(st.lists(st.integers(0, 262_144), max_size=60))
def test_batches_fit_frames_and_lose_nothing(sizes: list[int]) -> None:
    blank = memoryview(bytes(262_144))
    chunks = [DeltaChunk(HASH, DeltaForm.BASE, 262_144, blank[:size]) for size in sizes]
    slices = list(split_batches(chunks))
    assert [chunk for batch in slices for chunk in chunks[batch]] == chunks
    assert all(sum(len(chunk.data) for chunk in chunks[batch]) <= DATA_PAYLOAD_MAX for batch in slices)


def test_a_batch_has_no_more_rows_than_a_request_has_hashes() -> None:
    chunks = [DeltaChunk(HASH, DeltaForm.BASE, 0, b"")] * (HASHES_MAX + 1)
    assert [batch.stop - batch.start for batch in split_batches(chunks)] == [HASHES_MAX, 1]
