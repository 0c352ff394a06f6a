"""Transports for the tests: every implementation of `net.base`, and pairs of them that have to agree."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.config import Engine, NetConfig
from forge_p2p.errors import PeerError
from forge_p2p.ids import NodeId
from forge_p2p.net.base import Address, Connection, Endpoint, NetEvent, StreamData
from forge_p2p.net.memory import Conditions, MemoryNetwork
from forge_p2p.net.quic import open_endpoint

CLIENT_KEY = Ed25519PrivateKey.generate()
SERVER_KEY = Ed25519PrivateKey.generate()
SERVER_ID = NodeId(SERVER_KEY.public_key().public_bytes_raw())
LOOPBACK = Address("127.0.0.1", 0)
MIB = 1 << 20

Opener = Callable[[NetConfig], AbstractAsyncContextManager[Endpoint]]


@dataclass(frozen=True)
class Transport:
    """Opens endpoints for the server's and the client's side."""

    server: Opener
    client: Opener
    bulk: int
    """Bytes that are fair to move in a test."""


def quic(client: Engine, server: Engine) -> Transport:
    bulk = 32 * MIB if client is server is Engine.QH3 else 2 * MIB
    return Transport(_quic_opener(SERVER_KEY, server), _quic_opener(CLIENT_KEY, client), bulk)


def memory() -> Transport:
    network = MemoryNetwork(seed=7, conditions=Conditions(delay=0.001, jitter=0.002, loss=0.02, reordering=0.1))
    return Transport(_memory_opener(network, SERVER_KEY), _memory_opener(network, CLIENT_KEY), 32 * MIB)


TRANSPORTS: dict[str, Callable[[], Transport]] = {
    "memory": memory,
    "qh3": lambda: quic(Engine.QH3, Engine.QH3),
    "aioquic": lambda: quic(Engine.AIOQUIC, Engine.AIOQUIC),
    "qh3-to-aioquic": lambda: quic(Engine.QH3, Engine.AIOQUIC),
    "aioquic-to-qh3": lambda: quic(Engine.AIOQUIC, Engine.QH3),
}


def _quic_opener(key: Ed25519PrivateKey, engine: Engine) -> Opener:
    return lambda config: open_endpoint(LOOPBACK, key, replace(config, engine=engine))


def _memory_opener(network: MemoryNetwork, key: Ed25519PrivateKey) -> Opener:
    return lambda config: network.open_endpoint(LOOPBACK, key, config)


async def read_stream(connection: Connection, stream_id: int) -> bytes:
    """All of one stream, to its end; events of other streams are an error."""
    pieces = []
    while True:
        for event in await connection.receive():
            assert isinstance(event, StreamData), event
            assert event.stream_id == stream_id, event
            pieces.append(event.data)
            if event.fin:
                return b"".join(pieces)


async def next_event(connection: Connection) -> NetEvent:
    """The only event of the next batch."""
    (event,) = await connection.receive()
    return event


async def echo(connection: Connection) -> None:
    """Sends every byte of every stream back, until the connection ends."""
    try:
        while True:
            for event in await connection.receive():
                if isinstance(event, StreamData):
                    await connection.send(event.stream_id, [event.data], event.fin)
    except PeerError:
        return


async def connect(server: Endpoint, client: Endpoint) -> tuple[Connection, Connection]:
    """The client's and the server's side of a new connection."""
    near = await client.dial(server.address, SERVER_ID)
    return near, await server.accept()


async def opened(connection: Connection) -> int:
    """A stream, as soon as the peer allows one: a finished stream's place is given back by a packet on its way."""
    while True:
        try:
            return connection.open_stream()
        except PeerError:
            await trio.sleep(0.01)
