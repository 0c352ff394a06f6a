"""Strangers who flood a node do not keep it from serving a member, and get no more out of it than they put in."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.socket

from forge_p2p.config import Engine, NetConfig
from forge_p2p.net.admission import HALF_OPEN_PER_HOST, HALF_OPEN_UNPROVEN
from forge_p2p.net.base import Address, Connection
from forge_p2p.net.endpoint import QuicEndpoint
from forge_p2p.net.engine import make_engine
from forge_p2p.net.packets import read_initial
from forge_p2p.net.tls import make_identity
from tests.net.hostile import initial_packet, make_hello
from tests.net.transports import SERVER_ID, SERVER_KEY, echo, quic, read_stream

ENGINES = pytest.mark.parametrize("engine", list(Engine))


@asynccontextmanager
async def member(engine: Engine) -> AsyncIterator[tuple[QuicEndpoint, Connection, Connection]]:
    """A server, a member's connection to it, and the server's side of that, which echoes."""
    transport = quic(engine, engine)
    async with transport.server(NetConfig()) as server, transport.client(NetConfig()) as client:
        near = await client.dial(server.address, SERVER_ID)
        far = await server.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo, far)
            assert isinstance(server, QuicEndpoint)
            yield server, near, far
            nursery.cancel_scope.cancel()


async def ask(connection: Connection) -> None:
    stream = connection.open_stream()
    await connection.send(stream, [b"x" * 5000], fin=True)
    assert await read_stream(connection, stream) == b"x" * 5000


async def flood(target: Address, datagrams: list[bytes], served: Connection) -> int:
    """Sends all, as fast as the server reads them, asking for service meanwhile. Returns what came back: never
    more than three times the bytes sent until then."""
    stranger = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    await stranger.bind(("127.0.0.1", 0))
    received = sent = 0

    async def count() -> None:
        nonlocal received
        while True:
            received += len(await stranger.recv(65_536))
            assert received <= 3 * sent

    with stranger:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            for number, datagram in enumerate(datagrams):
                sent += len(datagram)
                await stranger.sendto(datagram, (target.host, target.port))
                if number % 1000 == 0:
                    await ask(served)
                elif number % 32 == 0:
                    await trio.lowlevel.checkpoint()
            await ask(served)
            nursery.cancel_scope.cancel()
    return received


def garbage(count: int) -> list[bytes]:
    """Random bytes, cut short Initials, Initials of noise, ids, versions and tokens that do not exist."""
    rng = random.Random(3)
    hello = make_hello()
    real = initial_packet(hello)
    kinds = [
        lambda: rng.randbytes(rng.randrange(1, 1500)),
        lambda: real[: rng.randrange(1, 1200)],
        lambda: real[:60] + rng.randbytes(1140),
        lambda: b"\xc0\xfa\xce\xb0\x0c" + rng.randbytes(1300),
        lambda: b"\x40" + rng.randbytes(40),
        lambda: initial_packet(hello, token=rng.randbytes(rng.randrange(1, 300))),
        lambda: real[:5] + bytes([rng.randrange(9, 256)]) + real[6:],
    ]
    return [rng.choice(kinds)() for _ in range(count)]


@ENGINES
async def test_garbage_changes_nothing(engine: Engine) -> None:
    async with member(engine) as (server, near, far):
        assert await flood(server.address, garbage(6000), near) == 0
        assert set(server._records) == {far}


@ENGINES
async def test_half_open_handshakes_are_few_and_members_are_served(engine: Engine) -> None:
    hello = make_hello()
    async with member(engine) as (server, near, _):
        packets = [initial_packet(hello) for _ in range(10_000 if engine is Engine.QH3 else 2000)]
        received = await flood(server.address, packets, near)
        assert len(server._records) == 1 + HALF_OPEN_UNPROVEN
        assert 0 < received < sum(map(len, packets)), "beyond the first few it gets Retry packets alone"
        transport = quic(engine, engine)
        async with transport.client(NetConfig()) as newcomer:
            with trio.fail_after(20):
                await ask(await greeted(newcomer, server))


async def greeted(newcomer: object, server: QuicEndpoint) -> Connection:
    """A connection that both sides have; the server's echoes for as long as the test runs."""
    assert isinstance(newcomer, QuicEndpoint)
    connection = await newcomer.dial(server.address, SERVER_ID)
    trio.lowlevel.spawn_system_task(echo, await server.accept())
    return connection


@ENGINES
async def test_one_host_proves_its_address_and_still_gets_only_its_share(engine: Engine) -> None:
    hello = make_hello()
    async with member(engine) as (server, near, _):
        await flood(server.address, [initial_packet(hello) for _ in range(HALF_OPEN_UNPROVEN)], near)
        stranger = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        await stranger.bind(("127.0.0.1", 0))
        with stranger:
            for _ in range(HALF_OPEN_PER_HOST + 10):
                await stranger.sendto(initial_packet(hello), (server.address.host, server.address.port))
                new_id, token = read_retry(await retry_packet(stranger))
                packet = initial_packet(hello, token, new_id)
                await stranger.sendto(packet, (server.address.host, server.address.port))
            await ask(near)
        assert len(server._records) == 1 + HALF_OPEN_UNPROVEN + HALF_OPEN_PER_HOST


@ENGINES
async def test_a_handshake_takes_only_so_much(engine: Engine) -> None:
    """One that goes on and on, from the same client, is dropped at 64 KiB: here, with its 55th packet of 1200 bytes."""
    async with member(engine) as (server, near, _):
        packet = initial_packet(make_hello())
        await flood(server.address, [packet] * 54, near)
        assert len(server._records) == 2
        await flood(server.address, [packet], near)
        assert len(server._records) == 1


async def retry_packet(stranger: trio.socket.SocketType) -> bytes:
    """The next Retry; the packets of handshakes that were begun are passed over."""
    while True:
        data: bytes = await stranger.recv(65_536)
        if data[0] & 0xF0 == 0xF0:
            return data


def read_retry(packet: bytes) -> tuple[bytes, bytes]:
    """The server's new connection id and its token."""
    end = 6 + packet[5]
    length = packet[end]
    return packet[end + 1 : end + 1 + length], packet[end + 1 + length : -16]


@ENGINES
def test_an_unproven_address_gets_at_most_three_times_what_it_sent(engine: Engine) -> None:
    packet = initial_packet(make_hello())
    initial = read_initial(packet)
    assert initial is not None
    connection = make_engine(make_identity(SERVER_KEY), NetConfig(engine=engine)).accept(
        initial.destination_id, None, 1452
    )
    now = 1000.0
    connection.receive(packet, len(packet), ("192.0.2.7", 7), now)
    sent = 0
    for _ in range(200):  # far past the idle timeout, with every timer served
        connection.events(1 << 20)
        sent += sum(len(data) for data, _ in connection.transmit(now, 1000))
        due = connection.deadline()
        if due is None:
            break
        now = max(now, due)
        connection.handle_timer(now)
    assert 0 < sent <= 3 * len(packet)
