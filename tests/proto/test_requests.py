"""Wanting, answering, and every way in which a request ends."""

import pytest

from forge_p2p.content.codec import Codec, EncodedChunk, decode, encode
from forge_p2p.content.link import hash_bytes
from forge_p2p.ids import Hash
from forge_p2p.proto.auth import NOTHING, Scope
from forge_p2p.proto.hello import SessionConfig
from forge_p2p.proto.outputs import (
    ChunksReceived,
    HaveQueryReceived,
    HaveReceived,
    RequestDone,
    RequestFailed,
    RequestMissing,
    RequestReceived,
    SendData,
)
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code
from forge_p2p.wire.frames import FrameReader, encode_frame
from forge_p2p.wire.limits import ANSWER_BYTES_MAX, HASHES_MAX, WANT_BYTES_MAX
from tests.proto.pair import SEEDS, Door, End, Only, Pair, client_session, connected, make_chunk, server_session


def received(end: End) -> list[EncodedChunk]:
    return [chunk for event in end.of(ChunksReceived) for chunk in event.chunks]


def plain(chunks: list[EncodedChunk]) -> list[tuple[Hash, Codec, int, bytes]]:
    return sorted((chunk.hash, chunk.codec, chunk.size, bytes(chunk.data)) for chunk in chunks)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("asker", ["client", "server"])
def test_chunks_arrive_as_they_are_stored(seed: int | None, asker: str) -> None:
    pair = connected(seed)
    asking, serving = (pair.client, pair.server) if asker == "client" else (pair.server, pair.client)
    sizes = [0, 1, 16383, 16384, 65536, 262143, 262144]
    chunks = [make_chunk(size) for size in sizes]
    text = b"compressible " * 5000
    packed = encode(hash_bytes(text), text)
    assert packed.codec is Codec.ZSTD
    chunks.append(packed)
    hashes = serving.store(*chunks)
    request = asking.want(hashes)
    pair.run()
    assert plain(received(asking)) == plain(chunks)
    assert asking.events[-1] == RequestDone(request)
    for event in asking.of(ChunksReceived):
        assert [hashes[index] for index in event.indexes] == [chunk.hash for chunk in event.chunks]
    assert decode(received(asking)[1]) == make_chunk(1).data
    assert asking.session.outstanding == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_many_small_chunks_share_frames(seed: int | None) -> None:
    pair = connected(seed)
    hashes = pair.server.store(*[make_chunk(50, number) for number in range(HASHES_MAX)])
    before = pair.server.sent
    pair.client.want(hashes)
    pair.run()
    assert len(received(pair.client)) == HASHES_MAX
    assert pair.server.sent - before < HASHES_MAX * (50 + 11) + 20, "11 bytes a chunk and a few a frame"


def test_received_chunks_view_one_buffer() -> None:
    pair = connected()
    pair.client.want(pair.server.store(*[make_chunk(1000, number) for number in range(20)]))
    pair.run()
    views = [chunk.data for chunk in received(pair.client)]
    assert all(isinstance(view, memoryview) for view in views)
    assert len({id(view.obj) for view in views if isinstance(view, memoryview)}) == 1


def test_sent_chunks_are_not_copied() -> None:
    pair = connected()
    pair.server.batch = 0
    chunk = make_chunk(200_000)
    request = pair.client.want([chunk.hash])
    pair.run()
    pair.server.session.answer(request, [0], [chunk], 0.0)
    (output,) = pair.server.session.take()
    assert isinstance(output, SendData)
    assert output.fin
    assert any(buffer is chunk.data for buffer in output.buffers)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("batch", [1, 3, 1024])
def test_what_is_not_here_is_missing(seed: int | None, batch: int) -> None:
    pair = connected(seed)
    pair.server.batch = batch
    here = pair.server.store(*[make_chunk(500, number) for number in range(5)])
    hashes = [hash_ for chunk in here for hash_ in (chunk, make_chunk(501, chunk[0]).hash)]
    request = pair.client.want(hashes)
    pair.run()
    assert sorted(chunk.hash for chunk in received(pair.client)) == sorted(here)
    missing = sorted(index for event in pair.client.of(RequestMissing) for index in event.indexes)
    assert missing == [1, 3, 5, 7, 9]
    assert pair.client.events[-1] == RequestDone(request)


