"""Real endpoints over paths with faults: loss, reordering, narrow MTUs, addresses that change under way."""

import random
from collections.abc import Awaitable, Callable

import pytest
import trio

from forge_p2p.config import Engine, NetConfig
from forge_p2p.errors import PeerError
from forge_p2p.net.base import Connection, StreamData
from forge_p2p.net.quic import open_endpoint
from tests.net.relay import Relay, lossy, narrow, open_relay
from tests.net.transports import CLIENT_KEY, LOOPBACK, MIB, SERVER_ID, SERVER_KEY, echo, quic, read_stream

ENGINES = pytest.mark.parametrize("engine", list(Engine))
CONFIG = NetConfig(dial_timeout=4.0)


def everything(_data: bytes, _to_server: bool) -> bool:
    return True


async def echo_through(
    relayed: Callable[[bytes, bool], bool],
    engine: Engine,
    size: int,
    disturb: Callable[[Relay], Awaitable[None]] | None = None,
    config: NetConfig = CONFIG,
) -> tuple[Connection, Connection, Relay]:
    """Sends `size` bytes through a relay and gets them back; both sides of the connection, for their counters."""
    transport = quic(engine, engine)
    data = random.Random(size).randbytes(size)
    async with (
        transport.server(config) as server,
        transport.client(config) as client,
        open_relay(server.address, relayed) as relay,
        trio.open_nursery() as nursery,
    ):
        near = await client.dial(relay.address, SERVER_ID)
        far = await server.accept()
        nursery.start_soon(echo, far)
        stream = near.open_stream()
        nursery.start_soon(near.send, stream, [data], True)
        if disturb is not None:
            nursery.start_soon(disturb, relay)
        with trio.fail_after(60):
            assert await read_stream(near, stream) == data
        nursery.cancel_scope.cancel()
    return near, far, relay


@ENGINES
@pytest.mark.parametrize("share", [0.05, 0.2])
async def test_lost_datagrams_lose_no_data(engine: Engine, share: float) -> None:
    await echo_through(lossy(share), engine, MIB // 2 if engine is Engine.QH3 else MIB // 8)


@ENGINES
async def test_reordered_datagrams_lose_no_data(engine: Engine) -> None:
    async def reorder(relay: Relay) -> None:
        relay.reordering = 0.1
        await trio.lowlevel.checkpoint()

    await echo_through(everything, engine, MIB // 4, reorder)


@ENGINES
async def test_a_client_whose_address_changes_keeps_its_connection(engine: Engine) -> None:
    """It is the client's own datagrams that tell the new address, so the client is the one who sends here."""
    transport = quic(engine, engine)
    data = random.Random(4).randbytes(MIB)
    async with (
        transport.server(CONFIG) as server,
        transport.client(CONFIG) as client,
        open_relay(server.address) as relay,
        trio.open_nursery() as nursery,
    ):
        near = await client.dial(relay.address, SERVER_ID)
        far = await server.accept()
        relay.delay = 0.01
        stream = near.open_stream()
        nursery.start_soon(near.send, stream, [data], True)
        received, rebinds, ended = b"", 0, False
        with trio.fail_after(60):
            while not ended:
                events = [event for event in await far.receive() if isinstance(event, StreamData)]
                received += b"".join(event.data for event in events)
                ended = any(event.fin for event in events)
                while rebinds < 2 and len(received) >= (rebinds + 1) * MIB // 3:
                    rebinds += 1
                    await relay.rebind()
            assert (received, rebinds) == (data, 2)
            await near.send(near.open_stream(), [b"what came last may have come from the address before"], True)
            await far.send(stream, [b"all here"], fin=True)
            assert await read_stream(near, stream) == b"all here"


@pytest.mark.parametrize(
    ("engine", "limit"),
    [(Engine.QH3, 65_507), (Engine.QH3, 1452), (Engine.QH3, 1300), (Engine.AIOQUIC, 1300)],
)
async def test_a_path_that_swallows_large_datagrams_is_found_out(engine: Engine, limit: int) -> None:
    """The route promises 8952 bytes (loopback), the path carries less and does not say so."""
    near, far, _ = await echo_through(narrow(limit), engine, MIB // 4)
    sizes = {connection.statistics().datagram_size for connection in (near, far)}
    assert max(sizes) <= limit
    if limit > 8952 and engine is Engine.QH3:
        assert sizes == {8952}


async def test_a_path_that_swallows_everything() -> None:
    config = NetConfig(dial_timeout=0.4)
    async with (
        open_endpoint(LOOPBACK, SERVER_KEY, config) as server,
        open_endpoint(LOOPBACK, CLIENT_KEY, config) as client,
        open_relay(server.address, narrow(0)) as relay,
    ):
        with trio.fail_after(20), pytest.raises(PeerError, match=r"no answer from 127\.0\.0\.1 port \d+ in 0\.4 s"):
            await client.dial(relay.address, SERVER_ID)


async def test_what_was_found_out_is_remembered() -> None:
    async with (
        open_endpoint(LOOPBACK, SERVER_KEY, CONFIG) as server,
        open_endpoint(LOOPBACK, CLIENT_KEY, CONFIG) as client,
        open_relay(server.address, narrow(1300)) as relay,
        trio.open_nursery() as nursery,
    ):
        sizes = []
        for _ in range(2):
            near = await client.dial(relay.address, SERVER_ID)
            nursery.start_soon(echo, await server.accept())
            stream = near.open_stream()
            sizes.append(near.statistics().datagram_size)
            nursery.start_soon(near.send, stream, [bytes(MIB // 4)], True)
            with trio.fail_after(60):
                assert await read_stream(near, stream) == bytes(MIB // 4)
            await near.aclose()
        assert sizes[1] == 1200
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [1200, 1452, 8952])
async def test_a_forced_size_is_kept(size: int) -> None:
    largest = 0

    def note(data: bytes, _to_server: bool) -> bool:
        nonlocal largest
        largest = max(largest, len(data))
        return True

    near, far, _ = await echo_through(note, Engine.QH3, MIB // 4, config=NetConfig(datagram_size=size))
    assert size - 64 <= largest <= size
    assert (near.statistics().datagram_size, far.statistics().datagram_size) == (size, size)
