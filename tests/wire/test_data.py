"""The DATA frame."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.codec import Codec, EncodedChunk
from forge_p2p.errors import Malformed
from forge_p2p.ids import Hash
from forge_p2p.wire.data import Data, decode_data, encode_data, split_batches
from forge_p2p.wire.frames import FrameReader, encode_data_frame
from forge_p2p.wire.limits import DATA_MAX, DATA_PAYLOAD_MAX, HASHES_MAX
from tests.wire.strategies import batches

HASH = Hash(bytes(32))


def test_bytes_are_these() -> None:
    chunks = [EncodedChunk(HASH, Codec.RAW, 3, b"abc"), EncodedChunk(HASH, Codec.ZSTD, 70_000, b"zz")]
    form = "11 1d 0002 0003 00 00000003 00000003 012c 02 00011170 00000002 616263 7a7a"
    assert b"".join(encode_data_frame([3, 300], chunks)).hex() == form.replace(" ", "")
    (message,) = FrameReader().feed(bytes.fromhex(form))
    assert message == Data([(3, 0, 3, memoryview(b"abc")), (300, 2, 70_000, memoryview(b"zz"))])


@given(batches)
def test_round_trip(chunks: list[EncodedChunk]) -> None:
    indexes = list(range(len(chunks)))[::-1]
    body = b"".join(encode_data(indexes, chunks))
    rows = decode_data(memoryview(body)).rows
    assert rows == [(index, chunk.codec, chunk.size, chunk.data) for index, chunk in zip(indexes, chunks, strict=True)]


@given(batches, st.data())
def test_a_body_cut_or_lengthened_is_malformed(chunks: list[EncodedChunk], data: st.DataObject) -> None:
    body = b"".join(encode_data(range(len(chunks)), chunks))
    with pytest.raises(Malformed):
        decode_data(memoryview(body[: data.draw(st.integers(0, len(body) - 1))]))
    with pytest.raises(Malformed):
        decode_data(memoryview(body + b"\x00"))


def test_payloads_are_views_of_what_arrived() -> None:
    chunk = EncodedChunk(HASH, Codec.RAW, 5000, bytes(5000))
    wire = b"".join(encode_data_frame([0, 1], [chunk, chunk]))
    (message,) = FrameReader().feed(wire)
    assert isinstance(message, Data)
    assert all(row[3].obj is wire for row in message.rows), "a frame within one piece is not copied"
    reader = FrameReader()
    assert reader.feed(wire[:6000]) == []
    (message,) = reader.feed(wire[6000:])
    assert isinstance(message, Data)
    assert len({id(row[3].obj) for row in message.rows}) == 1, "a frame in pieces is copied once"


@given(st.lists(st.integers(0, 262_144), max_size=60))
def test_batches_fit_frames_and_lose_nothing(sizes: list[int]) -> None:
    blank = memoryview(bytes(262_144))
    chunks = [EncodedChunk(HASH, Codec.RAW, size, blank[:size]) for size in sizes]
    slices = list(split_batches(chunks))
    assert [chunk for batch in slices for chunk in chunks[batch]] == chunks
    for batch in slices:
        assert sum(len(chunk.data) for chunk in chunks[batch]) <= DATA_PAYLOAD_MAX
        assert sum(map(len, encode_data_frame(range(len(chunks[batch])), chunks[batch]))) <= DATA_MAX
    joined = [sum(sizes[one]) + sizes[other.start] for one, other in pairwise(slices)]
    assert all(size > DATA_PAYLOAD_MAX for size in joined), "as few frames as order allows"


def test_a_batch_has_no_more_rows_than_a_request_has_hashes() -> None:
    chunks = [EncodedChunk(HASH, Codec.RAW, 0, b"")] * (HASHES_MAX + 1)
    assert [batch.stop - batch.start for batch in split_batches(chunks)] == [HASHES_MAX, 1]
