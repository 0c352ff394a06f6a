"""The in-memory network's own promises: seeded conditions, cuts, virtual time."""

import random

import pytest
import trio
import trio.testing

from forge_p2p.config import NetConfig
from forge_p2p.errors import PeerError
from forge_p2p.net.base import Address, Connection, StreamData
from forge_p2p.net.memory import Conditions, MemoryNetwork, Trace
from tests.net.transports import CLIENT_KEY, MIB, SERVER_ID, SERVER_KEY, echo, read_stream

SERVER = Address("10.0.0.1", 4000)
CLIENT = Address("10.0.0.2", 4000)
ROUGH = Conditions(delay=0.05, jitter=0.05, loss=0.1, reordering=0.2, bandwidth=10e6)


async def scene(network: MemoryNetwork, size: int = MIB) -> list[Trace]:
    """One echoed transfer; what travelled."""
    async with (
        network.open_endpoint(SERVER, SERVER_KEY, NetConfig()) as server,
        network.open_endpoint(CLIENT, CLIENT_KEY, NetConfig()) as client,
        trio.open_nursery() as nursery,
    ):
        near = await client.dial(SERVER, SERVER_ID)
        nursery.start_soon(echo, await server.accept())
        stream = near.open_stream()
        data = random.Random(2).randbytes(size)
        nursery.start_soon(near.send, stream, [data], True)
        assert await read_stream(near, stream) == data
        nursery.cancel_scope.cancel()
    return list(network.trace)


def run_in_virtual_time(seed: int) -> list[Trace]:
    async def main() -> list[Trace]:
        return await scene(MemoryNetwork(seed, ROUGH))

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_same_seed_gives_the_same_trace() -> None:
    assert run_in_virtual_time(1) == run_in_virtual_time(1)
    assert run_in_virtual_time(1) != run_in_virtual_time(2)


async def test_bandwidth_takes_its_time(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork(conditions=Conditions(delay=0.01, bandwidth=1e6))
    started = trio.current_time()
    await scene(network, size=10_000_000)
    assert 10 < trio.current_time() - started < 12, "10 MB there, and back at the same time, at 1 MB/s"


async def test_streams_overtake_each_other_and_stay_in_order(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork(3, Conditions(delay=0.05, jitter=0.1, loss=0.2, reordering=0.3))
    async with (
        network.open_endpoint(SERVER, SERVER_KEY, NetConfig()) as server,
        network.open_endpoint(CLIENT, CLIENT_KEY, NetConfig()) as client,
    ):
        near, far = await client.dial(SERVER, SERVER_ID), await server.accept()
        streams = [near.open_stream() for _ in range(10)]
        for number in range(50):
            for stream in streams:
                await near.send(stream, [bytes([number])], fin=number == 49)
        got: dict[int, bytes] = dict.fromkeys(streams, b"")
        arrivals: list[int] = []
        while len(arrivals) < 500:
            for event in await far.receive():
                assert isinstance(event, StreamData)
                got[event.stream_id] += event.data
                arrivals.append(event.stream_id)
        assert set(got.values()) == {bytes(range(50))}
        assert arrivals != [stream for _ in range(50) for stream in streams]


async def pair(network: MemoryNetwork) -> tuple[Connection, Connection]:
    near = await network.endpoint_at(CLIENT).dial(SERVER, SERVER_ID)  # type: ignore[union-attr]
    return near, await network.endpoint_at(SERVER).accept()  # type: ignore[union-attr]


async def test_a_short_partition_only_delays(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork(conditions=Conditions(delay=0.01))
    async with (
        network.open_endpoint(SERVER, SERVER_KEY, NetConfig()),
        network.open_endpoint(CLIENT, CLIENT_KEY, NetConfig()),
    ):
        near, far = await pair(network)
        network.partition(SERVER.host, CLIENT.host)
        stream = near.open_stream()
        await near.send(stream, [b"late"], fin=True)
        with trio.move_on_after(5) as waiting:
            await far.receive()
        assert waiting.cancelled_caught
        network.heal(SERVER.host, CLIENT.host)
        assert await read_stream(far, stream) == b"late"


async def test_a_long_partition_ends_connections_on_both_sides(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork(conditions=Conditions(delay=0.01))
    async with (
        network.open_endpoint(SERVER, SERVER_KEY, NetConfig()),
        network.open_endpoint(CLIENT, CLIENT_KEY, NetConfig(idle_timeout=60)),
    ):
        near, far = await pair(network)
        network.partition(SERVER.host, CLIENT.host)
        cut = trio.current_time()
        with pytest.raises(PeerError, match="silent"):
            await far.receive()
        assert 29 < trio.current_time() - cut < 31
        with pytest.raises(PeerError, match="silent"):
            await near.receive()
        assert 59 < trio.current_time() - cut < 61
        with pytest.raises(PeerError, match="no answer"):
            await pair(network)


async def test_a_vanished_endpoint_is_noticed_and_its_address_free(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork(conditions=Conditions(delay=0.01))
    async with (
        network.open_endpoint(SERVER, SERVER_KEY, NetConfig()) as server,
        network.open_endpoint(CLIENT, CLIENT_KEY, NetConfig()),
    ):
        near, far = await pair(network)
        server.vanish()
        with pytest.raises(PeerError, match="vanished"):
            await far.receive()
        with pytest.raises(PeerError, match="silent"):
            await near.receive()
        with pytest.raises(PeerError, match="closed"):
            await server.accept()
        async with network.open_endpoint(SERVER, SERVER_KEY, NetConfig()):
            await pair(network)


async def test_idle_for_a_day(autojump_clock: trio.testing.MockClock) -> None:
    network = MemoryNetwork()
    async with (
        network.open_endpoint(SERVER, SERVER_KEY, NetConfig()),
        network.open_endpoint(CLIENT, CLIENT_KEY, NetConfig()),
    ):
        near, far = await pair(network)
        await trio.sleep(86_400)
        stream = near.open_stream()
        await near.send(stream, [b"good morning"], fin=True)
        assert await read_stream(far, stream) == b"good morning"


async def test_an_address_can_be_taken_once() -> None:
    network = MemoryNetwork()
    async with network.open_endpoint(SERVER, SERVER_KEY, NetConfig()):
        with pytest.raises(PeerError, match="already in use"):
            async with network.open_endpoint(SERVER, CLIENT_KEY, NetConfig()):
                raise AssertionError
