"""How requests end before their answers do: cancelled, late, stalled, aborted."""

import pytest

from forge_p2p.proto.asking import TAIL_TIMEOUT
from forge_p2p.proto.outputs import (
    AbortStream,
    RequestCancelled,
    RequestDone,
    RequestFailed,
    RequestReceived,
    SendData,
)
from forge_p2p.wire import messages
from forge_p2p.wire.codes import Code
from forge_p2p.wire.frames import encode_frame
from tests.proto.pair import SEEDS, connected, make_chunk


@pytest.mark.parametrize("seed", SEEDS)
def test_cancel(seed: int | None) -> None:
    pair = connected(seed)
    pair.server.batch = 0
    hashes = pair.server.store(*[make_chunk(1000, number) for number in range(4)])
    request = pair.client.want(hashes)
    pair.run()
    pair.server.session.answer(request, [0, 1], [make_chunk(1000, 0), make_chunk(1000, 1)], 0.0)
    pair.client.session.cancel(request, 0.0)
    assert pair.client.session.outstanding == 0
    pair.run()
    assert pair.server.of(RequestCancelled) == [RequestCancelled(request)]
    assert not pair.client.events, "who cancels hears no more of it"
    pair.server.session.answer(request, [2], [make_chunk(1000, 2)], 0.0)
    pair.client.session.cancel(request, 0.0)
    assert not pair.server.session.take()
    again = pair.client.want(hashes)
    pair.server.batch = 4
    pair.run()
    assert pair.client.events[-1] == RequestDone(again)


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_abort_that_overtakes_its_request(cut: int) -> None:
    server = connected().server.session
    want = encode_frame(messages.Want(make_chunk(1).hash, 0, 1000, 10))
    if cut:
        server.receive_stream(4, want[:cut], False, 0.0)
    server.stream_aborted(4, 0.0)
    server.receive_stream(4, want[cut:], True, 0.0)
    assert [output for output in server.take() if not isinstance(output, AbortStream)] == []
    assert server.next_deadline() is None
    server.receive_stream(8, want, True, 0.0)
    (event,) = server.take()
    assert isinstance(event, RequestReceived)


def test_late_bytes_of_a_cancelled_request_are_dropped() -> None:
    """As over a transport that still delivers after an abort."""
    pair = connected()
    pair.server.batch = 0
    chunk = make_chunk(100_000)
    request = pair.client.want([chunk.hash], max_bytes=100_000)
    pair.run()
    pair.server.session.answer(request, [0], [chunk], 0.0)
    (late,) = pair.server.session.take()
    assert isinstance(late, SendData)
    session = pair.client.session
    data = b"".join(late.buffers)
    session.receive_stream(request, data[:5000], False, 0.0)
    session.cancel(request, 0.0)
    session.receive_stream(request, data[5000:], True, 0.0)
    assert session.take() == [AbortStream(request, Code.CANCELLED)]
    assert session.next_deadline() is None, "the end of the stream has been seen"


def test_cancelled_requests_are_forgotten_in_time() -> None:
    pair = connected()
    pair.server.batch = 0
    requests = [pair.client.want([make_chunk(1, number).hash], max_bytes=1) for number in range(64)]
    pair.run()
    for request in requests:
        pair.client.session.cancel(request, 0.0)
    requests = [pair.client.want([make_chunk(1, number).hash], max_bytes=1) for number in range(65)]
    pair.run()
    assert len(pair.server.of(RequestReceived)) == 128, "room is free at once, up to the peer's tolerance"
    for request in requests:
        pair.client.session.cancel(request, 0.0)
    pair.client.want([make_chunk(1).hash], max_bytes=1)
    pair.run()
    assert len(pair.server.of(RequestReceived)) == 128
    pair.advance(TAIL_TIMEOUT)
    assert len(pair.server.of(RequestReceived)) == 129
    assert len(pair.server.of(RequestCancelled)) == 128


@pytest.mark.parametrize("seed", SEEDS)
def test_deadline_ends_a_request_on_both_sides(seed: int | None) -> None:
    pair = connected(seed)
    pair.server.batch = 0
    request = pair.client.want([make_chunk(1).hash], deadline=3.0)
    held = pair.client.want([make_chunk(2).hash], deadline=2.0)
    pair.run().advance(1.9)
    assert not pair.client.events
    pair.advance(0.2)
    assert [event.request_id for event in pair.client.of(RequestFailed)] == [held]
    pair.advance(2.0)
    assert pair.client.of(RequestFailed) == [
        RequestFailed(held, Code.DEADLINE, "the deadline passed", True),
        RequestFailed(request, Code.DEADLINE, "the deadline passed", True),
    ]
    assert [event.request_id for event in pair.server.of(RequestCancelled)] == [held, request]


def test_server_says_so_when_the_deadline_passes_there_first() -> None:
    pair = connected()
    pair.server.batch = 0
    request = pair.client.want([make_chunk(1).hash], deadline=3.0)
    pair.run()
    pair.server.session.handle_timeout(3.0)
    pair.run()
    assert pair.client.of(RequestFailed) == [RequestFailed(request, Code.DEADLINE, "the deadline passed", True)]
    assert pair.server.of(RequestCancelled) == [RequestCancelled(request)]


@pytest.mark.parametrize("drip", [0, 1, 500])
def test_stall(drip: int) -> None:
    """Nothing for 20 s, or next to nothing, fails every open request; the session stays."""
    pair = connected()
    pair.server.batch = 0
    chunk = make_chunk(200_000)
    requests = [pair.client.want([chunk.hash]), pair.client.want([make_chunk(5).hash])]
    pair.run()
    pair.server.session.answer(requests[0], [0], [chunk], 0.0)
    (output,) = pair.server.session.take()
    assert isinstance(output, SendData)
    data = b"".join(output.buffers)
    session = pair.client.session
    at = 0
    for second in range(1, 20):
        if drip:
            session.receive_stream(requests[0], data[at : at + drip], False, float(second))
            at += drip
        session.handle_timeout(float(second))
        assert not session.take()
    assert session.next_deadline() == 20.0
    session.handle_timeout(20.0)
    pair.now = 20.0
    pair.run()
    assert [(event.request_id, event.code) for event in pair.client.of(RequestFailed)] == [
        (request, Code.STALLED) for request in requests
    ]
    pair.server.batch = 1
    again = pair.client.want(pair.server.store(chunk), now=20.0)
    pair.run()
    assert pair.client.events[-1] == RequestDone(again)


def test_slow_is_not_stalled() -> None:
    pair = connected()
    pair.server.batch = 0
    chunk = make_chunk(200_000)
    request = pair.client.want([chunk.hash])
    pair.run()
    pair.server.session.answer(request, [0], [chunk], 0.0)
    (output,) = pair.server.session.take()
    assert isinstance(output, SendData)
    data = b"".join(output.buffers)
    session = pair.client.session
    for step, at in enumerate(range(0, len(data), 20_000), 1):
        session.handle_timeout(step * 15.0)
        session.receive_stream(request, data[at : at + 20_000], at + 20_000 >= len(data), step * 15.0)
    pair.run()
    assert pair.client.events[-1] == RequestDone(request)


def test_peer_that_aborts_an_answer() -> None:
    pair = connected()
    pair.server.batch = 0
    request = pair.client.want([make_chunk(1).hash])
    pair.run()
    pair.client.session.stream_aborted(request, 0.0)
    pair.client.session.stream_aborted(request, 0.0)
    failed, abort = pair.client.session.take()
    assert isinstance(failed, RequestFailed)
    assert failed.retryable
    assert isinstance(abort, AbortStream)
