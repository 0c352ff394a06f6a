"""The in-memory network: endpoints as in `quic`, with seeded delay, loss, reordering and bandwidth between them.

What travels are messages of up to 64 KiB, not packets. A lost message is repeated after a while, as QUIC would, and the
messages of one stream are delivered in order whatever overtook what on the way; so streams are reliable here as there,
and what changes is when things arrive. Time is trio's, so under `MockClock` hours pass in a moment. The same seed and
the same sends give the same trace: every direction of every connection draws from a generator of its own, which is
seeded from the network's seed and the two addresses.

Flow control is the real transport's: a sender may have the receiver's window under way and unread. Not modelled: the
size of headers, congestion, and the time that credit takes to come back.
"""

from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import Random

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from forge_p2p.config import NetConfig
from forge_p2p.errors import PeerError
from forge_p2p.ids import NodeId
from forge_p2p.net.admission import Admission, host_key
from forge_p2p.net.base import Address
from forge_p2p.net.lifetime import alive
from forge_p2p.net.memory_connection import MemoryConnection
from forge_p2p.net.timers import Deadlines

FIRST_PORT = 40_000
HELLO_SIZE = 1280
"""Bytes that each message of a handshake counts for."""
TRACE_LENGTH = 100_000


@dataclass(frozen=True, slots=True)
class Conditions:
    """How messages travel. Delays in seconds one way, shares from 0 to below 1, bandwidth in bytes a second."""

    delay: float = 0.0
    jitter: float = 0.0
    """Up to this much is added to each delay."""
    loss: float = 0.0
    """Share of messages that have to be repeated, each time again."""
    reordering: float = 0.0
    """Share of messages that are held up by three more delays, so that later ones overtake them."""
    bandwidth: float = 0.0
    """Of each host, in each direction; 0 = unlimited."""


@dataclass(frozen=True, slots=True)
class Trace:
    """A message that was sent: when, between whom, what, how large, and when it arrives if nothing is cut."""

    time: float
    source: Address
    destination: Address
    kind: str
    size: int
    arrival: float


class MemoryNetwork:
    """Hosts are told apart by the `host` of their addresses; `conditions` may be changed at any time."""

    def __init__(self, seed: int = 0, conditions: Conditions | None = None) -> None:
        self.seed = seed
        self.conditions = conditions or Conditions()
        self.trace: deque[Trace] = deque(maxlen=TRACE_LENGTH)
        self._endpoints: dict[Address, MemoryEndpoint] = {}
        self._partitions: set[frozenset[str]] = set()
        self._links: Counter[tuple[Address, Address]] = Counter()
        self._busy_until: dict[tuple[str, str], float] = {}
        self._next_port = FIRST_PORT

    @asynccontextmanager
    async def open_endpoint(
        self, listen: Address, key: Ed25519PrivateKey, config: NetConfig
    ) -> AsyncIterator["MemoryEndpoint"]:
        """As `quic.open_endpoint`; port 0 takes the next free one."""
        if listen.port == 0:
            self._next_port += 1
            listen = replace(listen, port=self._next_port)
        if listen in self._endpoints:
            raise PeerError(f"cannot listen on {listen.host} port {listen.port}: address already in use")
        endpoint = MemoryEndpoint(self, listen, NodeId(key.public_key().public_bytes_raw()), config)
        self._endpoints[listen] = endpoint
        async with alive(endpoint, lambda nursery: nursery.start_soon(endpoint.arrivals.run)):
            yield endpoint

    def partition(self, one: str, other: str) -> None:
        """Nothing passes between the two hosts until they are healed; what is under way is repeated until then."""
        self._partitions.add(frozenset((one, other)))

    def heal(self, one: str, other: str) -> None:
        self._partitions.discard(frozenset((one, other)))

    def is_reachable(self, source: Address, destination: Address) -> bool:
        return destination in self._endpoints and frozenset((source.host, destination.host)) not in self._partitions

    def endpoint_at(self, address: Address) -> "MemoryEndpoint | None":
        return self._endpoints.get(address)

    def remove(self, address: Address) -> None:
        self._endpoints.pop(address, None)

    def generator(self, source: Address, destination: Address) -> Random:
        """For one direction of the next connection between the two."""
        self._links[source, destination] += 1
        return Random(f"{self.seed} {source} {destination} {self._links[source, destination]}")

    def post(
        self, generator: Random, source: Address, destination: Address, kind: str, size: int, arrive: Callable[[], None]
    ) -> None:
        """Lets `arrive` be called at the destination when a message of `size` bytes gets there."""
        now = trio.current_time()
        when = self._arrival(generator, source.host, destination.host, size, now)
        self.trace.append(Trace(now, source, destination, kind, size, when))
        self._schedule(source, destination, when, arrive)

    def _schedule(self, source: Address, destination: Address, when: float, arrive: Callable[[], None]) -> None:
        endpoint = self._endpoints.get(destination)
        if endpoint is None:
            return

        def attempt() -> None:
            if self.is_reachable(source, destination):
                arrive()
            else:
                self._schedule(source, destination, trio.current_time() + self._repeat_after, arrive)

        endpoint.arrivals.set(attempt, when)

    @property
    def _repeat_after(self) -> float:
        return 0.1 + 4 * self.conditions.delay

    def _arrival(self, generator: Random, source: str, destination: str, size: int, now: float) -> float:
        conditions = self.conditions
        lost, jitter, held_up = generator.random(), generator.random(), generator.random()
        when = self._serialised((source, "up"), size, now)
        while lost < conditions.loss:
            when += self._repeat_after
            lost = generator.random()
        when += conditions.delay + jitter * conditions.jitter
        if held_up < conditions.reordering:
            when += 3 * (conditions.delay + conditions.jitter)
        return self._serialised((destination, "down"), size, when)

    def _serialised(self, line: tuple[str, str], size: int, start: float) -> float:
        """When the last of `size` bytes is through a host's line that takes one message at a time."""
        if not self.conditions.bandwidth:
            return start
        end = max(start, self._busy_until.get(line, 0.0)) + size / self.conditions.bandwidth
        self._busy_until[line] = end
        return end


