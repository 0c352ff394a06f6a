"""What every transport does alike: limits, and many connections at once."""

import random

import pytest
import trio
import trio.testing

from forge_p2p.config import NetConfig
from forge_p2p.errors import PeerError
from forge_p2p.net.base import Address, Endpoint
from tests.net.transports import SERVER_ID, Transport, connect, echo, read_stream

CONFIG = NetConfig(dial_timeout=5.0)


async def test_connections_from_one_host_are_limited(transport: Transport) -> None:
    limited = NetConfig(max_connections_per_host=2)
    async with transport.server(limited) as server, transport.client(CONFIG) as client:
        first, _ = await connect(server, client)
        await connect(server, client)
        with trio.fail_after(20), pytest.raises(PeerError, match="no room"):
            await dial_and_listen(client, server)
        await first.aclose()
        with trio.fail_after(20):
            await room_again(server, client)


async def dial_and_listen(client: Endpoint, server: Endpoint) -> None:
    """A refusal comes right behind the handshake, and may be there before dialling returns."""
    connection = await client.dial(server.address, SERVER_ID)
    await connection.receive()


async def room_again(server: Endpoint, client: Endpoint) -> None:
    """Returns when a connection is accepted: the server needs a moment to see that one has ended."""
    while True:
        near = await client.dial(server.address, SERVER_ID)
        with trio.move_on_after(0.5):
            await server.accept()
            return
        await near.aclose()


async def test_connections_in_all_are_limited(transport: Transport) -> None:
    limited = NetConfig(max_connections=1)
    async with transport.server(CONFIG) as server, transport.client(limited) as client:
        await connect(server, client)
        with pytest.raises(PeerError, match="already has its 1 connections"):
            await client.dial(server.address, SERVER_ID)


async def test_many_connections_at_once(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client, trio.open_nursery() as nursery:

        async def serve() -> None:
            while True:
                nursery.start_soon(echo, await server.accept())

        async def ask(number: int) -> None:
            connection = await client.dial(server.address, SERVER_ID)
            stream = connection.open_stream()
            data = random.Random(number).randbytes(10_000)
            await connection.send(stream, [data], fin=True)
            assert await read_stream(connection, stream) == data
            await connection.aclose()

        nursery.start_soon(serve)
        async with trio.open_nursery() as asking:
            for number in range(20):
                asking.start_soon(ask, number)
        nursery.cancel_scope.cancel()


async def test_an_idle_connection_is_kept_while_one_side_wants_it(transport: Transport) -> None:
    config = NetConfig(idle_timeout=0.4)
    async with transport.server(config) as server, transport.client(config) as client:
        near, far = await connect(server, client)
        assert (near.keep_alive, far.keep_alive) == (True, False)
        await trio.sleep(1.0)
        stream = near.open_stream()
        await near.send(stream, [b"still there"], fin=True)
        assert await read_stream(far, stream) == b"still there"
        near.keep_alive = False
        with trio.fail_after(20), pytest.raises(PeerError, match="silent"):
            await near.receive()
        with trio.fail_after(20), pytest.raises(PeerError, match="silent"):
            await far.receive()


async def test_statistics_count_what_was_moved(transport: Transport) -> None:
    async with transport.server(CONFIG) as server, transport.client(CONFIG) as client:
        near, far = await connect(server, client)
        stream = near.open_stream()
        before = near.statistics()
        await near.send(stream, [bytes(100_000)], fin=True)
        await read_stream(far, stream)
        after = near.statistics()
        assert 100_000 <= after.bytes_sent - before.bytes_sent < 150_000
        assert far.statistics().bytes_received >= 100_000
        assert after.round_trip > 0
        assert 1200 <= after.datagram_size <= 8952


async def test_an_address_that_is_none(transport: Transport) -> None:
    async with transport.client(NetConfig(dial_timeout=0.5)) as client:
        with pytest.raises(PeerError):
            await client.dial(Address("example.invalid", 1), SERVER_ID)


async def test_the_error_of_a_block_comes_out_as_it_is(transport: Transport) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with transport.client(CONFIG):
            raise KeyError("mine")