def test_outside_the_scope_looks_exactly_as_missing() -> None:
    def bytes_answered(scope: Scope, stored: bool) -> tuple[list[object], int]:
        pair = Pair(client_session(), server_session(Door(scope)), None).start().run()
        chunk = make_chunk(1000)
        if stored:
            pair.server.store(chunk)
        before = pair.server.sent
        pair.client.want([chunk.hash])
        pair.client.have([chunk.hash])
        pair.run()
        assert not stored or not pair.server.of(RequestReceived), "nobody is asked to look"
        assert not stored or not pair.server.of(HaveQueryReceived)
        return [repr(event) for event in pair.client.events[1:]], pair.server.sent - before

    denied = bytes_answered(NOTHING, stored=True)
    absent = bytes_answered(Only(frozenset({make_chunk(1000).hash})), stored=False)
    assert denied == absent


def test_scope_is_asked_for_every_chunk() -> None:
    chunks = [make_chunk(100, number) for number in range(6)]
    allowed = frozenset(chunk.hash for chunk in chunks[::2])
    pair = Pair(client_session(), server_session(Door(Only(allowed)))).start().run()
    hashes = pair.server.store(*chunks)
    pair.client.want(hashes)
    query = pair.client.have(hashes)
    pair.run()
    (event,) = pair.server.of(RequestReceived)
    assert (list(event.indexes), list(event.hashes)) == ([0, 2, 4], hashes[::2])
    assert {chunk.hash for chunk in received(pair.client)} == allowed
    assert pair.client.of(HaveReceived) == [HaveReceived(query, [True, False] * 3)]


def test_client_serves_nothing_unless_told_to() -> None:
    pair = Pair(client_session(scope=Only(frozenset())), server_session()).start().run()
    hashes = pair.client.store(make_chunk(1))
    pair.server.want(hashes)
    pair.run()
    assert [event.indexes for event in pair.server.of(RequestMissing)] == [(0,)]
    assert not pair.client.of(RequestReceived)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1024])
@pytest.mark.parametrize("seed", SEEDS)
def test_have(seed: int | None, count: int) -> None:
    pair = connected(seed)
    chunks = [make_chunk(10, number) for number in range(count)]
    pair.server.store(*chunks[::3])
    query = pair.client.have([chunk.hash for chunk in chunks])
    pair.run()
    assert pair.client.of(HaveReceived) == [HaveReceived(query, [number % 3 == 0 for number in range(count)])]


def test_have_queries_are_slowed_down_not_refused() -> None:
    pair = connected()
    hashes = [make_chunk(1, number).hash for number in range(HASHES_MAX)]
    for _ in range(200):
        pair.client.have(hashes)
    pair.run()
    assert len(pair.client.of(HaveReceived)) == 64, "a burst of 65,536 hashes passes at once"
    pair.advance(0.5)
    assert 64 + 48 <= len(pair.client.of(HaveReceived)) <= 64 + 50, "then 100,000 a second"
    pair.advance(1.0)
    assert len(pair.client.of(HaveReceived)) == 200


def test_priority_deadline_and_room_are_told_to_the_server() -> None:
    pair = connected()
    pair.server.batch = 0
    pair.now = 100.0
    pair.client.session.want(4, [make_chunk(1).hash], max_bytes=77, deadline=101.5, now=100.0, priority=3)
    pair.run()
    (event,) = pair.server.of(RequestReceived)
    assert (event.priority, event.deadline, event.max_bytes) == (3, 101.5, 77)


@pytest.mark.parametrize("seed", SEEDS)
def test_answer_stops_at_the_bytes_asked_for(seed: int | None) -> None:
    pair = connected(seed)
    pair.server.batch = 1
    hashes = pair.server.store(*[make_chunk(1000, number) for number in range(5)])
    request = pair.client.want(hashes, max_bytes=3999)
    pair.run()
    assert len(received(pair.client)) == 3
    (failed,) = pair.client.of(RequestFailed)
    assert (failed.request_id, failed.code, failed.retryable) == (request, Code.BUDGET, True)
    assert pair.client.session.outstanding == 0