class MemoryEndpoint:
    """See `base.Endpoint`."""

    def __init__(self, network: MemoryNetwork, address: Address, node_id: NodeId, config: NetConfig) -> None:
        self.address = address
        self.node_id = node_id
        self.config = config
        self.network = network
        self.arrivals: Deadlines[Callable[[], None]] = Deadlines(lambda arrive, _: arrive())
        self.connections: set[MemoryConnection] = set()
        self._admission = Admission(config)
        self._closed = False
        self._to_accept, self._accepted = trio.open_memory_channel[MemoryConnection](config.max_connections)

    async def accept(self) -> MemoryConnection:
        try:
            return await self._accepted.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise PeerError("this endpoint is closed") from None

    async def dial(self, address: Address, server_id: NodeId) -> MemoryConnection:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise PeerError("this endpoint is closed")
        if len(self.connections) >= self.config.max_connections:
            raise PeerError(f"this node already has its {self.config.max_connections} connections")
        connection = MemoryConnection(self, address, server_id, is_client=True)
        self.connections.add(connection)
        connection.post("hello", HELLO_SIZE, lambda: self._greet(connection))
        try:
            with trio.move_on_after(self.config.dial_timeout):
                await connection.settled.wait()
        finally:
            if not connection.settled.is_set():
                connection.end(PeerError(f"no answer from {address.host} port {address.port}"))
        connection.check_open()
        return connection

    async def aclose(self) -> None:
        self._closed = True
        for connection in list(self.connections):
            await connection.aclose(reason="the node is shutting down")
        self._to_accept.close()
        self.network.remove(self.address)
        await trio.lowlevel.checkpoint()

    def vanish(self) -> None:
        """Dies without a word, as by SIGKILL: its peers find out by their idle timeouts."""
        self._closed = True
        self.network.remove(self.address)
        for connection in list(self.connections):
            connection.end(PeerError("this endpoint has vanished"))
        self._to_accept.close()

    def _greet(self, client: MemoryConnection) -> None:
        """The client's first message has arrived at the other endpoint, which answers with its key."""
        server = self.network.endpoint_at(client.address)
        if server is None:
            return
        connection = MemoryConnection(server, self.address, NodeId(b""), is_client=False)
        connection.pair(client)
        node_id = server.node_id
        connection.post("answer", HELLO_SIZE, lambda: self._answered(client, connection, node_id))

    def _answered(self, client: MemoryConnection, server: MemoryConnection, node_id: NodeId) -> None:
        if client.is_over:
            return
        client.pair(server)
        if node_id != client.server_id:
            client.end(
                PeerError(f"{client.address.host} port {client.address.port} is not the node that was asked for")
            )
            return
        client.settled.set()
        client.watch_silence()
        client.post("finished", 0, lambda: server.endpoint.admit(server))

    def admit(self, connection: MemoryConnection) -> None:
        """A handshake is complete: within the limits the connection can be accepted, past them it is closed."""
        host = host_key(connection.address.host)
        has_room = self._admission.has_room(host, len(self.connections))
        self.connections.add(connection)
        self._admission.opened(host)
        connection.settled.set()
        connection.watch_silence()
        try:
            if has_room:
                self._to_accept.send_nowait(connection)
                return
        except (trio.WouldBlock, trio.ClosedResourceError):
            pass
        connection.close("no room for more connections from there")

    def forget(self, connection: MemoryConnection) -> None:
        if connection in self.connections:
            self.connections.discard(connection)
            if not connection.is_client:
                self._admission.closed(host_key(connection.address.host))
