"""The endpoint: one UDP socket, many connections, three tasks.

The reader drains the socket, hands each datagram to its connection, and gives every connection that got some a turn.
The writer gives further turns to those that had more to send than one turn allows, in a circle, and waits when the socket
is full. The timer looks after all deadlines. Neither an application that does not read nor a peer that floods can hold
up more than its own connection: what is done for one of them between two looks at the others is bounded.
"""

from collections import deque

import trio

from forge_p2p.config import NetConfig
from forge_p2p.errors import PeerError
from forge_p2p.ids import NodeId
from forge_p2p.net.base import Address
from forge_p2p.net.connection import QuicConnection
from forge_p2p.net.engine import CONNECTION_ID_LENGTH, EngineFactory
from forge_p2p.net.timers import Deadlines
from forge_p2p.net.udp import Datagram, SocketAddress, UdpSocket

READS_PER_WAKE = 64
HANDSHAKE_TIMEOUT = 10.0
MIN_INITIAL = 1200
DEFAULT_DATAGRAM = 1452


class QuicEndpoint:
    """See `base.Endpoint`; made by `quic.open_endpoint`."""

    def __init__(self, socket: UdpSocket, engines: EngineFactory, config: NetConfig) -> None:
        self.address = socket.address
        self._socket = socket
        self._engines = engines
        self._config = config
        self._routes: dict[bytes, QuicConnection] = {}
        self._connections: set[QuicConnection] = set()
        self._ready: deque[QuicConnection] = deque()
        self._outbox: list[Datagram] = []
        self._work = trio.Event()
        self._timers = Deadlines(self._on_deadline)
        self._closed = False
        self._accepted, self._to_accept = trio.open_memory_channel[QuicConnection](config.max_connections)

    # -- the application's side

    async def accept(self) -> QuicConnection:
        try:
            return await self._to_accept.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise PeerError("this endpoint is closed") from None

    async def dial(self, address: Address, server_id: NodeId) -> QuicConnection:
        if self._closed:
            raise PeerError("this endpoint is closed")
        peer = self._socket.to_socket_address(address)
        now = trio.current_time()
        engine = self._engines.connect(peer, self._config.datagram_size or DEFAULT_DATAGRAM, now)
        cap = self._config.buffer_per_connection
        connection = QuicConnection(self, engine, address, server_id, is_client=True, cap=cap)
        connection.handshake_deadline = now + self._config.dial_timeout
        self._connections.add(connection)
        self.add_route(engine.connection_id, connection)
        connection.take_turn(now)
        try:
            await connection.settled.wait()
        finally:
            if not connection.settled.is_set():
                connection.close(0, "dial cancelled")
        connection.check_open()
        return connection

    async def aclose(self) -> None:
        self._closed = True
        for connection in list(self._connections):
            connection.close(0, "the node is shutting down")
        self._accepted.close()
        with trio.move_on_after(1, shield=True):
            while self._outbox:
                await trio.lowlevel.wait_writable(self._socket.raw)
                self._flush_outbox()

    # -- the tasks

    async def run(self, nursery: trio.Nursery) -> None:
        for task in (self._read, self._write, self._timers.run):
            nursery.start_soon(task)

    async def _read(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._socket.raw)
            now = trio.current_time()
            touched: dict[QuicConnection, None] = {}
            for data, segment, sender in self._socket.receive(READS_PER_WAKE):
                self._route(data, segment, sender, now, touched)
            for connection in touched:
                connection.take_turn(now)

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            self._work = trio.Event()
            while self._outbox or self._ready:
                if self._outbox:
                    await trio.lowlevel.wait_writable(self._socket.raw)
                    self._flush_outbox()
                else:
                    self._ready.popleft().take_turn(trio.current_time())
                    await trio.lowlevel.checkpoint()

    def _on_deadline(self, connection: QuicConnection, now: float) -> None:
        connection.scheduled = float("inf")
        if connection in self._connections:
            connection.on_deadline(now)

    # -- datagrams in

    def _route(
        self, data: bytes, segment: int, sender: SocketAddress, now: float, touched: dict[QuicConnection, None]
    ) -> None:
        for start, end in _runs(data, segment):
            run = data[start:end] if end - start < len(data) else data
            connection = self._routes.get(_destination(run))
            if connection is None:
                connection = self._admit(run, sender, now)
            if connection is not None:
                connection.received(run, segment, sender, now)
                touched[connection] = None

    def _admit(self, data: bytes, sender: SocketAddress, now: float) -> QuicConnection | None:
        if len(data) < MIN_INITIAL or data[0] & 0xF0 != 0xC0 or data[1:5] != b"\0\0\0\1" or self._closed:
            return None
        original_id = _destination(data)
        engine = self._engines.accept(original_id, None, self._config.datagram_size or DEFAULT_DATAGRAM)
        address = self._socket.to_address(sender)
        cap = self._config.buffer_per_connection
        connection = QuicConnection(self, engine, address, NodeId(b""), is_client=False, cap=cap)
        connection.handshake_deadline = now + HANDSHAKE_TIMEOUT
        self._connections.add(connection)
        self.add_route(original_id, connection)
        self.add_route(engine.connection_id, connection)
        return connection

    # -- what connections ask for

    def transmit(self, datagrams: list[Datagram]) -> bool:
        if self._outbox:
            self._outbox += datagrams
            return False
        sent = self._socket.send(datagrams)
        if sent == len(datagrams):
            return True
        self._outbox += datagrams[sent:]
        self._work.set()
        return False

    def _flush_outbox(self) -> None:
        del self._outbox[: self._socket.send(self._outbox)]

    def schedule(self, connection: QuicConnection) -> None:
        self._ready.append(connection)
        self._work.set()

    def set_deadline(self, connection: QuicConnection, when: float) -> None:
        connection.scheduled = when
        self._timers.set(connection, when)

    def add_route(self, connection_id: bytes, connection: QuicConnection) -> None:
        self._routes[connection_id] = connection

    def remove_route(self, connection_id: bytes) -> None:
        self._routes.pop(connection_id, None)

    def established(self, connection: QuicConnection) -> None:
        if not connection.is_client:
            try:
                self._accepted.send_nowait(connection)
            except (trio.WouldBlock, trio.ClosedResourceError):
                connection.close(0x103, "too many connections")

    def forget(self, connection: QuicConnection) -> None:
        self._connections.discard(connection)
        for connection_id in [key for key, value in self._routes.items() if value is connection]:
            del self._routes[connection_id]


def _destination(data: bytes) -> bytes:
    """The destination connection id (RFC 8999 section 5); empty when the datagram is too short for one."""
    if data[0] & 0x80:
        return data[6 : 6 + data[5]] if len(data) > 5 else b""
    return data[1 : 1 + CONNECTION_ID_LENGTH]


def _runs(data: bytes, segment: int) -> list[tuple[int, int]]:
    """Where to cut coalesced datagrams so that each piece is for one connection: a sender may have several."""
    if segment >= len(data):
        return [(0, len(data))]
    cuts = [0]
    current = _destination(data)
    for start in range(segment, len(data), segment):
        if data[start] & 0x80 or data[start + 1 : start + 1 + CONNECTION_ID_LENGTH] != current:
            cuts.append(start)
            current = _destination(data[start : start + 64])
    return list(zip(cuts, [*cuts[1:], len(data)], strict=True))
