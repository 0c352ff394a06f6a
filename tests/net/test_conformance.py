"""What `net.base` promises, of every transport alike."""

import random
from collections import defaultdict

import pytest
import trio
import trio.testing

from forge_p2p.config import NetConfig
from forge_p2p.errors import PeerError, StreamClosed
from forge_p2p.ids import NodeId
from forge_p2p.net.base import Connection, StreamAborted, StreamData
from tests.net.transports import CLIENT_KEY, MIB, SERVER_ID, Transport, connect, echo, next_event, opened, read_stream

CONFIG = NetConfig(dial_timeout=5.0)


async def test_both_sides_know_each_other(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        assert (near.is_client, far.is_client) == (True, False)
        assert near.server_id == SERVER_ID
        assert near.address == server.address
        assert far.address == client.address


async def test_question_and_answer(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        stream = near.open_stream()
        await near.send(stream, [b"que", bytearray(b"sti"), memoryview(b"on")], fin=True)
        assert await read_stream(far, stream) == b"question"
        await far.send(stream, [b"answer"], fin=True)
        assert await read_stream(near, stream) == b"answer"


async def test_the_server_may_open_streams(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        stream = far.open_stream()
        await far.send(stream, [b"news"], fin=True)
        assert await read_stream(near, stream) == b"news"
        await near.send(stream, [], fin=True)
        assert await read_stream(far, stream) == b""


@pytest.mark.parametrize("asker", [0, 1])
async def test_who_is_there_gives_a_sign_of_life(transport: Transport, asker: int) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        sides = await connect(server, client)
        await trio.sleep(0.3)  # what belongs to the handshake has come
        before = sides[asker].statistics().bytes_received
        sides[asker].ping()
        with trio.fail_after(30):
            while sides[asker].statistics().bytes_received == before:
                await trio.sleep(0.01)
        await sides[asker].aclose()
        sides[asker].ping()  # of no use now, and no error


async def test_silence_lasts_until_something_comes(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        while near.silence() < 0.5:  # what belongs to the handshake has come
            await trio.sleep(0.05)
        before = near.silence()
        assert before > 0
        await trio.sleep(0.2)
        assert near.silence() >= before + 0.2
        stream = near.open_stream()
        asked = trio.current_time()
        await near.send(stream, [b"question"], fin=True)
        assert await read_stream(far, stream) == b"question"
        await far.send(stream, [b"answer"], fin=True)
        assert await read_stream(near, stream) == b"answer"
        assert near.silence() <= trio.current_time() - asked


async def test_stream_ids_differ_between_the_sides(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        ids = [near.open_stream() for _ in range(3)] + [far.open_stream() for _ in range(3)]
        assert len(set(ids)) == 6


async def test_many_streams_at_once(transport: Transport, autojump_clock: trio.testing.MockClock) -> None:
    """On a clock that stands while this process is held up: what that makes qh3 do is in docs/transport.md."""
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        sent = {near.open_stream(): random.Random(i).randbytes(i * 331) for i in range(80)}
        got: dict[int, bytearray] = defaultdict(bytearray)
        ended: set[int] = set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo, far)
            for stream, data in sent.items():
                nursery.start_soon(near.send, stream, [data], True)
            while len(ended) < len(sent):
                for event in await near.receive():
                    assert isinstance(event, StreamData)
                    got[event.stream_id] += event.data
                    ended |= {event.stream_id} if event.fin else set()
            await near.aclose()
        assert got == sent


async def test_streams_can_be_reused_up_to_the_limit_for_ever(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo, far)
            for number in range(150):
                stream = await opened(near)
                await near.send(stream, [number.to_bytes(2)], fin=True)
                assert await read_stream(near, stream) == number.to_bytes(2)
            await near.aclose()


async def test_too_many_streams_at_once(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        streams = [near.open_stream() for _ in range(100)]

        def open_many_more() -> None:
            streams.extend(near.open_stream() for _ in range(1000))

        with pytest.raises(PeerError, match="no more streams"):
            open_many_more()
        await near.send(streams[99], [b"still usable"], fin=True)
        assert await read_stream(far, streams[99]) == b"still usable"


async def test_large_transfers_both_ways_at_once(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        ping, pong = (random.Random(i).randbytes(transport.bulk) for i in range(2))
        stream = near.open_stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.send, stream, [ping], True)
            begun = await far.receive()  # from here on the stream exists on this side
            nursery.start_soon(far.send, stream, [pong], True)

            async def read_far() -> None:
                head = b"".join(event.data for event in begun if isinstance(event, StreamData))
                assert head + await read_stream(far, stream) == ping

            nursery.start_soon(read_far)
            assert await read_stream(near, stream) == pong


async def test_a_stream_that_was_ended_takes_no_more(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        stream = near.open_stream()
        await near.send(stream, [b"all"], fin=True)
        with pytest.raises(StreamClosed):
            await near.send(stream, [b"more"])
        assert await read_stream(far, stream) == b"all"


async def test_an_aborted_stream_ends_on_both_sides_and_alone(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        doomed, other = near.open_stream(), near.open_stream()
        await near.send(doomed, [b"begun"])
        assert await next_event(far) == StreamData(doomed, b"begun", False)
        near.abort_stream(doomed, 42)
        with pytest.raises(StreamClosed):
            await near.send(doomed, [b"more"])
        told = await aborts(far, doomed)
        assert {event.code for event in told} == {42}
        assert {event.by_receiver for event in told} == {False, True}
        with pytest.raises(StreamClosed):
            await far.send(doomed, [b"late answer"])
        await near.send(other, [b"fine"], fin=True)
        assert await read_stream(far, other) == b"fine"


async def aborts(connection: Connection, stream_id: int) -> list[StreamAborted]:
    """Both halves of one stream's abort, whatever order and batches they come in."""
    found: list[StreamAborted] = []
    while len(found) < 2:
        for event in await connection.receive():
            assert isinstance(event, StreamAborted)
            assert event.stream_id == stream_id
            found.append(event)
    return found


async def test_a_blocked_send_ends_when_the_peer_gives_the_stream_up(transport: Transport) -> None:
    small = NetConfig(buffer_per_connection=MIB)
    async with transport.server(small) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        stream = near.open_stream()
        async with trio.open_nursery() as nursery:

            async def send_much() -> None:
                with pytest.raises(StreamClosed):
                    await near.send(stream, [bytes(MIB)] * 200)

            nursery.start_soon(send_much)
            await far.receive()
            far.abort_stream(stream, 7)
            assert {event.code for event in await aborts_or_one(near, stream)} == {7}


async def aborts_or_one(connection: Connection, stream_id: int) -> list[StreamAborted]:
    """The next batch, which tells that the stream was given up: one half or both."""
    events = await connection.receive()
    assert all(isinstance(event, StreamAborted) and event.stream_id == stream_id for event in events)
    return [event for event in events if isinstance(event, StreamAborted)]


async def test_a_reader_that_rests_stops_the_sender_and_loses_nothing(transport: Transport) -> None:
    small = NetConfig(buffer_per_connection=MIB)
    async with transport.server(small) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        stream = near.open_stream()
        piece = random.Random(1).randbytes(MIB // 16)
        accepted = 0

        async def send_all() -> None:
            nonlocal accepted
            for number in range(128):
                await near.send(stream, [piece], fin=number == 127)
                accepted += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all)
            before = -1
            while before < accepted:  # until it stands still
                before = accepted
                await trio.sleep(0.5)
            assert 0 < accepted < 64, "4 MiB under way for a buffer of 1 MiB"
            assert await read_stream(far, stream) == piece * 128
        assert accepted == 128


async def test_a_server_with_another_key_is_refused(transport: Transport) -> None:
    wrong = NodeId(CLIENT_KEY.public_key().public_bytes_raw())
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        with pytest.raises(PeerError, match="not the node that was asked for"):
            await client.dial(server.address, wrong)
        near, far = await connect(server, client)
        stream = near.open_stream()
        await near.send(stream, [b"the right one still answers"], fin=True)
        while True:  # the refused connection may have been accepted first, and is over
            try:
                assert await read_stream(far, stream) == b"the right one still answers"
                break
            except PeerError:
                far = await server.accept()


async def test_nobody_at_the_address(transport: Transport) -> None:
    config = NetConfig(dial_timeout=0.5)
    async with transport.server(config) as gone:
        address = gone.address
    async with transport.client(config) as client:
        with trio.fail_after(20), pytest.raises(PeerError, match=r"no answer from 127\.0\.0\.1 port"):
            await client.dial(address, SERVER_ID)


async def test_the_reason_of_a_close_reaches_the_peer_after_the_data(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        stream = near.open_stream()
        words = bytes(10_000)
        before = far.statistics().bytes_received
        await near.send(stream, [words], fin=True)
        while far.statistics().bytes_received < before + len(words):
            await trio.sleep(0.01)
        await trio.sleep(0.2)  # headers count too, so the last of it may still be on its way
        await near.aclose(5, "had enough")
        await near.aclose(6, "again")
        with trio.fail_after(20):
            assert await read_stream(far, stream) == words
            with pytest.raises(PeerError, match="had enough"):
                await far.receive()
        with pytest.raises(PeerError, match="had enough"):
            await far.send(stream, [b"?"])


async def test_a_closed_connection_refuses_every_call(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, _ = await connect(server, client)
        stream = near.open_stream()
        await near.aclose()
        with pytest.raises(PeerError, match="closed"):
            await near.receive()
        with pytest.raises(PeerError, match="closed"):
            await near.send(stream, [b"?"])
        with pytest.raises(PeerError, match="closed"):
            near.open_stream()
        near.abort_stream(stream, 1)


async def test_closing_wakes_whoever_waits(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, _ = await connect(server, client)
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(PeerError, match="closed"):
                    await near.receive()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.05)
            await near.aclose()


async def test_an_endpoint_that_closes_tells_its_peers(transport: Transport) -> None:
    async with transport.client(CONFIG) as client:
        async with transport.server(CONFIG) as server:
            near, _ = await connect(server, client)
        with trio.fail_after(20), pytest.raises(PeerError, match="shutting down"):
            await near.receive()


async def test_a_closed_endpoint_neither_accepts_nor_dials(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        await client.aclose()
        with pytest.raises(PeerError, match="closed"):
            await client.accept()
        with pytest.raises(PeerError, match="closed"):
            await client.dial(server.address, SERVER_ID)
