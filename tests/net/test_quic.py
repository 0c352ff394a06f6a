"""What is QUIC's own: engines that fail, engines without their fast side, Retry, IPv6, peers that die."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from forge_p2p.config import Engine, NetConfig
from forge_p2p.errors import PeerError
from forge_p2p.ids import NodeId
from forge_p2p.net import admission, answers, engine_qh3
from forge_p2p.net.base import Address, Connection, StreamData
from forge_p2p.net.connection import QuicConnection
from forge_p2p.net.quic import open_endpoint
from tests.net.transports import CLIENT_KEY, LOOPBACK, MIB, SERVER_ID, SERVER_KEY, echo, opened, read_stream

ENGINES = pytest.mark.parametrize("engine", list(Engine))


@asynccontextmanager
async def connected(
    config: NetConfig, *, listen: Address = LOOPBACK, dial: str = "127.0.0.1", offload: bool = True
) -> AsyncIterator[tuple[QuicConnection, QuicConnection]]:
    """The client's and the server's side of a connection between two new endpoints."""
    async with (
        open_endpoint(listen, SERVER_KEY, config, offload=offload) as server,
        open_endpoint(Address("::", 0), CLIENT_KEY, config, offload=offload) as client,
    ):
        near = await client.dial(Address(dial, server.address.port), SERVER_ID)
        yield near, await server.accept()


async def move(near: Connection, far: Connection, size: int) -> None:
    data = bytes(range(256)) * (size // 256)
    stream = near.open_stream()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.send, stream, [data], True)
        assert await read_stream(far, stream) == data


class Panic(BaseException):
    """As a panic of compiled code arrives in Python: not an `Exception`."""


class Broken:
    """An engine that raises at every call."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error


@ENGINES
@pytest.mark.parametrize("error", [RuntimeError("bug"), Panic("index out of bounds")], ids=["exception", "panic"])
async def test_an_engine_that_fails_ends_its_connection_alone(engine: Engine, error: BaseException) -> None:
    config = NetConfig(engine=engine)
    async with (
        open_endpoint(LOOPBACK, SERVER_KEY, config) as server,
        open_endpoint(LOOPBACK, CLIENT_KEY, config) as client,
    ):
        doomed_near, doomed_far = await client.dial(server.address, SERVER_ID), await server.accept()
        near, far = await client.dial(server.address, SERVER_ID), await server.accept()
        doomed_far.engine = Broken(error)
        await doomed_near.send(doomed_near.open_stream(), [b"?"], fin=True)
        with trio.fail_after(20), pytest.raises(PeerError, match=r"the QUIC engine failed: .*(bug|out of bounds)"):
            await doomed_far.receive()
        with pytest.raises(PeerError, match="the QUIC engine failed"):
            doomed_far.open_stream()
        await move(near, far, 100_000)


@ENGINES
async def test_the_peer_of_a_failed_engine_is_told(engine: Engine) -> None:
    async with connected(NetConfig(engine=engine)) as (near, far):

        def fail(*_: object) -> None:
            raise RuntimeError("bug")

        far.engine.receive = fail  # type: ignore[method-assign,assignment]
        await near.send(near.open_stream(), [b"?"], fin=True)
        with trio.fail_after(20), pytest.raises(PeerError, match="internal error"):
            await near.receive()


async def test_without_the_native_side_of_qh3(monkeypatch: pytest.MonkeyPatch) -> None:
    """The public calls serve as well, and there the cap is what bounds unread data."""
    monkeypatch.setattr(engine_qh3, "_NATIVE", False)
    async with connected(NetConfig(buffer_per_connection=MIB)) as (near, far):
        await move(near, far, 4 * MIB)
        stream = near.open_stream()
        with trio.fail_after(20):
            with pytest.raises(PeerError, match="more unread data than the peer buffers"):
                await near.send(stream, [bytes(MIB)] * 16)
            with pytest.raises(PeerError, match="the peer sent more than the 1048576 bytes"):
                await read_stream(far, stream)


@ENGINES
async def test_plain_sends_where_there_is_no_offload(engine: Engine) -> None:
    async with connected(NetConfig(engine=engine), offload=False) as (near, far):
        await move(near, far, 2 * MIB)


@ENGINES
async def test_every_address_proven_by_retry(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "HALF_OPEN_UNPROVEN", 0)
    async with connected(NetConfig(engine=engine)) as (near, far):
        await move(near, far, 100_000)


@pytest.mark.parametrize(("listen", "dial"), [("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1")])
async def test_ipv6_and_both_at_once(listen: str, dial: str) -> None:
    async with connected(NetConfig(), listen=Address(listen, 0), dial=dial) as (near, far):
        await move(near, far, 100_000)
        assert near.address.host == dial
        assert far.address.host == dial


async def test_ipv4_alone_cannot_reach_ipv6() -> None:
    async with open_endpoint(LOOPBACK, CLIENT_KEY, NetConfig()) as client:
        with pytest.raises(PeerError, match="IPv4 only"):
            await client.dial(Address("::1", 1), SERVER_ID)


SERVER = """
import json, sys, trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from forge_p2p.config import Engine, NetConfig
from forge_p2p.net.base import Address
from forge_p2p.net.quic import open_endpoint

async def main():
    key = Ed25519PrivateKey.generate()
    config = NetConfig(engine=Engine(sys.argv[1]), idle_timeout=1.0)
    async with open_endpoint(Address("127.0.0.1", 0), key, config) as endpoint:
        print(json.dumps([endpoint.address.port, key.public_key().public_bytes_raw().hex()]), flush=True)
        await endpoint.accept()
        await trio.sleep_forever()

trio.run(main)
"""