def test_server_may_end_a_request_early() -> None:
    pair = connected(1)
    pair.server.batch = 0
    request = pair.client.want([make_chunk(1).hash, make_chunk(2).hash])
    pair.run()
    pair.server.session.answer(request, [1], [None], 0.0)
    pair.server.session.finish(request, Code.BUSY, "too much to do", 0.0)
    pair.server.session.answer(request, [0], [None], 0.0)
    pair.run()
    assert pair.client.events == [
        RequestMissing(request, (1,)),
        RequestFailed(request, Code.BUSY, "too much to do", True),
    ]


def test_answers_outside_the_request_are_this_sides_errors() -> None:
    pair = connected()
    pair.server.batch = 0
    request = pair.client.want([make_chunk(1).hash, make_chunk(2).hash])
    pair.run()
    session = pair.server.session
    session.answer(request, [1], [None], 0.0)
    for indexes in ([1], [2], [0, 0]):
        with pytest.raises(ValueError, match="not open"):
            session.answer(request, indexes, [None] * len(indexes), 0.0)
    with pytest.raises(ValueError, match="zip"):
        session.answer(request, [0], [], 0.0)
    with pytest.raises(ValueError, match="unanswered"):
        session.finish(request, Code.OK, "", 0.0)


def test_credit_is_counted_in_raw_bytes_asked_and_received() -> None:
    pair = connected()
    pair.server.batch = 0
    chunks = [make_chunk(size) for size in (100, 200, 300)]
    request = pair.client.want([chunk.hash for chunk in chunks], max_bytes=1000)
    assert pair.client.session.outstanding == 1000
    pair.run()
    pair.server.session.answer(request, [0], [chunks[0]], 0.0)
    pair.run()
    assert pair.client.session.outstanding == 900
    pair.server.session.answer(request, [2], [None], 0.0)
    pair.run()
    assert pair.client.session.outstanding == 900
    pair.server.session.answer(request, [1], [chunks[1]], 0.0)
    pair.run()
    assert pair.client.session.outstanding == 0


def test_no_more_is_asked_at_once_than_the_protocol_allows() -> None:
    pair = connected()
    pair.server.batch = 0
    for number in range(20):
        pair.client.want([make_chunk(1, number).hash], max_bytes=WANT_BYTES_MAX)
    pair.run()
    assert pair.client.session.outstanding == ANSWER_BYTES_MAX
    assert len(pair.server.of(RequestReceived)) == 16
    pair.server.session.finish(4, Code.BUSY, "", 0.0)
    pair.run()
    assert len(pair.server.of(RequestReceived)) == 17


def test_no_more_requests_are_open_than_the_peer_grants() -> None:
    pair = connected(config=SessionConfig(max_requests=3))
    pair.server.batch = 0
    requests = [pair.client.want([make_chunk(1, number).hash]) for number in range(5)]
    pair.run()
    assert [event.request_id for event in pair.server.of(RequestReceived)] == requests[:3]
    pair.client.session.cancel(requests[3], 0.0)
    pair.server.session.finish(requests[1], Code.STORE, "", 0.0)
    pair.run()
    assert [event.request_id for event in pair.server.of(RequestReceived)] == [*requests[:3], requests[4]]


def test_answer_larger_than_a_frame_is_cut_into_frames() -> None:
    pair = connected()
    pair.server.batch = 0
    chunks = [make_chunk(262_144, number) for number in range(16)]
    request = pair.client.want([chunk.hash for chunk in chunks])
    pair.run()
    pair.server.session.answer(request, list(range(16)), chunks, 0.0)
    (output,) = pair.server.session.take()
    assert isinstance(output, SendData)
    frames = FrameReader().feed(b"".join(output.buffers))
    assert [type(frame).__name__ for frame in frames] == ["Data"] * 4 + ["Done"]


def test_unknown_frames_in_an_answer_are_skipped() -> None:
    pair = connected()
    request = pair.client.want([make_chunk(1).hash])
    pair.client.session.take()
    data = b"\x3f\x05later" + encode_frame(messages.Missing((0,))) + b"\x3f\x00" + encode_frame(messages.Done(0, ""))
    pair.client.session.receive_stream(request, data, True, 0.0)
    assert pair.client.session.take() == [RequestMissing(request, (0,)), RequestDone(request)]
