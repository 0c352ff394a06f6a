"""Frames out of a stream, however it is cut."""

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge_p2p.content.codec import EncodedChunk
from forge_p2p.errors import Malformed
from forge_p2p.wire import messages
from forge_p2p.wire.bodies import FRAME_LIMITS
from forge_p2p.wire.data import Data
from forge_p2p.wire.fields import Body, FrameType
from forge_p2p.wire.frames import FrameReader, encode_data_frame, encode_frame
from forge_p2p.wire.limits import DATA_MAX, UNKNOWN_FRAMES_MAX, UNKNOWN_MAX
from forge_p2p.wire.messages import Message
from forge_p2p.wire.varint import encode_varint
from tests.wire.strategies import batches, bodies

PING = encode_frame(messages.Ping(1))

unknown = st.builds(
    lambda kind, body: encode_varint(kind) + encode_varint(len(body)) + body,
    st.integers(max(FrameType) + 1, 2**62 - 1),
    st.binary(max_size=300),
)
known = st.one_of(
    bodies.map(encode_frame), batches.map(lambda chunks: b"".join(encode_data_frame(range(20)[: len(chunks)], chunks)))
)


def feed_in_pieces(reader: FrameReader, wire: bytes, cuts: list[int]) -> list[Message]:
    places = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    return [message for start, end in pairwise(places) for message in reader.feed(wire[start:end])]


@given(st.lists(known | unknown, max_size=8), st.lists(st.integers(0, 2**20), max_size=30))
def test_split_anywhere_equals_all_at_once(frames: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(frames)
    whole, split = FrameReader(), FrameReader()
    assert feed_in_pieces(split, wire, cuts) == whole.feed(wire)
    assert whole.between_frames
    assert split.between_frames
    assert whole.frames == split.frames == len(frames)
    assert whole.skipped == split.skipped


@given(st.lists(known, min_size=1, max_size=4))
def test_byte_by_byte(frames: list[bytes]) -> None:
    reader = FrameReader()
    heard = [message for frame in frames for byte in frame for message in reader.feed(bytes([byte]))]
    assert heard == FrameReader().feed(b"".join(frames))


@given(known)
def test_the_end_of_a_stream_is_only_right_between_frames(frame: bytes) -> None:
    reader = FrameReader()
    for byte in frame[:-1]:
        reader.feed(bytes([byte]))
        assert not reader.between_frames
    reader.feed(frame[-1:])
    assert reader.between_frames


@pytest.mark.parametrize("kind", FrameType)
def test_declared_length_is_checked_before_the_body(kind: FrameType) -> None:
    limit = FRAME_LIMITS[kind]
    head = encode_varint(kind)
    FrameReader().feed(head + encode_varint(limit))
    for length in (limit + 1, 2**62 - 1):
        reader = FrameReader()
        assert reader.feed(head + encode_varint(length)[:-1]) == []
        with pytest.raises(Malformed, match=f"claims {length} bytes, the most is {limit}"):
            reader.feed(encode_varint(length)[-1:])


def test_types_that_have_no_place_here_are_refused_by_their_head() -> None:
    reader = FrameReader({FrameType.PING: 100})
    assert reader.feed(PING) == [messages.Ping(1)]
    with pytest.raises(Malformed, match="DATA frame on a stream where it has no place"):
        reader.feed(b"\x11" + encode_varint(1000))


@pytest.mark.parametrize("cut", [1, 7, 4096, 1 << 20])
def test_unknown_types_are_skipped_without_keeping_them(cut: int) -> None:
    wire = b"".join(
        encode_varint(0x40 + number) + encode_varint(UNKNOWN_MAX) + bytes(UNKNOWN_MAX) for number in range(2)
    )
    reader = FrameReader()
    tracemalloc.start()
    heard = [message for at in range(0, len(wire), cut) for message in reader.feed(wire[at : at + cut])]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert heard == []
    assert peak < (4096 if cut < 4096 else 2 * cut)
    assert reader.feed(PING) == [messages.Ping(1)]


def test_unknown_types_are_limited_in_length_and_number() -> None:
    with pytest.raises(Malformed, match=f"the most is {UNKNOWN_MAX}"):
        FrameReader().feed(b"\x40\x40" + encode_varint(UNKNOWN_MAX + 1))
    reader = FrameReader()
    reader.feed(b"\x40\x40\x00" * UNKNOWN_FRAMES_MAX)
    with pytest.raises(Malformed, match="unknown types"):
        reader.feed(b"\x40\x40\x00")


@pytest.mark.parametrize("piece", [1, 2, 100, 4095, 4096, 65536])
def test_what_is_held_stays_near_the_declared_length(piece: int) -> None:
    size = DATA_MAX // (1 if piece > 100 else 16)
    wire = b"\x11" + encode_varint(size) + bytes(size - 1)
    reader = FrameReader()
    tracemalloc.start()
    for at in range(0, len(wire), piece):
        reader.feed(wire[at : at + piece])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.25 * size + 4096


@given(batches)
def test_data_frames_arrive(chunks: list[EncodedChunk]) -> None:
    (message,) = FrameReader().feed(b"".join(encode_data_frame(range(len(chunks)), chunks)))
    assert isinstance(message, Data)
    assert [bytes(row[3]) for row in message.rows] == [bytes(chunk.data) for chunk in chunks]


@given(bodies, bodies)
def test_frames_behind_each_other_in_one_piece(first: Body, second: Body) -> None:
    assert FrameReader().feed(encode_frame(first) + encode_frame(second)) == [first, second]