@ENGINES
async def test_a_peer_that_is_killed_is_noticed(engine: Engine) -> None:
    command = [sys.executable, "-c", SERVER, engine.value]
    config = NetConfig(engine=engine, idle_timeout=1.0)
    async with trio.open_nursery() as nursery, open_endpoint(LOOPBACK, CLIENT_KEY, config) as client:
        start = partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
        process = await nursery.start(start)
        port, node = json.loads(await process.stdout.receive_some())
        near = await client.dial(Address("127.0.0.1", port), NodeId(bytes.fromhex(node)))
        process.kill()
        stream = near.open_stream()
        with trio.fail_after(30):
            with pytest.raises(PeerError, match="silent"):
                await near.send(stream, [bytes(MIB)] * 100)
            with pytest.raises(PeerError, match="silent"):
                await near.receive()


async def test_a_server_echoes_to_many_peers_fairly() -> None:
    """While one peer takes all it can get, another's small questions are answered."""
    config = NetConfig()
    async with (
        open_endpoint(LOOPBACK, SERVER_KEY, config) as server,
        open_endpoint(LOOPBACK, CLIENT_KEY, config) as greedy,
        open_endpoint(LOOPBACK, CLIENT_KEY, config) as modest,
        trio.open_nursery() as nursery,
    ):
        taker, giver = await greedy.dial(server.address, SERVER_ID), await server.accept()
        asker, answerer = await modest.dial(server.address, SERVER_ID), await server.accept()
        taken = 0

        async def give() -> None:
            stream = giver.open_stream()
            while True:
                await giver.send(stream, [bytes(MIB)])

        async def take() -> None:
            nonlocal taken
            while True:
                taken += len(await taker.receive())

        nursery.start_soon(give)
        nursery.start_soon(take)
        nursery.start_soon(echo, answerer)
        with trio.fail_after(30):
            for _ in range(50):
                stream = asker.open_stream()
                await asker.send(stream, [b"small"], fin=True)
                assert await read_stream(asker, stream) == b"small"
        assert taken > 0
        nursery.cancel_scope.cancel()


@ENGINES
async def test_little_that_comes_is_acknowledged_with_the_answer_or_soon(engine: Engine) -> None:
    """Soon, when there is no answer."""
    async with connected(NetConfig(engine=engine)) as (near, far):
        await move(near, far, 256)
        with trio.fail_after(30):
            while near.engine.outstanding(200):  # larger than any acknowledgement
                await trio.sleep(0.005)


@ENGINES
async def test_one_question_after_the_other(engine: Engine) -> None:
    """Who waits for something to say with an acknowledgement does not make the other side wait."""
    async with connected(NetConfig(engine=engine)) as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(echo, far)
        with trio.fail_after(20):
            for number in range(50):
                stream = near.open_stream()
                await near.send(stream, [bytes([number])], fin=True)
                assert await read_stream(near, stream) == bytes([number])
        nursery.cancel_scope.cancel()


async def test_the_acknowledgement_of_an_answer_is_not_answered(autojump_clock: trio.testing.MockClock) -> None:
    """Nor is the room for one more stream, which the end of this one gives, told by itself. Time passes when all
    that was sent has been read: a machine that holds this process up would make it ask again."""
    async with connected(NetConfig()) as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(echo, far)
        await trio.sleep(answers.NEW + 0.1)
        await _asked(near)
        with trio.fail_after(30):
            while far.engine.outstanding(0):
                await trio.sleep(0.005)
        said = far.statistics().bytes_sent, near.statistics().bytes_sent
        await trio.sleep(5 * answers.ANSWER_WAIT)
        assert (far.statistics().bytes_sent, near.statistics().bytes_sent) == said
        nursery.cancel_scope.cancel()


async def test_room_for_streams_is_told_before_it_is_needed() -> None:
    """All that a session may have open at once, again and again, though the last acknowledgements are not answered."""
    async with connected(NetConfig()) as (near, far), trio.open_nursery() as nursery:
        nursery.start_soon(echo, far)
        await trio.sleep(answers.NEW + 0.1)
        with trio.fail_after(20):
            for _ in range(4):
                streams = [await opened(near) for _ in range(96)]
                for stream in streams:
                    await near.send(stream, [b"question"], fin=True)
                await _all_echoed(near, streams)
        nursery.cancel_scope.cancel()


async def test_what_found_no_room_is_owed_when_an_acknowledgement_makes_some() -> None:
    async with connected(NetConfig()) as (near, far):
        await move(near, far, 256)
        engine, now = near.engine, trio.current_time()
        stream = near.open_stream()
        engine.send(stream, bytes(16 * MIB), fin=False)
        for _ in range(100):  # these datagrams are lost: nothing acknowledges them, and the window fills
            engine.transmit(now, 1000)
            now += 0.1
        engine.abort(stream, 1)
        assert engine.unsent() == 0
        assert engine.owes(now)


async def _asked(near: Connection) -> None:
    stream = near.open_stream()
    await near.send(stream, [b"question"], fin=True)
    assert await read_stream(near, stream) == b"question"


async def _all_echoed(near: Connection, streams: list[int]) -> None:
    open_streams = set(streams)
    while open_streams:
        open_streams -= {
            event.stream_id for event in await near.receive() if isinstance(event, StreamData) and event.fin
        }
